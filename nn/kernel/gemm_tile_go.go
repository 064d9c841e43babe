package kernel

import "unsafe"

// generic is the plain Go level. Its register tile is 2 x 4; the tables' functions
// loop over it.
var generic = isa{
	maxRows: 4, maxCols: 16,
	rows:      [2][15]func(*byte){{1: genericTile1, 2: genericTile2, 3: genericTile3, 4: genericTile4}},
	cols:      [2][15]func(*byte){{1: genericTile1, 2: genericTile2, 3: genericTile3, 4: genericTile4}},
	transpose: genericTranspose8,
	lanes:     1, winoPatches: 16,
	wino4: genericWino4(),
	wino2: transforms{
		size: 2, geometry: threeTaps, input: whole(2, genericWino2Input), output: whole(2, genericWino2Output), filter: genericWino2Filter,
		gradient: whole(2, genericWino2Gradient), filterGradient: genericWino2FilterGradient,
	},
	winoUp: newParities(genericWinoUp(), [2][2]func(*byte){{genericWinoUpFilter(0, 0), genericWinoUpFilter(0, 1)}, {genericWinoUpFilter(1, 0), genericWinoUpFilter(1, 1)}}),
	wino6:  genericWino6(),
}

func genericTile1(t *byte) { genericTile((*tile)(unsafe.Pointer(t)), 1) }
func genericTile2(t *byte) { genericTile((*tile)(unsafe.Pointer(t)), 2) }
func genericTile3(t *byte) { genericTile((*tile)(unsafe.Pointer(t)), 3) }
func genericTile4(t *byte) { genericTile((*tile)(unsafe.Pointer(t)), 4) }

// genericTile is what defines the register tiles, apart from the fused rounding.
func genericTile(t *tile, rows int) {
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
		if t.count--; t.count == 0 {
			return
		}
		t.a, t.b, t.c = move(t.a, t.aStep), move(t.b, t.bStep), move(t.c, t.cStep)
		t.init = move(t.init, t.initStep)
		if t.add != nil {
			t.add = move(t.add, t.addStep)
		}
	}
}

// genericTile2x4 computes rows i and i+1 and the four columns from byte j on.
func genericTile2x4(t *tile, i, j uintptr) {
	in := i*t.initRow + j
	c00, c01, c02, c03 := read(t.init, in), read(t.init, in+4), read(t.init, in+8), read(t.init, in+12)
	in += t.initRow
	c10, c11, c12, c13 := read(t.init, in), read(t.init, in+4), read(t.init, in+8), read(t.init, in+12)
	bAt, bRow, aCol := j, t.bRow, t.aCol
	a, b := t.a, t.b
	for _, seg := range unsafe.Slice(t.segs, t.numSegs) {
		a0At := seg + i*t.aRow
		a1At := a0At + t.aRow
		for p := 0; p < t.segLen; p++ {
			a0, a1 := read(a, a0At), read(a, a1At)
			b0, b1, b2, b3 := read(b, bAt), read(b, bAt+4), read(b, bAt+8), read(b, bAt+12)
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
	if t.add != nil {
		at := i*t.addRow + j
		c00, c01, c02, c03 = c00+read(t.add, at), c01+read(t.add, at+4), c02+read(t.add, at+8), c03+read(t.add, at+12)
		at += t.addRow
		c10, c11, c12, c13 = c10+read(t.add, at), c11+read(t.add, at+4), c12+read(t.add, at+8), c13+read(t.add, at+12)
	}
	out := floats(move(t.c, i*t.cRow+j), 4)
	out[0], out[1], out[2], out[3] = c00, c01, c02, c03
	out = floats(move(t.c, (i+1)*t.cRow+j), 4)
	out[0], out[1], out[2], out[3] = c10, c11, c12, c13
}

// genericTile1x1 computes row i and the column at byte j.
func genericTile1x1(t *tile, i, j uintptr) {
	c := read(t.init, i*t.initRow+j)
	bAt := j
	for _, seg := range unsafe.Slice(t.segs, t.numSegs) {
		aAt := seg + i*t.aRow
		for p := 0; p < t.segLen; p++ {
			c += float32(read(t.a, aAt) * read(t.b, bAt))
			aAt += t.aCol
			bAt += t.bRow
		}
	}
	if t.add != nil {
		c += read(t.add, i*t.addRow+j)
	}
	*move(t.c, i*t.cRow+j) = c
}

// read is the float n bytes behind p. Reading by offsets keeps every pointer inside
// its array, also after the last step of a loop.
func read(p *float32, n uintptr) float32 { return *(*float32)(unsafe.Add(unsafe.Pointer(p), n)) }

func genericTranspose8(dst *float32, dstRow uintptr, src *float32, srcRow uintptr, blocks int) {
	for i := uintptr(0); i < 8; i++ {
		for p := uintptr(0); p < uintptr(8*blocks); p++ {
			*move(dst, p*dstRow+4*i) = read(src, i*srcRow+4*p)
		}
	}
}
