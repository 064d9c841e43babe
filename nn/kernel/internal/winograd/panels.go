package winograd

import (
	"sync/atomic"

	"unstir/nn/kernel/internal/gemm"
	"unstir/nn/kernel/internal/parallel"
)

// Panels is the convolution for few tiles and a filter that is new at every call,
// as in training. There the transformed filter, four times the filter's size, costs as
// much on its way to memory and back as the products take. So all tiles are
// transformed first; then each thread transforms one panel of the filter at a time into
// memory of its own, where it stays in the cache, and uses it for all tiles, block by block. When no panel is left, it
// takes blocks of the others' panels. The bits are those of Conv's Pack and Run.
type Panels struct {
	*Conv
	phases   []*Panels // those of Conv
	count    int       // blocks of tiles
	vPlane   int       // floats of a plane of a block's V
	spaceLen int       // floats of a worker's scratch

	next atomic.Int64    // the next panel
	work []panelProgress // each worker's

	v                   []float32
	tilePart, panelPart func(worker, i int)
}

// panelProgress is a worker's panel.
type panelProgress struct {
	panel int
	block atomic.Int64 // the panel's next block; count or more when there is none, or the filter is not transformed yet
	_     [64]byte
}

// NewPanels makes the plan of g's convolution in this order.
func NewPanels(g *Conv) *Panels {
	w := newPanelsPhase(g)
	w.phases = []*Panels{w}
	for _, h := range g.phases[1:] {
		w.phases = append(w.phases, newPanelsPhase(h))
	}
	return w
}

// newPanelsPhase is NewPanels for one phase.
func newPanelsPhase(g *Conv) *Panels {
	total := g.n * g.perImage()
	w := &Panels{Conv: g, count: (total + g.block - 1) / g.block, vPlane: g.block*g.vRow + 16}
	w.spaceLen = g.panelLen() + g.planes()*(g.block*gemm.PanelWidth+16) + gemm.Padded(g.dst) + 16
	w.work = make([]panelProgress, len(g.workers))
	w.tilePart, w.panelPart = w.doTiles, w.doPanels
	return w
}

func (g *Panels) vLen() int { return g.count * g.planes() * g.vPlane }

// Scratch is how much scratch Run needs.
func (g *Panels) Scratch() parallel.ScratchSize {
	return parallel.PerWorker(len(g.workers), g.spaceLen).With(g.n * gemm.Padded(g.dst)).With(g.vLen())
}

// blockAt gives the tiles of block b, t0 to t1, and where their transforms are.
func (g *Panels) blockAt(b int) (v []float32, t0, t1 int) {
	total := g.n * g.perImage()
	t0, t1 = g.cutBlock(0, total, b, g.count)
	return g.v[b*g.planes()*g.vPlane:][:g.planes()*g.vPlane], t0, t1
}

// Run computes dst = src * w + bias + temb + add; bias, temb and add may be nil, and add dst.
func (g *Panels) Run(dst, src, w, bias, temb, add []float32, scratch parallel.Scratch) {
	inits, v := scratch.Take(g.n*gemm.Padded(g.dst)), scratch.Take(g.vLen())
	gemm.InitRows(inits, bias, temb, g.n, g.dst)
	for i, h := range g.phases {
		h.inits, h.filter, h.v, h.mem = inits, w, v, scratch
		h.start(i, dst, src, bias, temb, add)
		parallel.ForWorkers(g.count, len(g.workers), h.tilePart)
		h.next.Store(0)
		for i := range h.work {
			h.work[i].block.Store(int64(h.count))
		}
		parallel.InOrder(len(g.workers), len(g.workers), h.panelPart)
	}
}

// doTiles transforms a block of tiles.
func (g *Panels) doTiles(worker, b int) {
	v, t0, t1 := g.blockAt(b)
	g.transformTiles(&g.workers[worker], v, g.vPlane, t0, t1)
}

// doPanels computes panels until none is left, and then blocks of the others' panels. By then nobody begins another panel,
// so the transformed filters that those are computed with stay.
func (g *Panels) doPanels(worker, _ int) {
	mine := &g.work[worker]
	u, _, _ := g.space(worker)
	for panel := int(g.next.Add(1)) - 1; panel < g.panels(); panel = int(g.next.Add(1)) - 1 {
		mine.panel = panel
		for c := 0; c < g.src; c += packChannels {
			g.packSome(worker, u, panel, c)
		}
		mine.block.Store(0)
		g.doBlocks(worker, worker, panel+len(g.workers))
	}
	for owner := range g.work {
		if owner != worker {
			g.doBlocks(worker, owner, g.panels())
		}
	}
}

