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

func (l *largeConv) scratch() ScratchSize { return l.Scratch().With(l.floats()) }

// floats is the number of floats of the large images.
func (l *largeConv) floats() int { return 4 * l.s.N * l.s.H * l.s.W * l.s.C }

// upsample makes the large images, in memory taken from scratch.
func (l *largeConv) upsample(x []float32, scratch *Scratch) (large []float32) {
	large = scratch.Take(l.floats())
	l.vec.Upsample(large, x, l.s.N, l.s.H, l.s.W, l.s.C)
	return large
}

// downsample is the gradient of upsample.
func (l *largeConv) downsample(dx, large []float32) {
	l.vec.UpsampleBackward(dx, large, l.s.N, l.s.H, l.s.W, l.s.C)
}
