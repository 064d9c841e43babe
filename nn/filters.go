package nn

import (
	"sync"

	"unstir/nn/engine"
	"unstir/nn/kernel"
)

// Filters keeps the transformed filters of weights that do not change, for all graphs that sample with these
// weights: Winograd's transform of a 3x3 filter takes four times its memory, and is made once instead of at every
// run. It may be used by several graphs at once.
type Filters struct {
	mu   sync.Mutex
	list map[filterKey][]float32
	left int // floats that may still be allocated
}

// filterKey tells apart all forms that a filter can have: they depend on the convolution's shape, but never on
// the number of images, and on the kernels' level.
type filterKey struct {
	name  string
	shape kernel.ConvShape // with N = 0
	level kernel.Level
}

// NewFilters keeps up to limit bytes. Filters beyond are transformed at every run.
func NewFilters(limit int) *Filters {
	return &Filters{list: map[filterKey][]float32{}, left: limit / 4}
}

// get returns the transformed filter of a part of a layer, or nil where the limit is reached.
func (f *Filters) get(name string, p *convPart, w []float32) []float32 {
	f.mu.Lock()
	defer f.mu.Unlock()
	key := filterKey{name, p.shape, kernel.ActiveLevel()}
	key.shape.N = 0
	u, ok := f.list[key]
	if n := p.plan.PreparedLen(); !ok {
		if n > f.left {
			return nil
		}
		f.left -= n
		u = engine.AlignedFloats(n)
		p.plan.Prepare(u, w)
		f.list[key] = u
	}
	return u
}
