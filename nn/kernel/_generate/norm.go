package main

import (
	"fmt"
	"math"
	"slices"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

func init() {
	families["norm"] = family{"kernels", func() {
		newMasks("groupnormMasks")
		newTable("groupnormConstants")
		for _, s := range []isa{avx512, avx2} {
			normStats(s)
			normApply(s, false)
			normApply(s, true)
			normBackSums(s, false)
			normBackSums(s, true)
			normBackApply(s, false)
			normBackApply(s, true)
		}
	}}
}

// The kernels work on some rows of as many floats as a row of sums or of factors has, any number; a stride is the distance in
// floats from a row to the next in the tensors beside which it stands. The package's rows_go.go defines them. Those that sum
// take a few columns at a time down all rows, with the sums in registers; the others go row by row.

// fetchAhead is how many bytes ahead an image is fetched, what is to be written too: the hardware stops at each page.
const fetchAhead = 2048

// masks is a table of sixteen full lanes and sixteen empty ones: read from n lanes before the middle, it is a mask of n.
var masks Mem

func newMasks(name string) {
	masks = GLOBL(name, RODATA|NOPTR)
	for i := 0; i < 32; i++ {
		full := uint32(0)
		if i < 16 {
			full = math.MaxUint32
		}
		DATA(4*i, U32(full))
	}
}

// access is how a kernel reaches memory: whole vectors, or the lanes of a mask.
type access struct {
	s    isa
	mask Op // nil for whole vectors
}

// first is the access to the first n lanes of 16, n a register that it uses up, from lane `from` on.
func (s isa) first(n reg.GPVirtual, from ...int) (all []access) {
	NEGQ(n)
	base := GP64()
	LEAQ(masks, base)
	for _, f := range from {
		v := s.load(Mem{Base: base, Index: n, Scale: 4, Disp: 4 * (16 + f)})
		if s.lanes == 8 {
			all = append(all, access{s, v})
			continue
		}
		k := K()
		VPMOVD2M(v, k)
		all = append(all, access{s, k})
	}
	return all
}

func (a access) load(m Mem) vec {
	v := a.s.vec()
	switch {
	case a.mask == nil:
		VMOVUPS(m, v)
	case a.s.lanes == 16:
		VMOVUPS_Z(m, a.mask, v)
	default:
		VMASKMOVPS(m, a.mask, v)
	}
	return v
}

func (a access) store(v vec, m Mem) {
	switch {
	case a.mask == nil:
		VMOVUPS(v, m)
	case a.s.lanes == 16:
		VMOVUPS(v, a.mask, m)
	default:
		VMASKMOVPS(v, a.mask, m)
	}
}

// op is memory as an operand.
func (a access) op(m Mem) Op {
	if a.mask == nil {
		return m
	}
	return a.load(m)
}

// columns emits a loop over blocks of columns, and within it one over the rows. sums are parameters that hold one row of
// sums, images those that are tensors, coefs those that hold one row of factors. strides names each tensor's stride. A
// block is as many vectors as the registers hold, then half of that, then a vector and what is left of one.
func (s isa) columns(vectors int, sums, images, strides, coefs []string, body func(a access, acc [][]vec, image, coef func(i, v int) Mem)) {
	pSum, pImage, pCoef := pointers(sums...), pointers(images...), pointers(coefs...)
	left, row := length(sums[0]), GP64()
	offset := map[string]reg.GPVirtual{}
	for _, name := range strides {
		if offset[name] == nil {
			offset[name] = GP64()
		}
	}
	block := func(a access, n int, label string) {
		var acc [][]vec
		for _, p := range pSum {
			var sum []vec
			for v := 0; v < n; v++ {
				sum = append(sum, a.load(Mem{Base: p, Disp: v * s.bytes()}))
			}
			acc = append(acc, sum)
		}
		MOVQ(parameter("rows"), row)
		for _, name := range unique(strides) {
			XORQ(offset[name], offset[name])
		}
		Label("rows" + label)
		for i, p := range pImage {
			for v := 0; v < n; v += 16 / s.lanes {
				PREFETCHT0(Mem{Base: p, Index: offset[strides[i]], Scale: 4, Disp: v*s.bytes() + fetchAhead})
			}
		}
		body(a, acc,
			func(i, v int) Mem {
				return Mem{Base: pImage[i], Index: offset[strides[i]], Scale: 4, Disp: v * s.bytes()}
			},
			func(i, v int) Mem { return Mem{Base: pCoef[i], Disp: v * s.bytes()} })
		for _, name := range unique(strides) {
			ADDQ(parameter(name), offset[name])
		}
		DECQ(row)
		JNE(LabelRef("rows" + label))
		for i, p := range pSum {
			for v, sum := range acc[i] {
				a.store(sum, Mem{Base: p, Disp: v * s.bytes()})
			}
		}
		for _, p := range append(append(pSum, pImage...), pCoef...) {
			ADDQ(U32(n*s.bytes()), p)
		}
		SUBQ(U32(n*s.lanes), left)
	}
	for n := vectors; n > 1; n /= 2 {
		here, next := fmt.Sprint(n), fmt.Sprint(n/2)
		Label("columns" + here)
		CMPQ(left, U32(n*s.lanes))
		JLT(LabelRef("columns" + next))
		block(access{s: s}, n, here)
		JMP(LabelRef("columns" + here))
	}
	Label("columns1")
	CMPQ(left, U32(0))
	JLE(LabelRef("end"))
	n := GP64()
	MOVQ(U32(16), n)
	CMPQ(left, n)
	CMOVQLT(left, n)
	block(s.first(n, 0)[0], 1, "1")
	JMP(LabelRef("columns1"))
	Label("end")
	done()
}

// parameter is a parameter where the caller has put it.
func parameter(name string) Mem {
	p, err := Param(name).Resolve()
	if err != nil {
		panic(err)
	}
	return p.Addr
}

func unique(names []string) []string {
	names = slices.Clone(names)
	slices.Sort(names)
	return slices.Compact(names)
}

func normStats(s isa) {
	s.text("stats", "(sum, sq, x, around []float32, xStride, rows int)")
	s.columns(4, []string{"sum", "sq"}, []string{"x"}, []string{"xStride"}, []string{"around"}, func(a access, acc [][]vec, image, coef func(i, v int) Mem) {
		for v := range acc[0] {
			d := a.load(image(0, v))
			VSUBPS(a.op(coef(0, v)), d, d)
			VADDPS(d, acc[0][v], acc[0][v])
			s.fma(d, d, acc[1][v])
		}
	})
}

func normBackSums(s isa, silu bool) {
	if !silu {
		s.text("backSums", "(sum, dot, dy, x, mean []float32, yStride, xStride, rows int)")
		s.columns(4, []string{"sum", "dot"}, []string{"dy", "x"}, []string{"yStride", "xStride"}, []string{"mean"}, func(a access, acc [][]vec, image, coef func(i, v int) Mem) {
			for v := range acc[0] {
				dz, d := a.load(image(0, v)), a.load(image(1, v))
				VADDPS(dz, acc[0][v], acc[0][v])
				VSUBPS(a.op(coef(0, v)), d, d)
				s.fma(dz, d, acc[1][v])
			}
		})
		return
	}
	s.text("backSumsSiLU", "(sum, dot, dz, dy, x, scale, off, mean []float32, yStride, xStride, rows int)")
	e := newExponential(s, true)
	vectors := 4
	if s.lanes == 8 {
		vectors = 2 // registers
	}
	s.columns(vectors, []string{"sum", "dot"}, []string{"dz", "dy", "x"}, []string{"xStride", "yStride", "xStride"}, []string{"scale", "off", "mean"}, func(a access, acc [][]vec, image, coef func(i, v int) Mem) {
		for v := range acc[0] {
			z, k := a.load(image(2, v)), a.load(coef(0, v))
			VFMADD213PS(a.op(coef(1, v)), k, z)
			dz := e.slope(z)
			VMULPS(a.op(image(1, v)), dz, dz)
			a.store(dz, image(0, v))
			VADDPS(dz, acc[0][v], acc[0][v])
			d := a.load(image(2, v))
			VSUBPS(a.op(coef(2, v)), d, d)
			s.fma(dz, d, acc[1][v])
		}
	})
}

// along emits a loop over rows and within it one over sixteen columns at a time, the last ones with a mask.
func (s isa) along(images, strides, coefs []string, body func(a access, image, coef []Mem)) {
	pImage, pCoef := pointers(images...), pointers(coefs...)
	width, count := length(coefs[0]), Load(Param("rows"), GP64())
	stride := map[string]reg.GPVirtual{}
	for _, name := range unique(strides) {
		stride[name] = Load(Param(name), GP64()).(reg.GPVirtual)
	}
	var from []int
	for v := 0; v < 16; v += s.lanes {
		from = append(from, v)
	}
	whole, n, i := GP64(), GP64(), GP64()
	MOVQ(width, whole)
	ANDQ(I8(-16), whole)
	MOVQ(width, n)
	SUBQ(whole, n)
	last := s.first(n, from...)
	sixteen := func(masked bool) {
		for _, p := range pImage {
			PREFETCHT0(Mem{Base: p, Index: i, Scale: 4, Disp: fetchAhead})
		}
		for j, v := range from {
			at := func(p []reg.GPVirtual) (m []Mem) {
				for _, r := range p {
					m = append(m, Mem{Base: r, Index: i, Scale: 4, Disp: 4 * v})
				}
				return m
			}
			a := access{s: s}
			if masked {
				a = last[j]
			}
			body(a, at(pImage), at(pCoef))
		}
	}
	Label("rows")
	XORQ(i, i)
	TESTQ(whole, whole)
	JE(LabelRef("last"))
	Label("columns")
	sixteen(false)
	ADDQ(I8(16), i)
	CMPQ(i, whole)
	JNE(LabelRef("columns"))
	CMPQ(i, width)
	JNE(LabelRef("last"))
	Label("next")
	for j, p := range pImage {
		LEAQ(Mem{Base: p, Index: stride[strides[j]], Scale: 4}, p)
	}
	DECQ(count)
	JNE(LabelRef("rows"))
	done()
	Label("last")
	sixteen(true)
	JMP(LabelRef("next"))
}

func normApply(s isa, silu bool) {
	name := "apply"
	if silu {
		name = "applySiLU"
	}
	s.text(name, "(y, x, scale, off []float32, yStride, xStride, rows int)")
	var e *exponential
	if silu {
		e = newExponential(s, true)
	}
	s.along([]string{"y", "x"}, []string{"yStride", "xStride"}, []string{"scale", "off"}, func(a access, image, coef []Mem) {
		z, k := a.load(image[1]), a.load(coef[0])
		VFMADD213PS(a.op(coef[1]), k, z)
		if silu {
			z = e.silu(z)
		}
		a.store(z, image[0])
	})
}

func normBackApply(s isa, add bool) {
	name := "backApply"
	if add {
		name = "backAdd"
	}
	s.text(name, "(dx, dz, x, a, b, c []float32, zStride, xStride, rows int)")
	s.along([]string{"dx", "dz", "x"}, []string{"xStride", "zStride", "xStride"}, []string{"a", "b", "c"}, func(a access, image, coef []Mem) {
		u, b := a.load(image[2]), a.load(coef[1])
		VFMADD213PS(a.op(coef[2]), b, u)
		g := a.load(image[1])
		VFMADD231PS(a.op(coef[0]), g, u)
		if add {
			VADDPS(a.op(image[0]), u, u)
		}
		a.store(u, image[0])
	})
}
