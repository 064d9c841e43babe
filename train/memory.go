package train

import (
	"errors"
	"fmt"
	"sort"

	"unstir/internal/machine"
	"unstir/nn"
)

// ErrMemory is wrapped by New's and Resume's error when the run would need more memory than there is. Nothing is
// written then.
var ErrMemory = errors.New("the run does not fit into memory")

// parameterCopies are the weights, their moving average and the optimizer's two moments.
const parameterCopies = 4

// fitModel checks that there is memory for the weights and what is kept beside them, before they are allocated.
func (t *Trainer) fitModel() error {
	err := machine.Fit(1, func(int) (int64, error) {
		return (parameterCopies + 1) * 4 * int64(t.params.Len()), nil // and the gradient
	})
	if err != nil {
		return fmt.Errorf("train: %w: the %d parameters of the model with their moments and gradient alone: %w; a smaller model fits",
			ErrMemory, t.params.Count(), err)
	}
	return nil
}

// fitStep checks that there is memory for a step and a preview. The error names the largest slice that fits; it helps a
// new run only, as one that goes on has to keep its slice, which is given then, for its bits.
func (t *Trainer) fitStep(kept int) error {
	err := t.fitSlice(t.Slice())
	var short *machine.Shortage
	switch {
	case err == nil:
		return nil
	case !errors.As(err, &short):
		return fmt.Errorf("train: foresee the memory of the run: %w", err)
	case kept > 0 && kept != t.Slice():
		return nil // such a run is refused for that
	case kept > 0:
		with := "a smaller model, data.size or train.batch_size"
		if short.Fits > 0 {
			with = fmt.Sprintf("train.slice = %d at most", short.Fits)
		}
		return fmt.Errorf("train: %w: it must go on in slices of %d images, as it began, for which %w; free memory for it, or begin another run, with %s",
			ErrMemory, kept, short, with)
	case short.Fits > 0:
		return fmt.Errorf("train: %w: with slices of %d images %w; the largest train.slice that fits is %d",
			ErrMemory, t.Slice(), short, short.Fits)
	}
	return fmt.Errorf("train: %w: with any train.slice more is needed than there is (with slices of %d images %w); a smaller model, data.size or train.batch_size may fit",
		ErrMemory, t.Slice(), short)
}

// fitSlice is machine.Fit for slices of so many images. Smaller slices take less memory, but where there are twice as many their
// gradients have one sum more: the largest that fits is looked for among slices of as many sums, then among those of one more.
func (t *Trainer) fitSlice(slice int) error {
	held := func(slice int) int { return nn.GradientsHeld(t.Train.BatchSize, slice) }
	least := 1 + sort.Search(slice-1, func(i int) bool { return held(i+1) == held(slice) })
	err := machine.Fit(slice, func(n int) (int64, error) { return t.memory(max(n, least)) })
	var short, smaller *machine.Shortage
	if !errors.As(err, &short) || short.Fits > 0 || least == 1 {
		return err
	}
	switch err := t.fitSlice(least - 1); {
	case err == nil:
		short.Fits = least - 1
	case errors.As(err, &smaller):
		short.Fits = smaller.Fits
	default:
		return err
	}
	return short
}

// memory is what the run takes with a number of images at a time, beside the data: the parameters, a step's graph, the
// batches on their way to it, and a preview or a test.
func (t *Trainer) memory(slice int) (int64, error) {
	const batches = 3 // the loader's: being filled, ready, and in use
	step, err := t.task.memory(t.params, t.weights, slice)
	step += optimizerMemory(t.Train.Optimizer, t.params)
	return step + parameterCopies*4*int64(t.params.Len()) + 4*batches*int64(t.Train.BatchSize)*int64(valuesOf(t.info)), err
}
