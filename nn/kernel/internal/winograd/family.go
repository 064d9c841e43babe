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

// kernels is the transforms of one level.
type kernels struct {
	lanes          int // floats in a vector
	tiles          int // tiles that are multiplied at a time
	f2, f4, f6, up transforms
	findPixels     func(*byte) // fills a tile's tables for input, output and gradient; nil where they look up pixels themselves
}

// family is the transforms of a family.
func (k *kernels) family(f Family) *transforms {
	return [...]*transforms{F2: &k.f2, F4: &k.f4, F6: &k.f6, Up: &k.up}[f]
}

// generic is the plain Go level.
var generic = kernels{
	lanes: 1, tiles: 16,
	f2: wino2.transforms(), f4: wino4.transforms(), f6: wino6.transforms(), up: winoUp.transforms(),
}

// Products is how many multiplications a family has for an image of h x w outputs, with Up for each parity, and for each
// pair of channels: the tiles at the right and lower edges are as small as it has transforms for.
func Products(f Family, h, w int) int {
	g := newTileGrid(1, h, w, generic.family(f)) // all levels have tiles of the same sizes
	return g.products()
}

// Tiles is how many tiles a family cuts an image of h x w outputs into, with Up for each parity.
func Tiles(f Family, h, w int) int {
	g := newTileGrid(1, h, w, generic.family(f))
	return g.perImage()
}

// Planes is how many products of matrices a whole tile takes part in.
func (f Family) Planes() int {
	t := generic.family(f)
	return t.points(t.whole()) * t.points(t.whole())
}

// PackedLen is the number of floats of a packed filter from src to dst channels.
func PackedLen(f Family, src, dst int) int {
	n := f.Planes() * gemm.Padded(dst) / gemm.PanelWidth * (src*gemm.PanelWidth + planeGap)
	if f == Up {
		n *= 4
	}
	return n
}
