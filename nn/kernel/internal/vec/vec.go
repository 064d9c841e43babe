package vec

import (
	"unstir/nn/kernel/internal/cpu"
	"unstir/nn/kernel/internal/parallel"
)

// Elementwise work and copies. Nothing here reduces over more than four numbers, so that the bits of an element
// depend on its inputs alone and the work may be cut anywhere.

// vecChunk is how many floats one task of an elementwise call takes: 64 KB, a few microseconds.
const vecChunk = 1 << 14

// Vec runs elementwise calls over the worker pool. It holds the closures that the pool calls, so that a call allocates
// nothing; use one Vec per op. A Vec is not safe for concurrent use.
type Vec struct {
	kernels        *Kernels
	dst, a, b      []float32
	tail           [2][16]float32 // what is left of an argument behind the last multiple of 16; only a call's last task has any
	n, h, w, c     int
	rowsPerTask    int
	add            func(int)
	silu, siluBack func(int)
	up, upBack     func(int)
}

// New returns a Vec for a machine.
func New(c cpu.Info) *Vec {
	v := &Vec{kernels: Of(c)}
	v.add = func(i int) { lo, hi := v.span(i); v.kernels.Add(v.dst[lo:hi], v.a[lo:hi], v.b[lo:hi]) }
	v.silu = func(i int) { lo, hi := v.span(i); v.siluSpan(v.dst[lo:hi], v.a[lo:hi]) }
	v.siluBack = func(i int) { lo, hi := v.span(i); v.siluBackSpan(v.dst[lo:hi], v.a[lo:hi], v.b[lo:hi]) }
	v.up = v.upRows
	v.upBack = v.upBackRows
	return v
}

// span is the range of elements of task i.
func (v *Vec) span(i int) (lo, hi int) {
	lo = i * vecChunk
	return lo, min(lo+vecChunk, len(v.dst))
}

// each runs f over chunks of dst and drops the references to the arguments.
func (v *Vec) each(f func(int)) {
	parallel.For((len(v.dst)+vecChunk-1)/vecChunk, f)
	v.release()
}

// eachRows runs f over tasks of rowsPerTask of the given rows of rowLen floats each.
func (v *Vec) eachRows(f func(int), rows, rowLen int) {
	if rows == 0 || rowLen == 0 {
		v.release()
		return
	}
	v.rowsPerTask = max(1, vecChunk/rowLen)
	v.n = rows
	parallel.For((rows+v.rowsPerTask-1)/v.rowsPerTask, f)
	v.release()
}

func (v *Vec) release() { v.dst, v.a, v.b = nil, nil, nil }

// rowSpan is the range of rows of task i.
func (v *Vec) rowSpan(i int) (lo, hi int) {
	lo = i * v.rowsPerTask
	return lo, min(lo+v.rowsPerTask, v.n)
}

// Add sets dst = a + b. The three have equal lengths; dst may be a or b.
func (v *Vec) Add(dst, a, b []float32) {
	v.dst, v.a, v.b = dst, a[:len(dst)], b[:len(dst)]
	v.each(v.add)
}

// SiLU sets dst = x*sigmoid(x). dst may be x.
// Relative error a few ulp for x >= -87; below that the result is less than 1e-36 in magnitude, as the true one is.
func (v *Vec) SiLU(dst, x []float32) {
	v.dst, v.a = dst, x[:len(dst)]
	v.each(v.silu)
}

// SiLUBackward sets dx = dy * d(x*sigmoid(x))/dx = dy * s*(1 + x*(1-s)) with s = sigmoid(x). dx may be dy or x.
func (v *Vec) SiLUBackward(dx, x, dy []float32) {
	v.dst, v.a, v.b = dx, x[:len(dx)], dy[:len(dx)]
	v.each(v.siluBack)
}

// siluSpan is the SiLU of one task. The last elements, too few for a vector, are padded to one, so that an element's bits do
// not depend on where it stands.
func (v *Vec) siluSpan(dst, x []float32) {
	n := len(dst) &^ 15
	v.kernels.silu(dst[:n], x[:n])
	if n < len(dst) {
		t := v.tail[0][:]
		copy(t, x[n:])
		v.kernels.silu(t, t)
		copy(dst[n:], t)
	}
}

func (v *Vec) siluBackSpan(dx, x, dy []float32) {
	n := len(dx) &^ 15
	v.kernels.siluBack(dx[:n], x[:n], dy[:n])
	if n < len(dx) {
		t, g := v.tail[0][:], v.tail[1][:]
		copy(t, x[n:])
		copy(g, dy[n:])
		v.kernels.siluBack(t, t, g)
		copy(dx[n:], t)
	}
}

// Upsample doubles images by nearest neighbour: src [n,h,w,c] -> dst [n,2h,2w,c].
func (v *Vec) Upsample(dst, src []float32, n, h, w, c int) {
	v.dst, v.a, v.h, v.w, v.c = dst[:4*n*h*w*c], src[:n*h*w*c], h, w, c
	v.eachRows(v.up, n*h, 4*w*c)
}

func (v *Vec) upRows(task int) {
	lo, hi := v.rowSpan(task)
	w, c := v.w, v.c
	for r := lo; r < hi; r++ {
		src := v.a[r*w*c : (r+1)*w*c]
		dst := v.dst[4*r*w*c : 4*(r+1)*w*c]
		for x := 0; x < w; x++ {
			p := src[x*c : (x+1)*c]
			copy(dst[2*x*c:], p)
			copy(dst[(2*x+1)*c:], p)
		}
		copy(dst[2*w*c:], dst[:2*w*c])
	}
}

// UpsampleBackward adds each 2x2 block of ddst [n,2h,2w,c] into dsrc [n,h,w,c]: (top left + top right) +
// (bottom left + bottom right).
func (v *Vec) UpsampleBackward(dsrc, ddst []float32, n, h, w, c int) {
	v.dst, v.a, v.h, v.w, v.c = dsrc[:n*h*w*c], ddst[:4*n*h*w*c], h, w, c
	v.eachRows(v.upBack, n*h, 4*w*c)
}

func (v *Vec) upBackRows(task int) {
	lo, hi := v.rowSpan(task)
	w, c := v.w, v.c
	for r := lo; r < hi; r++ {
		src := v.a[4*r*w*c : 4*(r+1)*w*c]
		dst, top, bottom := v.dst[r*w*c:(r+1)*w*c], src[:2*w*c], src[2*w*c:]
		if c%8 == 0 {
			v.kernels.sumPairs(dst, top, bottom, w, c)
		} else {
			sumPairsGo(dst, top, bottom, w, c) // additions in the same order: the same bits
		}
	}
}
