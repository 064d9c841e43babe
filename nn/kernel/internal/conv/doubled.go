package conv

import (
	"unstir/nn/kernel/internal/cpu"
	"unstir/nn/kernel/internal/parallel"
	"unstir/nn/kernel/internal/shape"
	"unstir/nn/kernel/internal/vec"
)

// doubled is a convolution behind an upsampling that makes the doubled image.
type doubled struct {
	s     shape.Conv // with the small image
	large *Conv
	vec   *vec.Vec
}

func newDoubled(s shape.Conv, threads int, c cpu.Info) *doubled {
	return &doubled{s, newFor(s.Upsampled(), threads, c), vec.New(c)}
}

// floats is the number of floats of the doubled images.
func (d *doubled) floats() int { return 4 * d.s.N * d.s.H * d.s.W * d.s.C }

// upsample makes the doubled images, in memory taken from scratch.
func (d *doubled) upsample(x []float32, scratch *parallel.Scratch) (large []float32) {
	large = scratch.Take(d.floats())
	d.vec.Upsample(large, x, d.s.N, d.s.H, d.s.W, d.s.C)
	return large
}

// downsample is the gradient of upsample.
func (d *doubled) downsample(dx, large []float32) {
	d.vec.UpsampleBackward(dx, large, d.s.N, d.s.H, d.s.W, d.s.C)
}
