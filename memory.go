package unstir

import (
	"errors"
	"fmt"
	"slices"

	"unstir/diffusion"
	"unstir/internal/machine"
	"unstir/unet"
)

// MemoryError is returned where images would take more memory to sample, or to predict from, than there is: before
// anything is computed. Memory is what the machine or its container has available; UNSTIR_MEMORY=BYTES overrides it.
type MemoryError struct {
	Batch int // images together
	Fits  int // the largest batch that fits, 0 if not even 1 does
	err   error
}

func (e *MemoryError) Error() string {
	if e.Fits == 0 {
		return fmt.Sprintf("unstir: not even one image at a time fits into memory: in batches of %d, %v; fewer or smaller images may fit", e.Batch, e.err)
	}
	return fmt.Sprintf("unstir: a batch of %d images does not fit into memory: %v; the largest batch that fits is %d", e.Batch, e.err, e.Fits)
}

// fit checks that there is memory for a batch's predictors, which predict per[k] times for each image, for what a sampler keeps
// of the batch, and for the images that are returned.
func (p *Pipeline) fit(batch, images int, per ...int) error {
	c, h, w := p.Shape()
	dim := int64(c) * int64(h) * int64(w)
	most := int64(slices.Max(per))
	err := machine.Fit(batch, func(n int) (int64, error) {
		batches := make([]int, len(per))
		for k := range per {
			batches[k] = per[k] * n
		}
		plan, err := unet.PredictorsMemory(p.model, batches, h, w)
		perValue := diffusion.BytesPerValue + most*2*4 // x and the outputs, on their way to the model and back
		perValue += (most - 1) * 8                     // the outputs by the null class
		return plan + perValue*int64(n)*dim + 4*int64(images)*dim, err
	})
	var short *machine.Shortage
	if errors.As(err, &short) {
		return &MemoryError{batch, short.Fits, short}
	}
	return err
}
