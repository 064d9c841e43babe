package gemm

// Operands is the argument of a micro-kernel, the inner loop of every matrix product here. It computes, for each of rows x
// columns elements of a micro-tile,
//
//	C(i, j) = Init(i, j) + sum over p, in order, of A(i, p) B(p, j) + Add(i, j)
//
// with one fused multiply-add per product. A's columns come in segments, each of SegLen columns at its own offset from A, so
// that A can be the pixels under a filter or a blocked array; B's rows follow each other through all segments:
//
//	A(i, p) = A + Segs[p / SegLen] + i ARow + (p mod SegLen) ACol
//	B(p, j) = B + p BRow + 4 j
//	C(i, j) = C + i CRow + 4 j      Init, Add likewise
//
// All offsets and steps are in bytes. Micro-kernels named tileRows need ACol = 4, those named tileCols need ARow = 4. This is
// done Count times, the operands moving on by their steps in between. The call changes them, Count, Prefetch and Flow.
// Operands live on the heap, and the garbage collector looks at their pointers, so none of them may point past the end of
// an array, not even when nothing is read there.
//
// The order of the fields is known to _generate/gemm.go.
type Operands struct {
	A, B, C, Init, Add  *float32 // Add may be nil
	ARow, ACol, BRow    uintptr
	CRow, InitRow       uintptr
	AddRow              uintptr
	Segs                *uintptr // byte offsets from A
	NumSegs, SegLen     int
	Count               int
	AStep, BStep, CStep uintptr
	InitStep, AddStep   uintptr

	prefetch [2]stream
	flow     [2]flow
}

// flow is memory to fetch into the second-level cache on the side: a line at address with every column of A, moving on by
// step bytes, at most 64. The address must be one that exists, also where nothing is to be fetched and step is 0: looking for
// others takes long.
type flow struct {
	address, step uintptr
}

// stream is memory with gaps, to be fetched with every micro-tile: so many runs of lines of 64 bytes, from address on, which
// moves on and behind each run skips some bytes. Any address will do.
type stream struct {
	address uintptr
	runs    int
	lines   int // of a run
	skip    uintptr
}

// PanelWidth is the number of columns of a packed panel of B. Each panel is stored row after row, padded with zeros on the
// right.
const PanelWidth = 32

// Padded is n rounded up to whole panels.
func Padded(n int) int { return (n + PanelWidth - 1) &^ (PanelWidth - 1) }

var (
	ZeroLine  [PanelWidth]float32 // a row of zeros
	NoOffsets [1]uintptr          // one segment that starts at A
	One       = [1]float32{1}
)

// Kernels is the functions of one level.
type Kernels struct {
	maxRows int          // rows of the largest micro-tile
	maxCols int          // its columns, 16 or 32
	rows    microKernels // tileRows
	cols    microKernels // tileCols

	// Transpose writes eight rows of so many blocks of eight floats as columns. Rows are dstRow and srcRow bytes apart.
	Transpose func(dst *float32, dstRow uintptr, src *float32, srcRow uintptr, blocks int)
}

// microKernels is the micro-kernels for micro-tiles of [columns/16 - 1][rows]. What they take is an *Operands, a type that
// their generator does not know.
type microKernels [2][MaxTileRows + 1]func(*byte)

// MaxTileRows is the most rows of any level's micro-tile.
const MaxTileRows = 14
