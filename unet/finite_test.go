package unet

import (
	"context"
	"math"
	"testing"
)

func allFinite(x []float32) bool {
	for _, v := range x {
		if v-v != 0 {
			return false
		}
	}
	return true
}

// finiteConfig has attention at 16 pixels and convolutions of every kind.
func finiteConfig() Config {
	c := Defaults()
	c.SampleSize = Size{H: 8, W: 8}
	c.InChannels, c.OutChannels = 1, 1
	c.BlockOutChannels = []int{8, 16}
	c.DownBlockTypes = []string{"DownBlock2D", "AttnDownBlock2D"}
	c.UpBlockTypes = []string{"AttnUpBlock2D", "UpBlock2D"}
	c.LayersPerBlock, c.NormNumGroups, c.AttentionHeadDim, c.NumClassEmbeds = 1, 4, 4, 2
	return c
}

func finiteExample(n, dim int) Example {
	e := Example{X: make([]float32, n*dim), Target: make([]float32, n*dim), T: make([]int, n), Labels: make([]int, n), Weight: make([]float64, n)}
	for i := range e.X {
		e.X[i], e.Target[i] = float32(math.Sin(float64(i))), float32(math.Cos(float64(7*i)))
	}
	for i := range e.T {
		e.T[i], e.Labels[i], e.Weight[i] = 100*i, i%2, 1
	}
	return e
}

// A NaN in any weight is a NaN in the loss: no kernel on the way loses it.
func TestANaNInAWeightReachesTheLoss(t *testing.T) {
	m, err := New(finiteConfig(), 1)
	if err != nil {
		t.Fatal(err)
	}
	flat := m.Weights()
	d, err := NewGradient(m.Config, m.Params, flat, GradientOptions{Slice: 2, H: 8, W: 8})
	if err != nil {
		t.Fatal(err)
	}
	e := finiteExample(2, 64)
	for _, bad := range []float32{float32(math.NaN()), float32(math.Inf(1))} {
		for i, p := range m.Params.List {
			view := m.Params.View(flat, i)
			was := view[len(view)/2]
			view[len(view)/2] = bad
			loss, err := d.Run(context.Background(), e, nil)
			view[len(view)/2] = was
			if err != nil {
				t.Fatal(err)
			}
			if loss-loss == 0 {
				t.Errorf("%s has a weight of %v, and the loss is %v; gradient finite: %v", p.Name, bad, loss, allFinite(d.Grad()))
			}
		}
	}
}
