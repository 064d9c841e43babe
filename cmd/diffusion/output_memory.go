package main

import (
	"errors"
	"fmt"

	"unstir"
	"unstir/internal/machine"
)

// fit checks that there is memory for what the output keeps of n images, the samples and the pictures that are made of
// them, before anything is sampled. Each sampler that is run shows so many frames.
func (o *output) fit(p *unstir.Pipeline, n int, frames []int) error {
	if o.kind == ".npy" {
		return nil // the samples alone, which the pipeline counts
	}
	err := machine.Fit(n, func(n int) (int64, error) { return o.memory(p, n, frames), nil })
	var short *machine.Shortage
	if !errors.As(err, &short) {
		return err
	}
	if short.Fits == 0 {
		return fmt.Errorf("--out %s: not even one image fits into memory: for %d, %w", o.path, n, short)
	}
	return fmt.Errorf("--out %s: what is written of %d images does not fit into memory: %w; the largest number of images that fits is %d, and in a directory of PNG files any number does",
		o.path, n, short, short.Fits)
}

// memory is what the output keeps of n images, in bytes.
func (o *output) memory(p *unstir.Pipeline, n int, frames []int) int64 {
	ch, h, w := p.Shape()
	dim, pixel := int64(ch*h*w), int64(1)
	if ch > 1 {
		pixel = 4 // RGBA
	}
	k := &walk{h: h}
	scale := int64(k.scale())
	cell := int64(h+gridPadding) * int64(w+gridPadding) // of a grid, before it is enlarged
	const samples, walks = 4, 2 * 8                     // bytes a value: float32; x_t and x_0 in float64
	var total int64
	for _, f := range frames {
		total += samples * dim
		switch o.kind {
		case ".png":
			total += pixel * (dim/int64(ch) + cell + cell*scale*scale)
			if len(frames) > 1 { // the sheet of all grids
				total += pixel * cell * scale * scale
			}
		case ".gif": // two panels a frame, and a copy with a palette
			total += int64(f) * (walks*dim + 2*(pixel+1)*cell*scale*scale)
		}
	}
	return total * int64(n)
}
