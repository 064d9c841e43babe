package winograd

import (
	"unstir/nn/kernel/internal/cpu"
	"unstir/nn/kernel/internal/gemm"
)

// worker is what each goroutine has of its own.
type worker struct {
	*kernels
	mul     gemm.Product
	tile    tile
	packBuf []float32
	u       []float32        // the packed filter
	sorted  tileBlock        // the tiles at work
	tail    [81 * 16]float32 // a tile's channels beyond the last multiple of 16
	_       [64]byte
}

func newWorkers(n int, c cpu.Info) []worker {
	w, products := make([]worker, n), gemm.NewProducts(n, gemm.Of(c))
	for i := range w {
		w[i].mul, w[i].kernels = products[i], of(c)
	}
	return w
}

// tailView is the view of a tile of rows x cols pixels of 16 channels in tail.
func tailView(rows, cols int) view {
	return view{h: rows, w: cols, row: uintptr(64 * cols), pixel: 64}
}

// onPixels runs a transform from or to so many rows of pixels of the worker's tile.
func (w *worker) onPixels(f func(*byte), rows int) {
	if w.findPixels != nil {
		w.tile.height = rows
		w.tile.call(w.findPixels)
	}
	w.tile.call(f)
}

// transform applies f, which reads tiles of rows x cols pixels, to c channels of
// the tile of the image at w.tile's view. It reads no further than image's end.
func (w *worker) transform(image, data []float32, c int, f func(*byte), rows, cols int) {
	p := &w.tile
	whole := c &^ 15
	if whole > 0 {
		p.image, p.data, p.count = &image[0], &data[0], whole/w.lanes
		w.onPixels(f, rows)
	}
	if whole == c {
		return
	}
	for i := range rows * cols {
		y, x := p.y+i/cols, p.x+i%cols
		to := w.tail[16*i : 16*i+16]
		clear(to)
		if uint(y) < uint(p.h) && uint(x) < uint(p.w) {
			at := y*int(p.row/4) + x*int(p.pixel/4) + whole
			copy(to, image[at:at+c-whole])
		}
	}
	there := p.view
	p.view, p.next = tailView(rows, cols), 0
	p.image, p.data, p.count = &w.tail[0], &data[whole], 16/w.lanes
	w.onPixels(f, rows)
	p.view = there
}
