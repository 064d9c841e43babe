package unstir

import (
	"slices"

	"unstir/diffusion"
)

// Inpaint fills a hole in given images with what the model holds likely beside the rest of them (RePaint), by a sampler whose
// steps need x_t alone. What is known is in the result as it was given, bit for bit. See [diffusion.RePaint].
type Inpaint struct {
	Images []float32 // [M, C, H, W] in [-1, 1], M >= 1: image number i fills the hole in i mod M of them
	Mask   []bool    // [H, W], true where the images are filled, in all channels; where all of it is, the images are as without Inpaint

	// JumpLength steps are run Resample times: the run goes that far back to the noise after each so many steps, for the
	// filling to agree with what is known. The model is called about Resample times as often as there are steps. 0: the
	// paper's 10 of both, or a shorter jump that fits the steps; a Resample of 1 does not go back.
	JumpLength, Resample int
}

// inpaintSteps is the number of steps of the paper: samplers that take all of the schedule by default take no more than these.
const inpaintSteps = 250

// check finds what is wrong for images of c x h x w, but for what the sampler decides.
func (i *Inpaint) check(c, h, w int) error {
	switch {
	case len(i.Mask) != h*w:
		return editError("Inpaint.Mask", "it has %d pixels; an image of %dx%d has %d", len(i.Mask), h, w, h*w)
	case i.Resample < 0 || i.Resample > diffusion.MaxResample:
		return editError("Inpaint.Resample", "%d is not possible: it must be from 1 to %d, or 0 for %d", i.Resample, diffusion.MaxResample, diffusion.DefaultResample)
	case !slices.Contains(i.Mask, true):
		return editError("Inpaint.Mask", "it is false everywhere: there is nothing to fill")
	}
	return checkGiven("Inpaint.Images", i.Images, c, h, w)
}

// repaint are the settings of RePaint.
func (p *Pipeline) repaint(i *Inpaint) diffusion.RePaintOptions {
	c, _, _ := p.Shape()
	return diffusion.RePaintOptions{Fill: slices.Repeat(i.Mask, c), JumpLength: i.JumpLength, Resample: i.Resample}
}
