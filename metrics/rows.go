package metrics

import (
	"context"
	"sync"
	"sync/atomic"

	"unstir/nn/kernel"
)

// Pairs of rows are computed in tiles of so many left and right rows, which stay in a core's second-level cache.
const (
	tileRows    = 64
	tilePanels  = 20
	tileColumns = tilePanels * kernel.InnerPanel
	tileLen     = tileRows * tileColumns
)

// rows are the right rows of pairs.
type rows struct {
	n       int
	packed  *kernel.InnerRows
	squares []float64 // [n]
}

func pack(f Features) *rows {
	r := &rows{n: f.N, packed: kernel.NewInnerRows(f.Data, f.N, f.D), squares: make([]float64, f.N)}
	for i := range r.squares {
		r.squares[i] = kernel.InnerSquare(f.row(i))
	}
	return r
}

// products calls f with the inner products of row i of x, for i from first to end (at most tileRows), and the right rows
// from j on, for ascending j, which begins with from, a multiple of tileColumns. f may change the products.
func (r *rows) products(x Features, first, end, from int, tile []float64, f func(i, j int, products []float64)) {
	left := x.Data[first*x.D : end*x.D]
	for j := from; j < r.n; j += tileColumns {
		panel := j / kernel.InnerPanel
		r.packed.Multiply(tile, tileColumns, left, end-first, panel, min(panel+tilePanels, r.packed.Panels()))
		for i := first; i < end; i++ {
			at := (i - first) * tileColumns
			f(i, j, tile[at:at+min(tileColumns, r.n-j)])
		}
	}
}

// distances is products for all right rows, with the squared Euclidean distances |x|² + |y|² - 2 x.y in place of the
// products. They are the same for (x, y) and (y, x), and 0 for equal rows.
func (r *rows) distances(x Features, first, end int, tile []float64, f func(i, j int, squared []float64)) {
	var squares [tileRows]float64
	for i := first; i < end; i++ {
		squares[i-first] = kernel.InnerSquare(x.row(i))
	}
	r.products(x, first, end, 0, tile, func(i, j int, products []float64) {
		xx := squares[i-first]
		for k, yy := range r.squares[j : j+len(products)] {
			products[k] = max(0, float64(xx+yy)-2*products[k])
		}
		f(i, j, products)
	})
}

// eachTile calls f for every tileRows of n left rows, with memory for a tile; see each.
func eachTile(ctx context.Context, n int, f func(first, end int, tile []float64)) error {
	return each(ctx, (n+tileRows-1)/tileRows, func(i int, tile []float64) {
		f(i*tileRows, min((i+1)*tileRows, n), tile)
	})
}

// each calls f for 0 to n-1 on up to kernel.Threads() goroutines, each with memory for a tile of its own. It stops early
// when ctx is done, and returns its error then.
func each(ctx context.Context, n int, f func(i int, tile []float64)) error {
	var next atomic.Int64
	var done sync.WaitGroup
	for range min(n, kernel.Threads()) {
		done.Go(func() {
			tile := make([]float64, tileLen)
			for ctx.Err() == nil {
				i := int(next.Add(1)) - 1
				if i >= n {
					return
				}
				f(i, tile)
			}
		})
	}
	done.Wait()
	return ctx.Err()
}
