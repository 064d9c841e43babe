package attention

import (
	"math"

	"unstir/nn/kernel/internal/gemm"
)

// Attention by matrix products, for heads of many channels.

const (
	softmaxBatch = 64 // rows of one call of the softmax kernels
	wideRows     = 64 // queries that make it worth to share a head between threads
)

// wideScratch: two blocks of scores, a number for each row of a call of the softmax kernels, and enough for every product of a block.
func (a *Attention) wideScratch() int {
	b, s, d := a.block, a.s.S, a.s.D
	return 2*b*a.width + softmaxBatch + max(gemm.Scratch(b, s, d), gemm.Scratch(b, d, s), gemm.Scratch(s, d, b))
}

func (a *Attention) wideSpace(worker int) (scores, grads, perRow, spare []float32) {
	mem, n := a.space(worker), a.block*a.width
	return mem[:n], mem[n : 2*n], mem[2*n:][:softmaxBatch], mem[2*n+softmaxBatch:]
}

// forwardWide is a head, or one of the cuts of its queries.
func (a *Attention) forwardWide(worker, task int) {
	s, d, ld := a.s.S, a.s.D, a.ld
	head, cut := task/a.cuts, task%a.cuts
	at := a.begin(head)
	q, k, v, o := a.q[at:], a.k[at:], a.v[at:], a.o[at:]
	lse := a.lse[head*s : (head+1)*s]
	p, _, sums, spare := a.wideSpace(worker)
	end := s * (cut + 1) / a.cuts
	for first := s * cut / a.cuts; first < end; first += a.block {
		rows := min(a.block, end-first)
		if a.kept != nil {
			p = a.keptRows(head, first, rows)
		}
		a.gemm.Multiply(p, a.width, q[first*ld:], ld, false, k, ld, true, rows, s, d, false, spare)
		a.softmax(p, lse[first:first+rows], sums)
		a.gemm.Multiply(o[first*ld:], ld, p, a.width, false, v, ld, false, rows, d, s, false, spare)
	}
}

// keptRows are the kept probabilities of some queries of a head.
func (a *Attention) keptRows(head, first, rows int) []float32 {
	return a.kept[(head*a.s.S+first)*a.width:][:rows*a.width]
}

// softmax turns rows of products q k^T into probabilities and sets their lse; sums has room for a batch's.
func (a *Attention) softmax(p, lse, sums []float32) {
	s, width := a.s.S, a.width
	minusInf := float32(math.Inf(-1))
	for r := range lse { // fill the rows up to whole vectors
		for i := s; i < width; i++ {
			p[r*width+i] = minusInf
		}
	}
	for len(lse) > 0 {
		rows := min(softmaxBatch, len(lse))
		a.kernels.softmaxRows(p, lse, sums, rows, width, a.scale) // lse gets the largest product
		for r := range lse[:rows] {
			lse[r] = lseOf(lse[r], sums[r], a.scale)
		}
		p, lse = p[rows*width:], lse[rows:]
	}
}

func (a *Attention) backwardWide(worker, head int) {
	s, d, ld := a.s.S, a.s.D, a.ld
	at := a.begin(head)
	q, k, v, o, do := a.q[at:], a.k[at:], a.v[at:], a.o[at:], a.do[at:]
	dq, dk, dv := a.dq[at:], a.dk[at:], a.dv[at:]
	lse := a.lse[head*s : (head+1)*s]
	p, ds, deltas, spare := a.wideSpace(worker)
	for first := 0; first < s; first += a.block {
		rows, more := min(a.block, s-first), first > 0
		f := first * ld
		if a.kept != nil {
			p = a.keptRows(head, first, rows)
		} else {
			a.gemm.Multiply(p, a.width, q[f:], ld, false, k, ld, true, rows, s, d, false, spare)
		}
		a.gemm.Multiply(ds, a.width, do[f:], ld, false, v, ld, true, rows, s, d, false, spare)
		a.softmaxBackward(p, ds, lse[first:first+rows], do[f:], o[f:], deltas)
		a.gemm.Multiply(dv, ld, p, a.width, true, do[f:], ld, false, s, d, rows, more, spare)
		a.gemm.Multiply(dq[f:], ld, ds, a.width, false, k, ld, false, rows, d, s, false, spare)
		a.gemm.Multiply(dk, ld, ds, a.width, true, q[f:], ld, false, s, d, rows, more, spare)
	}
}

// softmaxBackward turns rows of products q k^T into probabilities, unless those were kept, and do v^T, the gradient of the
// probabilities p, into that of the products: p*(do v^T - do.o)/sqrt(D). deltas has room for a batch's do.o.
func (a *Attention) softmaxBackward(p, ds, lse, do, o, deltas []float32) {
	d, ld, width := a.s.D, a.ld, a.width
	for r0 := 0; r0 < len(lse); r0 += softmaxBatch {
		rows := min(softmaxBatch, len(lse)-r0)
		for r := range rows {
			at := (r0 + r) * ld
			deltas[r] = float32(a.vec.Dot(do[at:at+d], o[at:at+d]))
		}
		if a.kept != nil {
			a.kernels.softmaxKeptRows(p[r0*width:], ds[r0*width:], deltas, rows, width, a.scale)
			continue
		}
		a.kernels.softmaxBackRows(p[r0*width:], ds[r0*width:], deltas, lse[r0:], rows, width, a.scale)
	}
}
