package optimizer

import (
	"cmp"
	"math"
	"slices"

	"unstir/nn/kernel/internal/cpu"
	"unstir/nn/kernel/internal/gemm"
	"unstir/nn/kernel/internal/parallel"
	"unstir/nn/kernel/internal/vec"
)

// MuonMatrix is a matrix within the flat slices, row-major: a linear layer's weights, or a filter's with all but the output
// channels as its rows.
type MuonMatrix struct{ Off, Rows, Cols int }

// MuonStep is the setting of one update.
type MuonStep struct {
	LR          float64 // learning rate: 5 times the root mean square of a matrix's update
	Momentum    float64 // decay of the first moment, in [0, 1)
	WeightDecay float64 // decoupled, as AdamW's
	EMADecay    float64 // ema = EMADecay*ema + (1-EMADecay)*w
	GradScale   float64 // multiplies the gradient first
}

// Muon updates matrices by their momentum with all singular values brought near 1, so that every direction of a matrix moves
// alike. Jordan et al. (2024), "Muon: An optimizer for hidden layers in neural networks"; the step's size is that of Liu et
// al. (2025), "Muon is scalable for LLM training", eq. 4, under which it takes AdamW's learning rates. Not safe for
// concurrent use.
type Muon struct {
	matrices []MuonMatrix // the most work first
	gemm     *gemm.Kernels
	vec      *vec.Kernels
	own      [][]float32 // each worker's scratch
	step     func(worker, i int)

	w, m, ema, g []float32
	s            MuonStep
}

// newtonSchulz are the coefficients of Jordan et al.'s quintic iteration s -> a s + b s³ + c s⁵, which takes singular values
// from (0, 1] to between 0.7 and 1.2 in five rounds, small ones more than exact ones would be by a factor of 3.4 each.
var newtonSchulz = struct {
	rounds  int
	a, b, c float32
}{5, 3.4445, -4.7750, 2.0315}

// muonSize is an update's root mean square for a learning rate of 1: about that of Adam's in the course of a training run
// (Liu et al., section 2.2).
const muonSize = 0.2

// negligible is a norm whose inverse is still far from float32's largest number; smaller ones count as 0.
const negligible = 1e-30

// NewMuon returns a Muon for a machine and these matrices.
func NewMuon(c cpu.Info, matrices []MuonMatrix) *Muon {
	u := &Muon{matrices: slices.Clone(matrices), gemm: gemm.Of(c), vec: vec.Of(c)}
	slices.SortStableFunc(u.matrices, func(a, b MuonMatrix) int { return cmp.Compare(b.work(), a.work()) })
	u.step = func(worker, i int) { u.update(u.matrices[i], u.own[worker]) }
	return u
}

// MuonMemory is the number of bytes that a Muon for these matrices allocates.
func MuonMemory(matrices []MuonMatrix) int64 {
	return 4 * int64(min(parallel.Threads(), len(matrices))) * int64(muonScratch(matrices))
}

// side is the smaller number of rows and columns, that of the square matrices of the iteration.
func (m MuonMatrix) side() int { return min(m.Rows, m.Cols) }

// work is the number of multiplications of an update.
func (m MuonMatrix) work() int {
	n := m.side()
	return 2*n*m.Rows*m.Cols + 4*newtonSchulz.rounds*n*n*n
}

// muonScratch is the number of floats that an update of any of the matrices needs.
func muonScratch(matrices []MuonMatrix) int {
	total := 0
	for _, m := range matrices {
		n, long := m.side(), max(m.Rows, m.Cols)
		total = max(total, 2*m.Rows*m.Cols+4*n*n+gemm.Scratch(long, n, long))
	}
	return total
}

