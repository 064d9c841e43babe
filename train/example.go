package train

import (
	"unstir/data"
	"unstir/diffusion"
	"unstir/internal/rng"
	"unstir/nn/kernel"
	"unstir/unet"
)

// examples turns batches of images into training examples: for image i of step s, a timestep t and noise eps, and
// from them x_t and what the model should predict. The draws are functions of (seed, step, i) alone.
type examples struct {
	schedule *diffusion.Schedule
	seed     uint64
	gamma    float64 // of min-SNR weighting; 0: none
	dim      int
	eps      []float32
	batch    *data.Batch
	unet.Example
	each func(i int)
}

func newExamples(s *diffusion.Schedule, seed uint64, gamma float64, batch, dim int) *examples {
	e := &examples{schedule: s, seed: seed, gamma: gamma, dim: dim, eps: make([]float32, batch*dim)}
	e.X = make([]float32, batch*dim)
	e.Target = make([]float32, batch*dim)
	e.T = make([]int, batch)
	e.Weight = make([]float64, batch)
	e.Seed = seed
	e.each = e.draw // stored once: a method value made per step would be allocated per step
	return e
}

// make fills the example of a batch.
func (e *examples) make(b *data.Batch) unet.Example {
	e.batch, e.Step, e.Labels = b, uint64(b.Step), b.Labels
	kernel.Parallel(len(e.T), e.each)
	return e.Example
}

// draw is algorithm 1 of Ho et al. (2020), lines 2 to 5, for image i: x_0 from the data, t uniform, eps ~ N(0, I).
func (e *examples) draw(i int) {
	step, image := e.Step, uint64(i)
	at := func(s []float32) []float32 { return s[i*e.dim : (i+1)*e.dim] }
	x0, eps := at(e.batch.X), at(e.eps)

	t := rng.Intn(e.seed, rng.Timestep, step, image, 0, e.schedule.T)
	rng.Normal(eps, e.seed, rng.TrainNoise, step, image)
	diffusion.QSample(e.schedule, at(e.X), x0, eps, t)
	diffusion.Target(e.schedule, at(e.Target), x0, eps, t)

	e.T[i], e.Weight[i] = t, 1
	if e.gamma > 0 {
		e.Weight[i] = e.schedule.MinSNRWeight(t, e.gamma)
	}
}
