package unstir

import (
	"context"
	"errors"
	"fmt"
	"math"
)

// Slerp is the point of the great arc from a to b at share u in [0, 1], written to dst:
//
//	sin((1-u) theta)/sin(theta) a + sin(u theta)/sin(theta) b,  cos(theta) = a.b / (|a| |b|)
//
// (Shoemake, "Animating Rotation with Quaternion Curves", 1985; for x_T: Song, Meng and Ermon, 2021, section 5.3).
// Between draws of N(0, I), which lie near a sphere, it stays near that sphere, where a straight line would pass
// through points too near the origin to be noise. Where a and b have one direction it is the straight line; opposite
// directions have no shortest arc and are an error. dst may be a or b.
func Slerp(dst, a, b []float32, u float64) error {
	if len(a) != len(b) || len(dst) != len(a) {
		return fmt.Errorf("unstir: slerp between %d and %d values into %d; they must be as many", len(a), len(b), len(dst))
	}
	var aa, bb, ab float64
	for i, v := range a {
		x, y := float64(v), float64(b[i])
		aa, bb, ab = aa+float64(x*x), bb+float64(y*y), ab+float64(x*y)
	}
	wa, wb := 1-u, u
	if aa > 0 && bb > 0 {
		theta := math.Acos(max(-1, min(1, ab/math.Sqrt(aa*bb))))
		switch s := math.Sin(theta); {
		case theta > math.Pi-1e-6:
			return errors.New("unstir: slerp between opposite directions: no arc is the shortest")
		case theta > 1e-6:
			wa, wb = math.Sin((1-u)*theta)/s, math.Sin(u*theta)/s
		}
	}
	for i, v := range a {
		dst[i] = float32(float64(wa*float64(v)) + float64(wb*float64(b[i])))
	}
	return nil
}

// Interpolate samples frames images along the great arc between two x_T [C, H, W], both ends included. The options
// are Sample's; N, First and XT are set here. Labels, for a class-conditional model, are one for all frames, or those
// of the two ends: then each frame is of the nearer end's class, a middle one of the first's. The sampler should be
// one that draws no noise: "ddim" (the default here), "heun" or one of the dpm++.
func (p *Pipeline) Interpolate(ctx context.Context, from, to []float32, frames int, o SampleOptions) (*Samples, error) {
	if err := p.requireSize(); err != nil {
		return nil, err
	}
	c, h, w := p.Shape()
	dim := c * h * w
	switch {
	case frames < 2:
		return nil, fmt.Errorf("unstir: interpolate in %d frames; there must be at least 2", frames)
	case len(from) != dim || len(to) != dim:
		return nil, fmt.Errorf("unstir: interpolate between %d and %d values; an image of %dx%dx%d has %d", len(from), len(to), c, h, w, dim)
	case len(o.Labels) > 2:
		return nil, fmt.Errorf("unstir: interpolate with %d labels; give one for all frames, or one for each end", len(o.Labels))
	}
	o.N, o.First, o.XT = frames, 0, make([]float32, frames*dim)
	for i := range frames {
		if err := Slerp(o.XT[i*dim:(i+1)*dim], from, to, float64(i)/float64(frames-1)); err != nil {
			return nil, err
		}
	}
	if ends := len(o.Labels); ends > 0 {
		labels := make([]int, frames)
		for i := range labels {
			labels[i] = o.Labels[ends*i/frames]
		}
		o.Labels = labels
	}
	if o.Sampler == "" {
		o.Sampler = "ddim"
	}
	return p.Sample(ctx, o)
}
