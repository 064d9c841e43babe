package nn

import (
	"sync"

	"unstir/nn/engine"
	"unstir/nn/kernel"
)

// Filters keeps the transformed filters of weights that do not change, for all graphs that sample with these
// weights: Winograd's transform of a 3x3 filter takes four to seven times its memory, and is made once instead of at
// every run. It may be used by several graphs at once.
type Filters struct {
	mu   sync.Mutex
	list map[filterKey][]float32
	left int // floats that may still be allocated
	kept int // floats that are allocated
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

// Bytes is the memory of what is kept.
func (f *Filters) Bytes() int64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	return 4 * int64(f.kept)
}

// get returns the transformed filter of a part of a layer, or nil where the limit is reached.
func (f *Filters) get(name string, p *convPart, w []float32) []float32 {
	f.mu.Lock()
	defer f.mu.Unlock()
	n := p.plan.PackedLen()
	key := newFilterKey(name, p.shape)
	if _, ok := f.list[key]; !ok && n > f.left {
		return nil
	}
	return f.keep(key, n, func(u []float32) { p.plan.Pack(u, w) })
}

// folded returns the form of a 1x1 convolution's filter and bias that fold has made from others. They are kept
// whatever the limit: they are less than what they stand for.
func (f *Filters) folded(name string, shape kernel.ConvShape, plan *kernel.Conv, fold func(w, b []float32)) (u, b []float32) {
	f.mu.Lock()
	defer f.mu.Unlock()
	var w []float32
	b = f.keep(newFilterKey(name+" bias", shape), shape.K, func(b []float32) {
		w = engine.AlignedFloats(shape.C * shape.K)
		fold(w, b)
	})
	u = f.keep(newFilterKey(name, shape), plan.PackedLen(), func(u []float32) { plan.Pack(u, w) })
	return u, b
}

func newFilterKey(name string, shape kernel.ConvShape) filterKey {
	shape.N = 0
	return filterKey{name, shape, kernel.ThisCPU().Level}
}

// keep returns what is kept under the key, n floats, and fills it first if it is new.
func (f *Filters) keep(key filterKey, n int, fill func(u []float32)) []float32 {
	u, ok := f.list[key]
	if !ok {
		f.left -= n
		f.kept += n
		u = engine.AlignedFloats(n)
		fill(u)
		f.list[key] = u
	}
	return u
}
