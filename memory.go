package unstir

import (
	"errors"
	"fmt"

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

// fit checks that there is memory for a predictor of a batch, what a sampler keeps of it, and the images that are
// returned.
func (p *Pipeline) fit(batch, images int) error {
	c, h, w := p.Shape()
	dim := int64(c) * int64(h) * int64(w)
	err := machine.Fit(batch, func(n int) (int64, error) {
		plan, err := unet.PredictorMemory(p.model, n, h, w)
		const float32s = 2 * 4 // x and the output, on their way to the model and back
		return plan + (diffusion.BytesPerValue+float32s)*int64(n)*dim + 4*int64(images)*dim, err
	})
	var short *machine.Shortage
	if errors.As(err, &short) {
		return &MemoryError{batch, short.Fits, short}
	}
	return err
}
