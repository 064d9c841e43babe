package nn

import (
	"fmt"
	"math"

	"unstir/internal/rng"
)

// Param is one parameter tensor: a name and a place in a flat slice of float32. The same place in other flat
// slices holds its gradient, its moments and its moving average.
type Param struct {
	Name  string
	Shape []int // as kept in the flat slice: HWIO filters, [in, out] linear weights, [n] vectors
	Kind  Kind
	Off   int
	Size  int
	Init  Init
}

// Kind tells what the dimensions of a parameter mean, and so how files, which follow PyTorch, order them.
type Kind int

const (
	Vector Kind = iota // [n]
	Filter             // [rows, columns, in, out]; [out, in, rows, columns] in files
	Matrix             // [in, out]; [out, in] in files
	Table              // [entries, out], the same in files
)

// Init says how a parameter starts.
type Init struct {
	Kind  InitKind
	FanIn int // inputs of one output, for Uniform
}

// InitKind is a distribution of initial values.
type InitKind int

const (
	Zeros   InitKind = iota
	Ones             // scale of a norm
	Uniform          // U(-1/sqrt(FanIn), 1/sqrt(FanIn)): PyTorch's default for convolutions and linear layers
	Normal           // N(0, 1): embeddings
)

// Params lists a model's parameters in the order in which the model was written. Each starts at a cache line,
// so Len is a little more than Count; what lies between is zero and stays zero.
type Params struct {
	List   []Param
	byName map[string]int
	length int
}

// Len is the length of a flat slice that holds all parameters.
func (p *Params) Len() int { return p.length }

// Count is the number of trainable values.
func (p *Params) Count() int {
	n := 0
	for _, q := range p.List {
		n += q.Size
	}
	return n
}

// View is the part of a flat slice that belongs to parameter i.
func (p *Params) View(flat []float32, i int) []float32 {
	q := p.List[i]
	return flat[q.Off : q.Off+q.Size : q.Off+q.Size]
}

// index finds a parameter by name.
func (p *Params) index(name string) (int, bool) {
	i, ok := p.byName[name]
	return i, ok
}

func (p *Params) add(name string, kind Kind, shape []int, init Init) (int, error) {
	if p.byName == nil {
		p.byName = map[string]int{}
	}
	if _, ok := p.byName[name]; ok {
		return 0, fmt.Errorf("nn: two parameters are called %q", name)
	}
	size := 1
	for _, d := range shape {
		size *= d
	}
	const line = 16 // floats of a cache line
	p.byName[name] = len(p.List)
	p.List = append(p.List, Param{Name: name, Shape: shape, Kind: kind, Off: p.length, Size: size, Init: init})
	p.length += (size + line - 1) / line * line
	return len(p.List) - 1, nil
}

// Initialize writes the initial weights of a seed to a flat slice, each parameter's by its Init.
func (p *Params) Initialize(flat []float32, seed uint64) {
	clear(flat)
	for i, q := range p.List {
		w := p.View(flat, i)
		switch q.Init.Kind {
		case Ones:
			for j := range w {
				w[j] = 1
			}
		case Uniform:
			rng.Uniform32(w, seed, rng.Weights, uint64(i), 0)
			bound := float32(1 / math.Sqrt(float64(q.Init.FanIn)))
			for j, u := range w {
				w[j] = bound * (2*u - 1)
			}
		case Normal:
			rng.Normal(w, seed, rng.Weights, uint64(i), 0)
		}
	}
}
