package unstir

import (
	"fmt"

	"unstir/diffusion"
)

// Edit makes images from images, in place of noise alone (SDEdit): each is noised to the timestep that the strength says, and
// sampled from there by any sampler that makes images. See [diffusion.SDEdit].
type Edit struct {
	Images   []float32 // [M, C, H, W] in [-1, 1], M >= 1: image number i is made from i mod M of them
	Strength float64   // from 0, no step, which leaves the image as it is, to 1, all steps
}

// EditError is the error of an option of Edit or Inpaint that is not possible.
type EditError struct {
	Option string // the field, such as Edit.Strength
	Reason string // what is wrong with it, and what would be right
}

func (e *EditError) Error() string { return fmt.Sprintf("unstir: %s: %s", e.Option, e.Reason) }

func editError(option, format string, args ...any) error {
	return &EditError{option, fmt.Sprintf(format, args...)}
}

// CheckEdit finds what is wrong with Edit and Inpaint for this model, but for what the sampler decides. The error is an
// *EditError.
func (p *Pipeline) CheckEdit(o SampleOptions) error {
	c, h, w := p.Shape()
	if o.Edit != nil && o.Inpaint != nil {
		return editError("Inpaint", "Edit is set, too: an image is either made from another or filled in")
	}
	if e := o.Edit; e != nil {
		if !(e.Strength >= 0 && e.Strength <= 1) {
			return editError("Edit.Strength", "%v is not possible: it must be from 0, no step, to 1, all steps", e.Strength)
		}
		return checkGiven("Edit.Images", e.Images, c, h, w)
	}
	if o.Inpaint != nil {
		return o.Inpaint.check(c, h, w)
	}
	return nil
}

// checkGiven checks images that are given.
func checkGiven(option string, x []float32, c, h, w int) error {
	dim := c * h * w
	if len(x) == 0 || len(x)%dim != 0 {
		return editError(option, "there are %d values; an image of %dx%dx%d has %d", len(x), c, h, w, dim)
	}
	for i, v := range x {
		if !(v >= -1 && v <= 1) {
			return editError(option, "image %d has a value %v; all must be in [-1, 1]", i/dim, v)
		}
	}
	return nil
}

// given are the images that n of the call's are made from, [n, C, H, W]; nil where that is noise.
func (o SampleOptions) given(first, n, dim int) []float32 {
	var images []float32
	switch {
	case o.Edit != nil:
		images = o.Edit.Images
	case o.Inpaint != nil:
		images = o.Inpaint.Images
	default:
		return nil
	}
	x := make([]float32, 0, n*dim)
	for k := range n {
		i := o.number(first+k) % (len(images) / dim)
		x = append(x, images[i*dim:(i+1)*dim]...)
	}
	return x
}

// editNotes are the notes of a run that begins with images.
func (p *Pipeline) editNotes(name string, settings diffusion.Options, o SampleOptions) []diffusion.Note {
	if o.Edit != nil {
		return diffusion.SDEditNotes(name, p.Schedule, settings, o.Edit.Strength)
	}
	return diffusion.RePaintNotes(name, p.Schedule, settings, p.repaint(o.Inpaint))
}

// editSampler is the sampler of a run that begins with images.
func (p *Pipeline) editSampler(name string, settings diffusion.Options, o SampleOptions) (diffusion.Sampler, error) {
	if o.Edit != nil {
		return diffusion.NewSDEdit(name, p.Schedule, settings, o.Edit.Strength)
	}
	return diffusion.NewRePaint(name, p.Schedule, settings, p.repaint(o.Inpaint))
}
