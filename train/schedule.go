package train

import "math"

// LearningRate is the learning rate of step n = 1, 2, ...: it rises linearly to c.LR at step c.WarmupSteps, and
// then stays or falls as half a cosine wave to zero at step c.Steps. A run that is shorter than the warm-up ends
// during it.
func (c Config) LearningRate(n int) float64 {
	if n < c.WarmupSteps {
		return c.LR * float64(n) / float64(c.WarmupSteps)
	}
	if c.LRSchedule == "constant" || c.Steps <= c.WarmupSteps {
		return c.LR
	}
	progress := min(1, float64(n-c.WarmupSteps)/float64(c.Steps-c.WarmupSteps))
	return c.LR * 0.5 * (1 + math.Cos(math.Pi*progress))
}

// At is the decay of the moving average's update n = 1, 2, ...: ema = decay ema + (1-decay) weights. With warm-up
// it is 0 at n = 1, so that the average begins as the weights of the first step, and then min(Decay, n/(9+n)),
// as diffusers' EMAModel has it: early on the average is short, or it would remember the initial weights.
func (c EMAConfig) At(n int) float64 {
	switch {
	case !c.Warmup:
		return c.Decay
	case n <= 1:
		return 0
	}
	return min(c.Decay, float64(n)/float64(9+n))
}

// clipScale is what a gradient of this norm is multiplied by, so that its norm is at most limit; 0: no limit.
func clipScale(norm, limit float64) float64 {
	if limit == 0 || norm <= limit {
		return 1
	}
	return limit / norm
}
