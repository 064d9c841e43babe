package gemm

import (
	"unsafe"

	"unstir/nn/kernel/internal/mem"
)

// generic is the plain Go level. Its micro-kernels loop over micro-tiles of 2 x 4.
var generic = Kernels{
	maxRows: 4, maxCols: 16,
	rows:      microKernels{{1: genericTile1, 2: genericTile2, 3: genericTile3, 4: genericTile4}},
	cols:      microKernels{{1: genericTile1, 2: genericTile2, 3: genericTile3, 4: genericTile4}},
	Transpose: genericTranspose,
}

func genericTile1(t *byte) { genericTile((*Operands)(unsafe.Pointer(t)), 1) }
func genericTile2(t *byte) { genericTile((*Operands)(unsafe.Pointer(t)), 2) }
func genericTile3(t *byte) { genericTile((*Operands)(unsafe.Pointer(t)), 3) }
func genericTile4(t *byte) { genericTile((*Operands)(unsafe.Pointer(t)), 4) }

// genericTile is what defines the micro-kernels, apart from the fused rounding.
func genericTile(t *Operands, rows int) {
	for {
		i := 0
		for ; i+2 <= rows; i += 2 {
			for j := 0; j < 16; j += 4 {
				genericTile2x4(t, uintptr(i), uintptr(4*j))
			}
		}
		if i < rows {
			for j := 0; j < 16; j++ {
				genericTile1x1(t, uintptr(i), uintptr(4*j))
			}
		}
		if t.Count--; t.Count == 0 {
			return
		}
		t.A, t.B, t.C = mem.Move(t.A, t.AStep), mem.Move(t.B, t.BStep), mem.Move(t.C, t.CStep)
		t.Init = mem.Move(t.Init, t.InitStep)
		if t.Add != nil {
			t.Add = mem.Move(t.Add, t.AddStep)
		}
	}
}

// genericTile2x4 computes rows i and i+1 and the four columns from byte j on.
func genericTile2x4(t *Operands, i, j uintptr) {
	in := i*t.InitRow + j
	c00, c01, c02, c03 := mem.Read(t.Init, in), mem.Read(t.Init, in+4), mem.Read(t.Init, in+8), mem.Read(t.Init, in+12)
	in += t.InitRow
	c10, c11, c12, c13 := mem.Read(t.Init, in), mem.Read(t.Init, in+4), mem.Read(t.Init, in+8), mem.Read(t.Init, in+12)
	bAt, bRow, aCol := j, t.BRow, t.ACol
	a, b := t.A, t.B
	for _, seg := range unsafe.Slice(t.Segs, t.NumSegs) {
		a0At := seg + i*t.ARow
		a1At := a0At + t.ARow
		for p := 0; p < t.SegLen; p++ {
			a0, a1 := mem.Read(a, a0At), mem.Read(a, a1At)
			b0, b1, b2, b3 := mem.Read(b, bAt), mem.Read(b, bAt+4), mem.Read(b, bAt+8), mem.Read(b, bAt+12)
			c00 += float32(a0 * b0)
			c01 += float32(a0 * b1)
			c02 += float32(a0 * b2)
			c03 += float32(a0 * b3)
			c10 += float32(a1 * b0)
			c11 += float32(a1 * b1)
			c12 += float32(a1 * b2)
			c13 += float32(a1 * b3)
			a0At += aCol
			a1At += aCol
			bAt += bRow
		}
	}
	if t.Add != nil {
		at := i*t.AddRow + j
		c00, c01, c02, c03 = c00+mem.Read(t.Add, at), c01+mem.Read(t.Add, at+4), c02+mem.Read(t.Add, at+8), c03+mem.Read(t.Add, at+12)
		at += t.AddRow
		c10, c11, c12, c13 = c10+mem.Read(t.Add, at), c11+mem.Read(t.Add, at+4), c12+mem.Read(t.Add, at+8), c13+mem.Read(t.Add, at+12)
	}
	out := mem.Floats(mem.Move(t.C, i*t.CRow+j), 4)
	out[0], out[1], out[2], out[3] = c00, c01, c02, c03
	out = mem.Floats(mem.Move(t.C, (i+1)*t.CRow+j), 4)
	out[0], out[1], out[2], out[3] = c10, c11, c12, c13
}

// genericTile1x1 computes row i and the column at byte j.
func genericTile1x1(t *Operands, i, j uintptr) {
	c := mem.Read(t.Init, i*t.InitRow+j)
	bAt := j
	for _, seg := range unsafe.Slice(t.Segs, t.NumSegs) {
		aAt := seg + i*t.ARow
		for p := 0; p < t.SegLen; p++ {
			c += float32(mem.Read(t.A, aAt) * mem.Read(t.B, bAt))
			aAt += t.ACol
			bAt += t.BRow
		}
	}
	if t.Add != nil {
		c += mem.Read(t.Add, i*t.AddRow+j)
	}
	*mem.Move(t.C, i*t.CRow+j) = c
}

func genericTranspose(dst *float32, dstRow uintptr, src *float32, srcRow uintptr, blocks int) {
	for i := uintptr(0); i < 8; i++ {
		for p := uintptr(0); p < uintptr(8*blocks); p++ {
			*mem.Move(dst, p*dstRow+4*i) = mem.Read(src, i*srcRow+4*p)
		}
	}
}
