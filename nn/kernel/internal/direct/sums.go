package direct

import (
	"unstir/nn/kernel/internal/cpu"
	"unstir/nn/kernel/internal/gemm"
	"unstir/nn/kernel/internal/parallel"
)

// PixelSums sums dy over each image's pixels, and those sums over the images in order.
type PixelSums struct {
	n, pixels, k int
	products     []gemm.Product

	images, dy []float32
	part       func(worker, i int)
}

// NewPixelSums makes the plan of the sums of n images of so many pixels.
func NewPixelSums(n, pixels, channels, workers int, c cpu.Info) *PixelSums {
	p := &PixelSums{n: n, pixels: pixels, k: channels, products: gemm.NewProducts(workers, gemm.Of(c))}
	p.part = p.do
	return p
}

// Scratch is how much scratch Run needs.
func (p *PixelSums) Scratch() parallel.ScratchSize { return parallel.ScratchSize{Shared: p.n * p.k} }

// Run writes the images' sums to dtemb and their sum to db; either may be nil.
func (p *PixelSums) Run(db, dtemb, dy []float32, scratch parallel.Scratch) {
	p.dy, p.images = dy, dtemb
	if dtemb == nil {
		p.images = scratch.Shared
	}
	if p.pixels == 1 && dtemb == nil {
		p.images = dy
	} else {
		parallel.ForWorkers(p.n, len(p.products), p.part)
	}
	if db != nil {
		p.products[0].SumRows(db, p.images, p.n, p.k)
	}
}

// do sums image n's pixels.
func (p *PixelSums) do(worker, n int) {
	size := p.pixels * p.k
	p.products[worker].SumRows(p.images[n*p.k:(n+1)*p.k], p.dy[n*size:(n+1)*size], p.pixels, p.k)
}