// Step updates the matrices in weights w, and their parts of the first moment m and the moving average ema, from the
// gradient g:
//
//	g = GradScale*g
//	m = Momentum*m + (1-Momentum)*g;  x = Momentum*m + (1-Momentum)*g
//	u = the orthogonal factor of x, nearly
//	w = w - LR*WeightDecay*w - LR*0.2*sqrt(max(rows, columns))*u
//	ema = EMADecay*ema + (1-EMADecay)*w
//
// Where x is 0, so is u. A matrix is updated on one goroutine: the results do not depend on the threads.
func (u *Muon) Step(w, m, ema, g []float32, s MuonStep) {
	for workers := min(parallel.Threads(), len(u.matrices)); len(u.own) < workers; {
		u.own = append(u.own, make([]float32, muonScratch(u.matrices)))
	}
	u.w, u.m, u.ema, u.g, u.s = w, m, ema, g, s
	parallel.InOrder(len(u.matrices), len(u.own), u.step)
	u.w, u.m, u.ema, u.g = nil, nil, nil, nil
}

// update is the step of one matrix.
func (u *Muon) update(mat MuonMatrix, scratch []float32) {
	size := mat.Rows * mat.Cols
	part := func(x []float32) []float32 { return x[mat.Off : mat.Off+size : mat.Off+size] }
	w, m, ema, g := part(u.w), part(u.m), part(u.ema), part(u.g)
	x, scratch := scratch[:size], scratch[size:]
	momentum, fresh, scale := float32(u.s.Momentum), float32(1-u.s.Momentum), float32(u.s.GradScale)
	for i, gi := range g {
		gi = float32(scale * gi)
		mi := m[i] + float32(fresh*(gi-m[i]))
		m[i], x[i] = mi, float32(momentum*mi)+float32(fresh*gi)
	}
	by := orthogonalize(u.gemm, u.vec, x, mat.Rows, mat.Cols, scratch)
	decay := float32(1 - u.s.LR*u.s.WeightDecay)
	rate := float32(u.s.LR * muonSize * math.Sqrt(float64(max(mat.Rows, mat.Cols))))
	average := float32(1 - u.s.EMADecay)
	for i, v := range by {
		wi := float32(decay*w[i]) - float32(rate*v)
		w[i], ema[i] = wi, ema[i]+float32(average*(wi-ema[i]))
	}
	if u.s.EMADecay == 0 {
		copy(ema, w)
	}
}

// orthogonalize returns x [rows, cols] with its singular values brought to about 1, as a part of scratch; it overwrites x.
//
// The iteration X <- X (a + b X'X + c (X'X)²) multiplies X by polynomials of the first X'X alone. So it runs on their product
// P, a square matrix of the shorter side: X'X becomes P X'X P, and X is multiplied once, at the end.
func orthogonalize(k *gemm.Kernels, v *vec.Kernels, x []float32, rows, cols int, scratch []float32) []float32 {
	n := min(rows, cols)
	cut := func(size int) (s []float32) {
		s, scratch = scratch[:size:size], scratch[size:]
		return s
	}
	out, gram, p, q, a := cut(len(x)), cut(n*n), cut(n*n), cut(n*n), cut(n*n)
	inverse := float32(0)
	if norm := math.Sqrt(v.SumSquares(x)); norm > negligible { // the Frobenius norm bounds the largest singular value
		inverse = float32(1 / norm)
	}
	for i := range x {
		x[i] *= inverse
	}
	if cols > rows {
		k.Multiply(gram, n, x, cols, false, x, cols, true, n, n, cols, false, scratch)
	} else {
		k.Multiply(gram, n, x, cols, true, x, cols, false, n, n, rows, false, scratch)
	}
	square := func(c, a, b []float32) { k.Multiply(c, n, a, n, false, b, n, false, n, n, n, false, scratch) }
	for round := range newtonSchulz.rounds {
		if round == 0 {
			copy(a, gram)
		} else {
			square(q, gram, p)
			square(a, p, q)
		}
		square(q, a, a)
		for i := range q {
			q[i] = float32(newtonSchulz.b*a[i]) + float32(newtonSchulz.c*q[i])
		}
		for i := 0; i < n*n; i += n + 1 {
			q[i] += newtonSchulz.a
		}
		if round == 0 {
			copy(p, q)
		} else {
			square(a, p, q)
			p, a = a, p
		}
	}
	if cols > rows {
		k.Multiply(out, cols, p, n, false, x, cols, false, rows, cols, n, false, scratch)
	} else {
		k.Multiply(out, cols, x, cols, false, p, n, false, rows, cols, n, false, scratch)
	}
	return out
}
