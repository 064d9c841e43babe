package winograd

import "unsafe"

// tile is the argument of the transforms. An image tile is for rows x cols outputs and has its first pixel at
// (y, x) of an image of h x w pixels; pixels outside read as outside, which points
// at zeros, or are written to outside. Transformed data has 16, 25, 36 or 64 planes. Steps are
// in bytes, and count is in vectors or, for the filter, in input channels. The call changes count.
//
// The order of the fields is known to _generate/transform.go.
type tile struct {
	image, outside *float32
	add            *float32 // output: the image to add, or nil
	view
	count      int
	data       *float32 // plane 0
	plane      uintptr
	step       uintptr  // filter: between input channels of data
	init       *float32 // output: what every pixel starts from
	next       uintptr  // bytes from the pixels to those of the tile after this one, which are fetched; 0 if there is none
	rows, cols int      // filter: the parities of its phase

	height            int                 // findPixels: rows of pixels, at most 8
	pixels, addPixels [8][8]uintptr       // what it finds: addresses in image and add
	temp              [64*16 + 16]float32 // the transforms' own
}

// view is where a tile lies: its first pixel, the image's size, and the steps
// between rows and between pixels; for the filter, between taps and input channels.
type view struct {
	y, x, h, w int
	row, pixel uintptr
}

// transforms are those of one algorithm, for tiles of all of its sizes.
type transforms struct {
	geometry
	input, output        func(*byte)
	gradient             func(*byte) // of a tile of dy, for the gradient of the filter
	filter               func(*byte)
	filterGradient       func(*byte)
	filterGradientStream func(*byte) // filterGradient past the caches, to whole lines; may be nil
}

// geometry is what an algorithm makes of a tile, in each dimension.
type geometry struct {
	sizes []int // of tiles: so many outputs, the whole tile's last
	taps  int   // of the filter that its gradient is for
}

// whole is the size of a whole tile.
func (g geometry) whole() int { return g.sizes[len(g.sizes)-1] }

// points is the number of planes of a tile of some size, and of the pixels that are read for it.
func (g geometry) points(size int) int { return size + g.taps - 1 }

// call runs one of the transforms.
func (p *tile) call(f func(*byte)) { f((*byte)(unsafe.Pointer(p))) }
