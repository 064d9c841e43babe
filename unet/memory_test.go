package unet

import (
	"context"
	"testing"

	"unstir/nn"
)

// The memory that is computed is the memory that is allocated: for a training graph at every slice, and for a predictor at
// every batch with the filters that its first run transforms, which later predictors share.
func TestForeseenMemoryIsWhatIsTaken(t *testing.T) {
	c := Defaults()
	c.SampleSize = Size{16, 16}
	c.BlockOutChannels = []int{16, 32}
	c.DownBlockTypes = []string{"DownBlock2D", "AttnDownBlock2D"}
	c.UpBlockTypes = []string{"AttnUpBlock2D", "UpBlock2D"}
	c.LayersPerBlock, c.NormNumGroups, c.AttentionHeadDim = 1, 8, 0
	m, err := New(c, 1)
	if err != nil {
		t.Fatal(err)
	}
	for i, slice := range []int{1, 2, 5} {
		batch := []int{1, 9, 5}[i]
		o := GradientOptions{Slice: slice, H: 16, W: 16}
		foreseen, err := GradientMemory(c, m.Params, m.flat, o, batch)
		if err != nil {
			t.Fatal(err)
		}
		g, err := NewGradient(c, m.Params, m.flat, o)
		if err != nil {
			t.Fatal(err)
		}
		n := batch * 3 * 16 * 16
		if _, err := g.Run(context.Background(), Example{X: make([]float32, n), Target: make([]float32, n), T: make([]int, batch)}, nil); err != nil {
			t.Fatal(err)
		}
		taken := int64(g.Machine().Stats().Arena) + 4*int64(len(g.in.x)+len(g.target)) + 4*int64(nn.GradientsHeld(batch, slice)*m.Params.Len())
		if foreseen != taken {
			t.Errorf("slices of %d in a batch of %d: %d bytes were computed, %d allocated", slice, batch, foreseen, taken)
		}
	}
	filters := int64(0)
	for _, batch := range []int{1, 3, 8} {
		foreseen, err := PredictorMemory(m, batch, 16, 16)
		if err != nil {
			t.Fatal(err)
		}
		p, err := NewPredictor(m, batch, 16, 16)
		if err != nil {
			t.Fatal(err)
		}
		n := 3 * 16 * 16
		if err := p.Predict(context.Background(), make([]float32, n), make([]float32, n), []int{5}); err != nil {
			t.Fatal(err)
		}
		taken := int64(p.Machine().Stats().Arena) + 4*int64(len(p.in.x)) + m.filters.Bytes() - filters
		if foreseen != taken {
			t.Errorf("batch %d: %d bytes were computed, %d allocated, of which %d by filters", batch, foreseen, taken, m.filters.Bytes()-filters)
		}
		filters = m.filters.Bytes()
	}
}
