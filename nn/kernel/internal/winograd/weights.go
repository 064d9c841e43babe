package winograd

import (
	"unstir/nn/kernel/internal/cpu"
	"unstir/nn/kernel/internal/gemm"
	"unstir/nn/kernel/internal/mem"
	"unstir/nn/kernel/internal/parallel"
	"unstir/nn/kernel/internal/reduce"
	"unstir/nn/kernel/internal/shape"
	"unstir/nn/kernel/internal/vec"
)

// Weights is the gradient of a 3x3 filter in the Winograd domain, of stride 1 and padding 1 by F(6x6, 3x3),
// F(4x4, 3x3) or F(2x2, 3x3). A chunk of work is a block of input channels times a group of
// panels of output channels over a piece of the images: it transforms some tiles
// of x to V [planes][tiles][channels] and of dy to W, adds the products V^T W of each of 64 planes, 36 or 16, to
// D [planes][panel][channels][32], and at the end transforms D to the filter's gradient. A smaller tile at the edge of an
// image has no part in the products at some of the planes.
// Behind an upsampling each parity of dy's rows and columns is a phase of its own, by F(4x4, 2x2),
// with 25 planes, and the gradients of their 2x2 filters are added to the filter's at the end.
//
// W's plane (1, 1) holds the sum of each tile of dy, which gives the gradients of
// the time embedding and the bias.
type Weights struct {
	s shape.Conv
	tileGrid
	transforms       *transforms
	phases           []layout // from x to dy
	chans, blocks    int      // input channels of a block, a multiple of 16; blocks
	width, groups    int      // panels of a group; groups
	fetchDFrom       int      // tuning's fetchD
	vec              *vec.Kernels
	pieces           *reduce.Pieces
	block            int           // most tiles at a time
	order            [][]tileBlock // the tiles of each piece
	vRow, wRow       int
	dLen, vLen, wLen int
	workers          []worker
	zeros            []float32

	dw, x, dy, images []float32
	byPhase           []float32 // the phases' gradients, which is dw where there is one
	mem               parallel.Scratch
	part              func(worker, i int)
	sumTap            func(i int)
}

// NewWeights makes the plan of a filter's gradient by a family that the shape suits: its filter is 3x3, its stride 1 and its
// padding 1 on all sides.
func NewWeights(s shape.Conv, family Family, workers int, c cpu.Info) *Weights {
	f, phases, tuned := of(c).family(family), layouts(s), tuningOf(c.L2)
	g := &Weights{s: s, vec: vec.Of(c), tileGrid: newTileGrid(s.N, phases[0].h, phases[0].w, f), transforms: f, phases: phases, fetchDFrom: tuned.fetchD}
	panels := gemm.Padded(s.K) / gemm.PanelWidth
	// The number of pieces is part of the result, so it comes from the shape. The
	// blocks are not: they are made smaller when there are many threads.
	blocks := len(phases) * ((s.C + 63) / 64) * ((panels + 1) / 2)
	g.pieces = newWeightsPieces(s.N, s.N*g.perImage(), blocks, len(phases)*f.taps*f.taps*s.C*s.K, c)
	g.width = min(2, panels)
	if panels >= tuned.weightPanels {
		g.width = tuned.weightPanels
	}
	g.chans = min(128, 256/g.width, (s.C+15)&^15) // a D of one size
	cut := func() (chunks int) {
		g.blocks, g.groups = (s.C+g.chans-1)/g.chans, (panels+g.width-1)/g.width
		return g.chunks()
	}
	for n := cut(); n < 3*workers && n%workers != 0 && (g.chans > 16 || g.width > 1); n = cut() {
		if g.chans > 32 || g.width == 1 {
			g.chans = (g.chans/2 + 15) &^ 15
		} else {
			g.width--
		}
	}
	g.chans = ((s.C+g.blocks-1)/g.blocks + 15) &^ 15 // blocks of one size: two threads wait for the larger
	g.vRow, g.wRow = g.chans, g.width*gemm.PanelWidth
	// V and W of 64 tiles with 64 channels together are as large as those of 32 with 128.
	_, largest := g.pieces.Cut(s.N, 0)
	g.block = max(tuned.weightTiles, min(64, 4096/(g.vRow+g.wRow)))
	if g.uneven() {
		g.block = g.blockOf(edgeTiles)
	}
	g.block = min(g.block, max(1, largest)*g.perImage())
	g.dLen = g.planes() * (g.width*g.chans*gemm.PanelWidth + 16)
	g.vLen, g.wLen = g.planes()*(g.block*g.vRow+16), g.planes()*(g.block*g.wRow+16)
	g.vLen = max(g.vLen, f.taps*f.taps*16*g.chans) // store uses it too
	g.zeros = mem.Aligned(make([]float32, max(gemm.Padded(s.C), gemm.Padded(s.K))+16))
	g.workers = newWorkers(workers, c)
	for piece := range g.pieces.Count {
		first, end := g.pieces.Cut(s.N, piece)
		g.order = append(g.order, g.cutTiles(first, end, g.block))
	}
	g.part, g.sumTap = g.do, g.doSumTap
	return g
}

// cutTiles cuts the tiles of images first to end into blocks of at most so many.
func (g *Weights) cutTiles(first, end, most int) []tileBlock {
	first, end = first*g.perImage(), end*g.perImage()
	list := make([]tileBlock, (end-first+most-1)/most)
	for i := range list {
		t0, t1 := g.cutBlock(first, end, i, len(list))
		list[i].sort(&g.tileGrid, t0, t1)
	}
	return list
}

