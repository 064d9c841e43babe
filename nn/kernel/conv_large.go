package kernel

// largeConv is a convolution behind an upsampling that makes the large image.
type largeConv struct {
	*Conv
	s   ConvShape // with the small image
	vec *Vec
}

func newLargeConv(s ConvShape) (*largeConv, error) {
	c, err := NewConv(s.upsampled())
	return &largeConv{c, s, NewVec()}, err
}

func (l *largeConv) scratch() int { return l.floats() + l.Scratch() + 16 }

// floats is the number of floats of the large images.
func (l *largeConv) floats() int { return 4 * l.s.N * l.s.H * l.s.W * l.s.C }

// image takes the memory of the large images from scratch.
func (l *largeConv) image(scratch []float32) (large, rest []float32) {
	scratch = aligned(scratch)
	return scratch[:l.floats()], scratch[l.floats():]
}

// upsample makes the large images, in scratch.
func (l *largeConv) upsample(x, scratch []float32) (large, rest []float32) {
	large, rest = l.image(scratch)
	l.vec.Upsample(large, x, l.s.N, l.s.H, l.s.W, l.s.C)
	return large, rest
}

// downsample is the gradient of upsample.
func (l *largeConv) downsample(dx, large []float32) {
	l.vec.UpsampleBackward(dx, large, l.s.N, l.s.H, l.s.W, l.s.C)
}
