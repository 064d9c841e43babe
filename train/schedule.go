package train

import "math"

// newestRate is the learning rate of step n = 1, 2, ..., c.Steps: it rises linearly to c.LR at step c.WarmupSteps,
// and then stays or falls as half a cosine wave, to zero at step c.Steps + 1, the first that is not done. So no step
// has a learning rate of zero. A run that is no longer than the warm-up ends during it.
func (c Config) newestRate(n int) float64 {
	if n < c.WarmupSteps {
		return c.LR * float64(n) / float64(c.WarmupSteps)
	}
	if c.LRSchedule == "constant" || c.Steps <= c.WarmupSteps {
		return c.LR
	}
	left := max(0, float64(c.Steps+1-n)/float64(c.Steps+1-c.WarmupSteps))
	root := math.Sin(math.Pi / 2 * left) // sin^2(x/2) = (1-cos x)/2, which rounding does not make zero
	return c.LR * root * root
}

// learningRate is that of step n in a version of the schedule, as checkpoints.State has it. In version 0, of runs that
// older programs began, the cosine is zero at the last step itself.
func (c Config) learningRate(n, version int) float64 {
	if version != 0 || n < c.WarmupSteps || c.LRSchedule == "constant" || c.Steps <= c.WarmupSteps {
		return c.newestRate(n)
	}
	progress := min(1, float64(n-c.WarmupSteps)/float64(c.Steps-c.WarmupSteps))
	return c.LR * 0.5 * (1 + math.Cos(math.Pi*progress))
}

// at is the decay of the moving average's update n = 1, 2, ...: ema = decay ema + (1-decay) weights. With warm-up
// it is 0 at n = 1, so that the average begins as the weights of the first step, and then min(Decay, n/(9+n)),
// as diffusers' EMAModel has it: early on the average is short, or it would remember the initial weights.
func (c EMAConfig) at(n int) float64 {
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
