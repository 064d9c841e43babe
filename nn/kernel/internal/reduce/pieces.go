package reduce

import (
	"unstir/nn/kernel/internal/cpu"
	"unstir/nn/kernel/internal/parallel"
	"unstir/nn/kernel/internal/vec"
)

// Pieces is a filter gradient that is computed over several pieces of the images,
// which are then added in order.
type Pieces struct {
	Count, Size int   // pieces, and floats of the gradient
	ends        []int // where each ends, in parts of the last end

	kernels     *vec.Kernels
	dw, partial []float32
	add         func(i int)
}

const addChunk = 4096 // floats of the gradient in one chunk of the addition

// New cuts the images into so many pieces of equal size, for a gradient of size floats.
func New(count, size int, c cpu.Info) *Pieces {
	shares := make([]int, count)
	for i := range shares {
		shares[i] = 1
	}
	return NewUneven(shares, size, c)
}

// NewUneven makes pieces of the given shares of the images.
func NewUneven(shares []int, size int, c cpu.Info) *Pieces {
	p := &Pieces{kernels: vec.Of(c), Count: len(shares), Size: size}
	p.add = p.addChunk
	end := 0
	for _, share := range shares {
		end += share
		p.ends = append(p.ends, end)
	}
	return p
}

// Cut is piece i of n images, or rows: first to end.
func (p *Pieces) Cut(n, i int) (first, end int) {
	if i > 0 {
		first = n * p.ends[i-1] / p.ends[p.Count-1]
	}
	return first, n * p.ends[i] / p.ends[p.Count-1]
}

// Scratch is the number of floats for the pieces' results.
func (p *Pieces) Scratch() int {
	if p.Count == 1 {
		return 0
	}
	return p.Count * p.Size
}

// Start sets where the gradient goes.
func (p *Pieces) Start(dw, scratch []float32) {
	p.dw, p.partial = dw, scratch[:p.Scratch()]
}

// At is the piece that is the i-th to be computed: of each half of the images in turn, as two threads share them elsewhere.
func (p *Pieces) At(i int) int {
	half := (p.Count + 1) / 2
	return i%2*half + i/2
}

// Of is where piece i's gradient is to be written.
func (p *Pieces) Of(i int) []float32 {
	if p.Count == 1 {
		return p.dw
	}
	return p.partial[i*p.Size : (i+1)*p.Size]
}

// Finish adds the pieces.
func (p *Pieces) Finish() {
	if p.Count > 1 {
		parallel.For((p.Size+addChunk-1)/addChunk, p.add)
	}
}

func (p *Pieces) addChunk(i int) {
	i0, i1 := i*addChunk, min((i+1)*addChunk, p.Size)
	dw := p.dw[i0:i1]
	copy(dw, p.partial[i0:i1])
	for q := 1; q < p.Count; q++ {
		p.kernels.Add(dw, dw, p.Of(q)[i0:i1])
	}
}
