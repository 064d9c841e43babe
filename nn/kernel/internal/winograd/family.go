package winograd

import "unstir/nn/kernel/internal/gemm"

// Family is an algorithm of Winograd's: F(m x m, r x r) computes m x m outputs of a filter of r x r taps.
type Family int

// The families.
const (
	F2 Family = iota // F(2x2, 3x3)
	F4               // F(4x4, 3x3)
	F6               // F(6x6, 3x3)
	Up               // F(4x4, 2x2), behind an upsampling, for each parity of the large image's rows and columns
)

func (f Family) String() string {
	return [...]string{F2: "F(2x2,3x3)", F4: "F(4x4,3x3)", F6: "F(6x6,3x3)", Up: "F(4x4,2x2) by parity"}[f]
}

// set is the transforms of one level.
type set struct {
	lanes      int // floats in a vector
	tiles      int // tiles that are multiplied at a time
	f2, f4, f6 transforms
	up         parities
}

// of is the transforms of a family, with Up for a phase: a parity of rows, times two, and of columns.
func (s *set) of(f Family, phase int) *transforms {
	switch f {
	case F2:
		return &s.f2
	case F4:
		return &s.f4
	case F6:
		return &s.f6
	}
	return &s.up[phase/2][phase%2]
}

// generic is the plain Go level.
var generic = set{
	lanes: 1, tiles: 16,
	f4: genericWino4(),
	f2: transforms{
		size: 2, geometry: threeTaps, input: whole(2, genericWino2Input), output: whole(2, genericWino2Output), filter: genericWino2Filter,
		gradient: whole(2, genericWino2Gradient), filterGradient: genericWino2FilterGradient,
	},
	up: newParities(genericWinoUp(), [2][2]func(*byte){{genericWinoUpFilter(0, 0), genericWinoUpFilter(0, 1)}, {genericWinoUpFilter(1, 0), genericWinoUpFilter(1, 1)}}),
	f6: genericWino6(),
}

// Products is how many multiplications a family has for an image of h x w outputs, with Up for each parity, and for each
// pair of channels: the tiles at the right and lower edges are as small as it has transforms for.
func Products(f Family, h, w int) int {
	g := newPatchGrid(1, h, w, generic.of(f, 0)) // all levels have tiles of the same sizes
	return g.products()
}

// Tiles is how many tiles a family cuts an image of h x w outputs into, with Up for each parity.
func Tiles(f Family, h, w int) int {
	g := newPatchGrid(1, h, w, generic.of(f, 0))
	return g.perImage()
}

// Planes is how many products of matrices a whole tile takes part in.
func (f Family) Planes() int {
	t := generic.of(f, 0)
	return t.points.of(t.size) * t.points.of(t.size)
}

// PackedLen is the number of floats of a packed filter from src to dst channels.
func PackedLen(f Family, src, dst int) int {
	n := f.Planes() * gemm.Padded(dst) / gemm.PanelWidth * (src*gemm.PanelWidth + planeGap)
	if f == Up {
		n *= 4
	}
	return n
}
