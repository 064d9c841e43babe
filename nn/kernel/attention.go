package kernel

import (
	"fmt"
	"math"
)

// AttentionShape is the shape of softmax(q k^T / sqrt(D)) v, head by head.
// Attention Is All You Need (Vaswani et al., 2017), eq. 1.
type AttentionShape struct {
	N     int // images
	S     int // positions (pixels) of an image
	Heads int
	D     int // channels of a head; head h is channels h*D ... of Heads*D
}

func (s AttentionShape) validate() error {
	if s.N < 1 || s.S < 1 || s.Heads < 1 || s.D < 1 {
		return fmt.Errorf("kernel: attention %+v: N, S, Heads and D must be at least 1", s)
	}
	return nil
}

// attentionScores is how many scores (floats) a block of queries may have: 512 KB, so that the block stays in a
// core's second-level cache beside its keys and values.
const attentionScores = 1 << 17

// Attention is the plan of one attention. It serves one goroutine at a time. q, k, v, o and their gradients are
// [N, S, Heads*D], lse is [N, Heads, S].
//
// One task is a head of an image: no scores of more than a block of queries exist at a time, and none are kept for
// the backward pass, which computes them again from lse.
type Attention struct {
	s      AttentionShape
	block  int // queries of a block
	width  int // floats of a row of scores: S rounded up to whole vectors
	spaces int // heads that can be in work at a time
	scale  float32

	o, lse, q, k, v         []float32
	dq, dk, dv, do, scratch []float32

	forward, backward func(worker, task int)
}

// NewAttention makes a plan; it returns an error when the shape makes no sense.
func NewAttention(s AttentionShape) (*Attention, error) {
	if err := s.validate(); err != nil {
		return nil, err
	}
	a := &Attention{s: s, width: (s.S + 15) &^ 15, scale: float32(1 / math.Sqrt(float64(s.D)))}
	a.block = min(s.S, max(1, attentionScores/a.width))
	a.spaces = min(s.N*s.Heads, Threads())
	a.forward = a.forwardHead
	a.backward = a.backwardHead
	return a, nil
}

// Scratch is the number of floats of scratch that Forward and Backward need.
func (a *Attention) Scratch() int { return a.spaces * a.spaceLen() }

func (a *Attention) spaceLen() int { return 2*a.block*a.width + a.gemmScratch() }

// gemmScratch is enough for every product of a block.
func (a *Attention) gemmScratch() int {
	b, s, d := a.block, a.s.S, a.s.D
	return max(GemmScratch(b, s, d), GemmScratch(b, d, s), GemmScratch(s, d, b))
}

// Forward computes o, and lse: the logarithm of each query's sum of exp(score).
func (a *Attention) Forward(o, lse, q, k, v, scratch []float32) {
	a.o, a.lse, a.q, a.k, a.v, a.scratch = o, lse, q, k, v, scratch
	parallelBy(a.s.N*a.s.Heads, a.spaces, a.forward)
	a.release()
}

// Backward computes the gradients of q, k and v from do and from what Forward was given and wrote. It overwrites; the
// gradients must not overlap the other arguments.
func (a *Attention) Backward(dq, dk, dv, do, o, lse, q, k, v, scratch []float32) {
	a.o, a.lse, a.q, a.k, a.v, a.scratch = o, lse, q, k, v, scratch
	a.dq, a.dk, a.dv, a.do = dq, dk, dv, do
	parallelBy(a.s.N*a.s.Heads, a.spaces, a.backward)
	a.release()
}

func (a *Attention) release() {
	a.o, a.lse, a.q, a.k, a.v, a.scratch = nil, nil, nil, nil, nil, nil
	a.dq, a.dk, a.dv, a.do = nil, nil, nil, nil
}

// head is where the task's head of its image begins in q, k, v and o.
func (a *Attention) head(task int) int {
	return task/a.s.Heads*a.s.S*a.s.Heads*a.s.D + task%a.s.Heads*a.s.D
}

// space is the scratch of a worker: two blocks of scores and what Gemm needs.
func (a *Attention) space(worker int) (scores, grads, gemm []float32) {
	mem := a.scratch[worker*a.spaceLen() : (worker+1)*a.spaceLen()]
	n := a.block * a.width
	return mem[:n], mem[n : 2*n], mem[2*n:]
}