// space is a worker's scratch: its panel's transformed filter, the products of a block, and what lies outside the image.
func (g *Panels) space(worker int) (u, m, dump []float32) {
	mem := g.mem.Worker(worker)[:g.spaceLen]
	n, end := g.panelLen(), len(mem)-gemm.Padded(g.dst)-16
	return mem[:n], mem[n:end], mem[end:]
}

// doBlocks computes blocks of the owner's panel until none is left. Panel after is likely the worker's next, if there is one.
func (g *Panels) doBlocks(worker, owner, after int) {
	u, _, _ := g.space(owner)
	_, m, dump := g.space(worker)
	w, p := &g.workers[worker], &g.work[owner]
	w.mul.StopFetching()
	for b := int(p.block.Add(1)) - 1; b < g.count; b = int(p.block.Add(1)) - 1 {
		v, t0, t1 := g.blockAt(b)
		w.sorted.sort(&g.tileGrid, t0, t1)
		g.products(w, v, u, m, b, p.panel, after)
		g.outputs(w, m, dump, (t1-t0)*gemm.PanelWidth+16, p.panel)
	}
}

// products computes a panel of the worker's block, the b-th, from v and u to m. V comes from the last cache, or from another
// thread's cache, and is fetched a plane ahead. What panel after is transformed from comes from memory.
func (g *Panels) products(w *worker, v, u, m []float32, b, panel, after int) {
	q, t0, t1 := &w.mul, w.sorted.first, w.sorted.end
	mPlane, cols := (t1-t0)*gemm.PanelWidth+16, (g.panelCols(panel)+15)&^15
	g.operands(q, g.vPlane, t0, t1)
	turn := g.planes() // the plane from which on what is added to the outputs is fetched instead of their memory
	if g.adds() {
		turn /= 2
	}
	g.fetchImages(q, 0, g.dstData, t0, t1, panel, panel+1, turn)
	done, ahead := 0, 0 // planes
	for i, r := range g.runs {
		first, end := w.sorted.part(r)
		if first == end {
			done += r.count
			continue
		}
		for k := r.first; k < r.first+r.count; k++ {
			if done >= turn {
				g.fetchImages(q, 0, g.add, t0, t1, panel, panel+1, g.planes()-turn)
				turn = g.planes()
			}
			if k2, more := g.planeAfter(i, k); more {
				ahead = k2
			}
			q.Fetch(0, v[ahead*g.vPlane:][:(t1-t0)*g.vRow], q.Tiles(end-first, cols)*g.src)
			if after < g.panels() {
				g.fetchFilter(q, after, b*g.planes()+done, g.count*g.planes(), q.Tiles(end-first, cols))
			}
			q.A, q.B, q.C = &v[k*g.vPlane+first*g.vRow], &g.uOf(u, k)[0], &m[k*mPlane+first*gemm.PanelWidth]
			q.RowsPanel(end-first, cols)
			done++
		}
	}
}

// fetchFilter lets a product of so many micro-tiles fetch part i of n of what a panel is transformed from.
func (g *Panels) fetchFilter(q *gemm.Product, panel, i, n, microTiles int) {
	if g.transposed {
		q.Fetch(1, g.turnedPart(panel, i, n), microTiles*g.src)
		return
	}
	j, first, end := panel*gemm.PanelWidth, 9*g.src*i/n, 9*g.src*(i+1)/n
	if first < end {
		q.FetchRuns(1, g.filter[first*g.dst:end*g.dst], g.dst, j, min(j+gemm.PanelWidth, g.dst), microTiles)
	}
}

// turnedPart is part i of n of what a panel is transformed from, where that is whole rows of each tap; n is 9 or more.
func (g *Panels) turnedPart(panel, i, n int) []float32 {
	j, tap := panel*gemm.PanelWidth, 9*i/n
	first, end := (tap*n+8)/9, ((tap+1)*n+8)/9 // parts of the tap
	rows := g.filter[(tap*g.dst+j)*g.src:][:min(gemm.PanelWidth, g.dst-j)*g.src]
	return rows[len(rows)*(i-first)/(end-first) : len(rows)*(i+1-first)/(end-first)]
}