// edgeTiles is the most tiles of a block where some are smaller. Those that take part in a
// product must follow each other, so a block has them sorted, and as the gradient's bits come from their order, no machine and no number of threads may have
// other blocks. With 48 the gradients take 2 to 10 % longer, with 24 up to 5 % (Zen 4, images from memory).
const edgeTiles = 36

// unevenTiles is how many tiles are worth to be cut into more pieces, whose sums cost as much as some tiles each.
const unevenTiles = 2048

// newWeightsPieces cuts the images, with so many tiles, into pieces, each of them some blocks of channels. With many
// tiles, the last pieces of each half are smaller: threads, of which one may be slower, then end at nearly the same time.
func newWeightsPieces(images, tiles, blocks, size int, c cpu.Info) *reduce.Pieces {
	switch {
	case images < 32 || tiles < unevenTiles:
		return reduce.New(min(images, max(1, 4/blocks)), size, c)
	case blocks > 2:
		return reduce.NewUneven([]int{3, 1, 3, 1}, size, c)
	}
	return reduce.NewUneven([]int{4, 2, 1, 1, 4, 2, 1, 1}, size, c)
}

// Scratch is how much scratch Run needs.
func (g *Weights) Scratch() parallel.ScratchSize {
	n := parallel.PerWorker(len(g.workers), g.dLen+g.vLen+g.wLen).With(g.pieces.Scratch()).With(len(g.phases) * g.s.N * g.s.K)
	if len(g.phases) > 1 {
		n = n.With(g.pieces.Size)
	}
	return n
}

// Run overwrites dw, and dtemb and db when they are not nil.
func (g *Weights) Run(dw, db, dtemb, x, dy []float32, scratch parallel.Scratch) {
	g.dw, g.x, g.dy, g.images = dw, x, dy, nil
	images := g.s.N * g.s.K
	if db != nil || dtemb != nil {
		g.images = scratch.Take(len(g.phases) * images)
		if dtemb != nil && len(g.phases) == 1 {
			g.images = dtemb
		}
	}
	g.byPhase = dw
	if len(g.phases) > 1 {
		g.byPhase = scratch.Take(g.pieces.Size)
	}
	g.pieces.Start(g.byPhase, scratch.Take(g.pieces.Scratch()))
	g.mem = scratch
	parallel.InOrder(g.chunks(), len(g.workers), g.part)
	g.pieces.Finish()
	if len(g.phases) > 1 {
		parallel.For(9*g.s.C, g.sumTap)
	}
	if g.images == nil {
		return
	}
	sum := g.images[:images]
	for p := 1; p < len(g.phases); p++ {
		g.vec.Add(sum, sum, g.images[p*images:][:images])
	}
	if dtemb != nil && len(g.phases) > 1 {
		copy(dtemb, sum)
	}
	if db != nil {
		g.workers[0].mul.SumRows(db, sum, g.s.N, g.s.K)
	}
}

// doSumTap adds what the phases have for one input channel of one tap of the filter.
func (g *Weights) doSumTap(i int) {
	K, taps := g.s.K, 9
	tap, channel := i%taps, i/taps
	dw := g.dw[(tap*g.s.C+channel)*K:][:K]
	for p := range g.phases {
		// A tap of an even phase's filter is the first of the filter's, or the sum of the other two; of an odd one's the
		// sum of the first two, or the last.
		u, v := (tap/3+1-p/2)/2, (tap%3+1-p%2)/2
		h := g.byPhase[((4*p+2*u+v)*g.s.C+channel)*K:][:K]
		if p == 0 {
			copy(dw, h)
			continue
		}
		g.vec.Add(dw, dw, h)
	}
}

// weightsChunk is input channels c0 to c1 times output channels k0 to k1 for one phase and one piece of the images.
type weightsChunk struct{ phase, piece, c0, c1, k0, k1 int }

func (g *Weights) chunks() int { return len(g.phases) * g.pieces.Count * g.blocks * g.groups }

func (g *Weights) chunk(i int) (c weightsChunk) {
	c.phase, i = i%len(g.phases), i/len(g.phases)
	group, i := i%g.groups, i/g.groups
	block, piece := i%g.blocks, i/g.blocks
	c.piece = g.pieces.At(piece)
	c.c0, c.c1 = block*g.chans, min((block+1)*g.chans, g.s.C)
	c.k0, c.k1 = group*g.width*gemm.PanelWidth, min((group+1)*g.width*gemm.PanelWidth, g.s.K)
	return c
}

// do computes one chunk.
func (g *Weights) do(worker, i int) {
	b := weightsBlock{Weights: g, worker: &g.workers[worker], weightsChunk: g.chunk(i)}
	bufs := g.mem.Worker(worker)
	b.d, b.v, b.w = bufs[:g.dLen], bufs[g.dLen:][:g.vLen], bufs[g.dLen+g.vLen:][:g.wLen]
	b.vRow, b.wRow, b.vPlane, b.wPlane = g.vRow, g.wRow, g.block*g.vRow+16, g.block*g.wRow+16
	sums := g.images != nil && b.c0 == 0
	if sums {
		b.clearImages(g.pieces.Cut(g.s.N, b.piece))
	}
	order := g.order[b.piece]
	for q := range order {
		at := &order[q]
		b.transformTiles(at)
		b.mul.StopFetching()
		if q+1 < len(order) {
			b.prefetch(&order[q+1], &b.weightsChunk)
		} else if next := i + len(g.workers); next < g.chunks() { // likely the worker's next
			c := g.chunk(next)
			b.prefetch(&g.order[c.piece][0], &c)
		}
		b.multiply(at, q == 0)
		if sums {
			b.sumImages(at, 0)
		}
	}
	size := g.pieces.Size / len(g.phases)
	b.store(g.pieces.Of(b.piece)[b.phase*size:][:size])
}
