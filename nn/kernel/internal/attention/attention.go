package attention

import (
	"fmt"
	"math"

	"unstir/nn/kernel/internal/cpu"
	"unstir/nn/kernel/internal/gemm"
	"unstir/nn/kernel/internal/parallel"
	"unstir/nn/kernel/internal/vec"
)

// Shape is the shape of softmax(q k^T / sqrt(D)) v, head by head.
// Attention Is All You Need (Vaswani et al., 2017), eq. 1.
type Shape struct {
	N     int // images
	S     int // positions (pixels) of an image
	Heads int
	D     int // channels of a head; head h is channels h*D ... of Heads*D
}

func (s Shape) validate() error {
	if s.N < 1 || s.S < 1 || s.Heads < 1 || s.D < 1 {
		return fmt.Errorf("kernel: attention %+v: N, S, Heads and D must be at least 1", s)
	}
	return nil
}

const (
	attentionScores = 1 << 17 // scores (floats) of a block of queries at most: 512 KB, part of a core's second-level cache
	attentionLanes  = 32      // up to so many channels a head is too thin for matrix products
)

// Attention is the plan of one attention. It serves one goroutine at a time. q, k, v, o and their gradients are
// [N, S, Heads*D], lse is [N, Heads, S].
//
// One task is a head of an image, or a few: no scores of more than a block of queries exist at a time. The backward pass
// computes them again from lse, unless the probabilities were kept, which is worth it where they are no larger than q. Wide
// heads are matrix products (wide.go); heads of few channels go sixteen queries at a time (lanes.go).
type Attention struct {
	kernels *kernels
	gemm    *gemm.Kernels
	vec     *vec.Kernels
	s       Shape
	scale   float32 // 1/sqrt(D)
	block   int     // queries of a block
	width   int     // floats of a row of scores: S rounded up to whole vectors
	ld      int     // floats from a position to the next
	perJob  int     // floats of scratch of a worker
	spaces  int     // workers that can be at work at a time
	group   int     // heads of a task
	cuts    int     // tasks of a wide head's forward pass

	o, lse, kept, q, k, v []float32
	dq, dk, dv, do        []float32
	mem                   parallel.Scratch

	forward, backward func(worker, task int)
}

// New makes a plan for a machine; it returns an error when the shape makes no sense.
func New(s Shape, c cpu.Info) (*Attention, error) {
	if err := s.validate(); err != nil {
		return nil, err
	}
	a := &Attention{kernels: of(c), gemm: gemm.Of(c), vec: vec.Of(c), s: s, scale: float32(1 / math.Sqrt(float64(s.D))), ld: s.Heads * s.D}
	if s.D <= attentionLanes {
		a.group = min(s.Heads, 16/min(16, s.D&-s.D)) // whole cache lines of the outputs
		for 2*a.group <= s.Heads && s.N*s.Heads >= 16*a.group*parallel.Threads() {
			a.group *= 2 // the hardware fetches the lines beside one, too, which another thread may be writing
		}
		a.spaces = min(a.tasks(), parallel.Threads())
		a.perJob = parallel.WholeLines(a.lanesScratch())
		a.forward = func(worker, task int) { a.each(worker, task, a.forwardLanes) }
		a.backward = func(worker, task int) { a.each(worker, task, a.backwardLanes) }
		return a, nil
	}
	a.group, a.cuts = 1, 1
	if n := s.N * s.Heads; n < parallel.Threads() { // no sum crosses queries, so the bits do not change
		a.cuts = max(1, min((parallel.Threads()+n-1)/n, s.S/wideRows))
	}
	a.spaces = min(a.tasks()*a.cuts, parallel.Threads())
	a.width = (s.S + 15) &^ 15
	a.block = min(s.S, max(1, attentionScores/a.width))
	a.perJob = parallel.WholeLines(a.wideScratch())
	a.forward, a.backward = a.forwardWide, a.backwardWide
	return a, nil
}

// Algorithm is how both passes are computed: "matrix products" for wide heads, "lanes of queries" for thin ones.
func (a *Attention) Algorithm() string {
	if a.width == 0 {
		return "lanes of queries"
	}
	return "matrix products"
}

// Scratch is how much scratch Forward and Backward need.
func (a *Attention) Scratch() parallel.ScratchSize { return parallel.PerWorker(a.spaces, a.perJob) }

// Kept is the number of floats of kept that Forward may fill for Backward: at most q's. It is 0 where the probabilities would
// be larger than q, or a head is too thin.
func (a *Attention) Kept() int {
	if a.width == 0 || a.width > a.s.D {
		return 0
	}
	return a.s.N * a.s.Heads * a.s.S * a.width
}

// Forward computes o, and lse: the logarithm of each query's sum of exp(score). Unless kept is nil, it gets the
// probabilities.
func (a *Attention) Forward(o, lse, kept, q, k, v []float32, scratch parallel.Scratch) {
	a.o, a.lse, a.kept, a.q, a.k, a.v, a.mem = o, lse, kept, q, k, v, scratch
	parallel.ForWorkers(a.tasks()*max(1, a.cuts), a.spaces, a.forward)
	a.release()
}

// Backward computes the gradients of q, k and v from do and from what Forward was given and wrote; kept is nil if Forward's
// was. It overwrites; the gradients must not overlap the other arguments.
func (a *Attention) Backward(dq, dk, dv, do, o, lse, kept, q, k, v []float32, scratch parallel.Scratch) {
	a.o, a.lse, a.kept, a.q, a.k, a.v, a.mem = o, lse, kept, q, k, v, scratch
	a.dq, a.dk, a.dv, a.do = dq, dk, dv, do
	parallel.ForWorkers(a.tasks(), a.spaces, a.backward)
	a.release()
}

func (a *Attention) release() {
	a.o, a.lse, a.kept, a.q, a.k, a.v, a.mem = nil, nil, nil, nil, nil, nil, parallel.Scratch{}
	a.dq, a.dk, a.dv, a.do = nil, nil, nil, nil
}

// tasks is how many groups of heads there are.
func (a *Attention) tasks() int { return (a.s.N*a.s.Heads + a.group - 1) / a.group }

// each runs f over the heads of a task.
func (a *Attention) each(worker, task int, f func(worker, head int)) {
	for h := task * a.group; h < min((task+1)*a.group, a.s.N*a.s.Heads); h++ {
		f(worker, h)
	}
}

// begin is where a head (image*Heads + head) begins in q, k, v and o.
func (a *Attention) begin(head int) int {
	return head/a.s.Heads*a.s.S*a.ld + head%a.s.Heads*a.s.D
}

// space is the scratch of a worker.
func (a *Attention) space(worker int) []float32 {
	return a.mem.Worker(worker)[:a.perJob]
}