func (a *Attention) forwardHead(worker, task int) {
	s, d, ld := a.s.S, a.s.D, a.s.Heads*a.s.D
	at := a.head(task)
	q, k, v, o := a.q[at:], a.k[at:], a.v[at:], a.o[at:]
	lse := a.lse[task*s : (task+1)*s]
	p, _, gemm := a.space(worker)
	for first := 0; first < s; first += a.block {
		rows := min(a.block, s-first)
		Gemm(p, a.width, q[first*ld:], ld, false, k, ld, true, rows, s, d, false, gemm)
		for r := 0; r < rows; r++ {
			lse[first+r] = a.softmax(p[r*a.width : (r+1)*a.width])
		}
		Gemm(o[first*ld:], ld, p, a.width, false, v, ld, false, rows, d, s, false, gemm)
	}
}

// softmax turns a row of products q k^T, padded to whole vectors, into probabilities and returns the row's lse.
func (a *Attention) softmax(row []float32) float32 {
	minusInf := float32(math.Inf(-1))
	for i := a.s.S; i < len(row); i++ {
		row[i] = minusInf
	}
	largest, sum := softmaxExp(row, a.scale)
	scaleVec(row, row, 1/sum)
	return float32(float64(float64(a.scale)*float64(largest)) + math.Log(float64(sum)))
}

func (a *Attention) backwardHead(worker, task int) {
	s, d, ld := a.s.S, a.s.D, a.s.Heads*a.s.D
	at := a.head(task)
	q, k, v, o, do := a.q[at:], a.k[at:], a.v[at:], a.o[at:], a.do[at:]
	dq, dk, dv := a.dq[at:], a.dk[at:], a.dv[at:]
	lse := a.lse[task*s : (task+1)*s]
	p, ds, gemm := a.space(worker)
	for first := 0; first < s; first += a.block {
		rows, more := min(a.block, s-first), first > 0
		f := first * ld
		Gemm(p, a.width, q[f:], ld, false, k, ld, true, rows, s, d, false, gemm)
		Gemm(ds, a.width, do[f:], ld, false, v, ld, true, rows, s, d, false, gemm)
		for r := 0; r < rows; r++ {
			// dscores = p*(do v^T - do.o), and the 1/sqrt(D) of the scores
			delta := dot(do[f+r*ld:][:d], o[f+r*ld:][:d])
			row := r * a.width
			softmaxBackward(p[row:row+s], ds[row:row+s], a.scale, lse[first+r], delta)
		}
		Gemm(dv, ld, p, a.width, true, do[f:], ld, false, s, d, rows, more, gemm)
		Gemm(dq[f:], ld, ds, a.width, false, k, ld, false, rows, d, s, false, gemm)
		Gemm(dk, ld, ds, a.width, true, q[f:], ld, false, s, d, rows, more, gemm)
	}
}

// dot is the inner product of two vectors of equal length, in float64.
func dot(a, b []float32) float32 {
	var lanes [16]float64
	dotLanes(&lanes, a, b)
	return float32(sumLanes(&lanes))
}

// dotGo adds a[i]*b[i] to lane i mod 16.
func dotGo(lanes *[16]float64, a, b []float32) {
	b = b[:len(a)]
	for i, x := range a {
		lanes[i&15] += float64(float64(x) * float64(b[i]))
	}
}

// softmaxExpGo sets row = exp(scale*(row - largest)) and returns the largest entry and the sum of the results.
func softmaxExpGo(row []float32, scale float32) (largest, sum float32) {
	largest = row[0]
	for _, x := range row {
		if x > largest {
			largest = x
		}
	}
	var lanes [16]float32
	for i, x := range row {
		e := expGo(scale * (x - largest))
		row[i] = e
		lanes[i&15] += e
	}
	for d := 8; d > 0; d /= 2 {
		for i := 0; i < d; i++ {
			lanes[i] += lanes[i+d]
		}
	}
	return largest, lanes[0]
}

// softmaxBackwardGo sets p = exp(scale*p - lse), the probabilities, and ds = p*(ds - delta)*scale.
func softmaxBackwardGo(p, ds []float32, scale, lse, delta float32) {
	ds = ds[:len(p)]
	for i, x := range p {
		e := expGo(float32(scale*x) - lse)
		p[i] = e
		ds[i] = float32(e*(ds[i]-delta)) * scale
	}
}
