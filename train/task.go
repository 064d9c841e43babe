package train

import (
	"context"

	"unstir/checkpoints"
	"unstir/data"
	"unstir/diffusion"
	"unstir/nn"
	"unstir/nn/engine"
)

// task is what a run trains: a kind of model, and what its loss is on a batch of the data. The Trainer does everything
// else, alike for all kinds.
type task interface {
	// layout lists the model's parameters.
	layout() (*nn.Params, error)
	// slice is the number of images of a micro-batch where the configuration names none.
	slice() int
	// memory is how many bytes a step in micro-batches of so many images takes, and what is done between steps, beside
	// the parameters and the loader's batches. Of the weights only the number matters.
	memory(params *nn.Params, weights []float32, slice int) (int64, error)
	// start plans the training of the weights.
	start(params *nn.Params, weights []float32, slice int) error
	// run computes the loss of a batch and its gradient. perImage gets each image's own loss, unweighted.
	run(ctx context.Context, b *data.Batch, perImage []float64) (result, error)
	// grad is the gradient of the last run, laid out as the parameters are.
	grad() []float32
	// machine is the planned graph.
	machine() *engine.Machine
	// describe writes the model's configuration into a checkpoint.
	describe(c *checkpoints.Checkpoint) error
}

// result is what a step found on its batch.
type result struct {
	loss     float64
	accuracy float64 // of a classifier: the share of the images whose class it told
}

// newTask checks that what is to be trained fits the data. The schedule is nil for a classifier that is not noisy.
func newTask(s Setup, schedule *diffusion.Schedule) (task, error) {
	if s.Classifier != nil {
		return newClassifying(s, schedule)
	}
	return newDenoising(s, schedule)
}
