package winograd

import (
	"unstir/nn/kernel/internal/cpu"
	"unstir/nn/kernel/internal/gemm"
	"unstir/nn/kernel/internal/mem"
	"unstir/nn/kernel/internal/parallel"
	"unstir/nn/kernel/internal/shape"
)

// Conv is the algorithm for 3x3 convolutions of stride 1 with one row and column of
// padding on each side, by F(2x2, 3x3), F(4x4, 3x3) or F(6x6, 3x3), and behind an upsampling by F(4x4, 2x2), in a phase for
// each parity of the large image's rows and columns. A chunk of work transforms a block
// of tiles to V [planes][tiles][src.c] and then, for each panel of output channels,
// multiplies it with the transformed filter to M [planes][tiles][32] and transforms that back.
//
// The packed filter U is [dst.c/32][planes][src.c][32], each plane with a line of 64 bytes
// to spare, so that the planes do not all fall into the same set of the cache; with phases,
// one such after the other.
//
// A small U stays in the cache from block to block, and so does one that was packed just
// now. A large one that was packed once is streamed: it comes from the last cache or from memory for every block, which takes longer
// than the products of a few tiles. So its blocks are larger, each plane of a panel is
// used for the whole block at once, and the next one is fetched meanwhile: the next plane of the panel, or where the
// machine has planes first, the plane of the next panel.
type Conv struct {
	tileGrid
	transforms *transforms
	src, dst   int // channels
	from, to   lattice
	top, left  int // of the first tile's window
	transposed bool
	streamed   bool // U comes from the last cache or from memory for each block
	planeFirst bool // and a plane's products with all panels are done before the next plane's
	block      int  // most tiles that are transformed at a time
	vRow       int  // floats between V's tiles
	workers    []worker
	zeros      []float32
	workerLen  int // floats of a worker's scratch

	dstData, srcData, filter, bias, temb, add, inits []float32
	mem                                              parallel.Scratch
	blocks, groups                                   int

	phases []*Conv // the plan itself, or one for each parity behind an upsampling, itself the first
	phase  int     // its own: a parity of rows, times two, and of columns

	packPart func(worker, i int)
	part     func(worker, first, end int)
}

const packChannels = 16 // input channels of a filter in one chunk of packing, times 32 outputs

// planeGap is how many floats are left between the planes of a packed filter, so that they do not all fall into the same set
// of the cache.
const planeGap = 16

const (
	streamedTiles = 42      // most tiles of a block where U is streamed
	streamedM     = 3 << 17 // most floats of M where it has all panels, which stays in a second-level cache of 2 MB
)

// New makes the plan of a convolution, or with transposed of its input's gradient, by a family that the shape suits: its
// filter is 3x3, its stride 1 and its padding 1 on all sides. Streamed is for a packed filter that does not stay in the caches
// from block to block.
func New(s shape.Conv, f Family, transposed, streamed bool, workers int, c cpu.Info) *Conv {
	all := layouts(s)
	if transposed {
		all = dataLayouts(s)
	}
	var phases []*Conv
	for i, l := range all {
		phases = append(phases, newPhase(s, of(c).family(f), i, l, transposed, streamed, workers, c))
	}
	phases[0].phases = phases
	return phases[0]
}

// newPhase makes the Conv of one phase.
func newPhase(s shape.Conv, f *transforms, phase int, l layout, transposed, streamed bool, workers int, c cpu.Info) *Conv {
	tuned, atATime := tuningOf(c.L2), of(c).tiles
	g := &Conv{
		tileGrid: newTileGrid(s.N, l.h, l.w, f), transforms: f, src: s.C, dst: s.K, from: l.from, to: l.to, top: l.top, left: l.left, phase: phase,
		transposed: transposed, streamed: streamed, planeFirst: streamed && tuned.planeFirst,
	}
	if transposed {
		g.src, g.dst = s.K, s.C
	}
	g.vRow = (g.src + 15) &^ 15
	switch {
	case g.planeFirst:
		g.block = g.blockOf(min(streamedTiles, streamedM/(g.planes()*gemm.Padded(g.dst))))
	case streamed:
		g.block = g.blockOf(streamedTiles)
	case f.whole() == 6:
		g.block = g.blockOf(min(atATime, tuned.nearV/(g.planes()*g.vRow)))
	default:
		g.block = g.blockOf(atATime)
	}
	m := g.planes() * (g.block*gemm.PanelWidth + 16)
	if g.planeFirst {
		m *= g.panels()
	}
	g.workerLen = g.planes()*(g.block*g.vRow+16) + m + gemm.Padded(g.dst) + 16
	g.zeros = mem.Aligned(make([]float32, gemm.Padded(max(g.src, g.dst))+gemm.PanelWidth+16))
	g.workers = newWorkers(workers, c)
	for i := range g.workers {
		g.workers[i].sorted.list = make([]place, 0, g.block)
	}
	if transposed || g.dst%16 != 0 {
		for i := range g.workers {
			g.workers[i].packBuf = make([]float32, 9*packChannels*gemm.PanelWidth)
		}
	}
	g.packPart, g.part = g.doPack, g.do
	return g
}

func (g *Conv) panels() int { return gemm.Padded(g.dst) / gemm.PanelWidth }

// PackedLen is the number of floats of a packed filter.
func (g *Conv) PackedLen() int { return len(g.phases) * g.phaseLen() }
func (g *Conv) phaseLen() int  { return g.panels() * g.panelLen() }
func (g *Conv) panelLen() int  { return g.planes() * g.uPlane() }
func (g *Conv) uPlane() int    { return g.src*gemm.PanelWidth + planeGap }

// Scratch is how much scratch Run needs.
func (g *Conv) Scratch() parallel.ScratchSize {
	return parallel.PerWorker(len(g.workers), g.workerLen).With(g.n * gemm.Padded(g.dst))
}

// packedPanel is panel j of a worker's packed filter.
func (g *Conv) packedPanel(w *worker, j int) []float32 {
	n := g.panelLen()
	return w.u[j*n : (j+1)*n]
}

// Pack packs the filter w to u.
func (g *Conv) Pack(u, w []float32) {
	g.useFilter(u)
	for _, h := range g.phases {
		h.filter = w
		parallel.ForWorkers(g.panels()*((g.src+packChannels-1)/packChannels), len(g.workers), h.packPart)
	}
}

// useFilter gives all workers the packed filter u.
func (g *Conv) useFilter(u []float32) {
	for i, h := range g.phases {
		for k := range h.workers {
			w := &h.workers[k]
			w.u = u[i*g.phaseLen():][:g.phaseLen()]
		}
	}
}

// doPack transforms some input channels of one panel of the filter.
func (g *Conv) doPack(worker, i int) {
	panel := i % g.panels()
	g.packSome(worker, g.packedPanel(&g.workers[worker], panel), panel, i/g.panels()*packChannels)
}

// packSome transforms packChannels input channels, from c0 on, of a panel of the filter
// to the packed panel u.
func (g *Conv) packSome(worker int, u []float32, panel, c0 int) {
	j := panel * gemm.PanelWidth
	c1 := min(c0+packChannels, g.src)
	cols := min(gemm.PanelWidth, g.dst-j)
	w := &g.workers[worker]
	p := &w.tile
	buf := w.packBuf
	if buf == nil {
		p.row, p.pixel, buf = uintptr(4*g.src*g.dst), uintptr(4*g.dst), g.filter[c0*g.dst+j:]
	} else {
		g.copyFilter(w, buf, c0, c1, j, cols)
		p.row, p.pixel = uintptr(4*(c1-c0)*gemm.PanelWidth), 4*gemm.PanelWidth
	}
	p.plane, p.step, p.rows, p.cols = uintptr(4*g.uPlane()), 4*gemm.PanelWidth, g.phase/2, g.phase%2
	for k := 0; k < (cols+15)&^15; k += w.lanes {
		p.count, p.image, p.data = c1-c0, &buf[k], &u[c0*gemm.PanelWidth+k]
		p.call(g.transforms.filter)
	}
}

// copyFilter writes the filter's input channels c0 to c1 and output channels from j
// on, padded, as [9][channels][32]. The gradient of the input is the convolution
// with the filter turned by 180 degrees, inputs and outputs changing roles.
func (g *Conv) copyFilter(w *worker, buf []float32, c0, c1, j, cols int) {
	for tap := 0; tap < 9; tap++ {
		part := buf[tap*(c1-c0)*gemm.PanelWidth:]
		if g.transposed {
			w.mul.PackTransposed(part[:(c1-c0)*gemm.PanelWidth], g.filter[((8-tap)*g.dst+j)*g.src+c0:], g.src, c1-c0, cols)
		} else {
			gemm.PackPanel(part, g.filter[(tap*g.src+c0)*g.dst+j:], g.dst, c1-c0, cols)
		}
	}
}

// Run computes dst = src * filter + bias + temb + add from the packed filter u; bias, temb and add may be nil, and add dst.
func (g *Conv) Run(dst, src, u, bias, temb, add []float32, scratch parallel.Scratch) {
	g.useFilter(u)
	inits := scratch.Take(g.n * gemm.Padded(g.dst))
	gemm.InitRows(inits, bias, temb, g.n, g.dst)
	for i, h := range g.phases {
		h.inits, h.mem = inits, scratch
		h.start(i, dst, src, bias, temb, add)
	}
	g.cut(min(len(g.workers), parallel.Threads()))
	parallel.Ranges(g.blocks*g.groups, len(g.workers), g.part)
}

// start sets what phase i of a run works on. Phases that share outputs add to what those before have left there.
func (g *Conv) start(i int, dst, src, bias, temb, add []float32) {
	g.dstData, g.srcData, g.bias, g.temb, g.add = dst, src, bias, temb, add
	if i > 0 && g.to.step == 1 {
		g.bias, g.temb, g.add = nil, nil, dst
	}
}

// adds tells whether images are added that are not the outputs' own memory.
func (g *Conv) adds() bool { return g.add != nil && &g.add[0] != &g.dstData[0] }

// cut chooses the blocks of tiles and the groups of panels, which changes no bits. Few tiles are cut evenly among
// the threads, and panels too where there are even fewer. A streamed U is cut by panels already where there are fewer
// large blocks than threads: each thread then reads a part of it.
func (g *Conv) cut(threads int) {
	tiles := g.n * g.perImage()
	least := (tiles + g.block - 1) / g.block
	g.blocks, g.groups = least, 1
	if g.streamed && g.blocks < threads {
		g.groups = min(g.panels(), (threads+g.blocks-1)/g.blocks)
		return
	}
	if g.blocks < 4*threads {
		g.blocks = max(least, min((g.blocks+threads-1)/threads*threads, tiles/4))
	}
	g.blocks = min(g.blocks, tiles/g.unit)
	if !g.streamed {
		g.groups = min(g.panels(), max(1, 2*threads/g.blocks))
	}
}

// do computes chunks first to end: block by block of tiles, for one group of panels after the other.
func (g *Conv) do(worker, first, end int) {
	tiles := g.n * g.perImage()
	q := &g.workers[worker].mul
	for i := first; i < end; i++ {
		group, b := i/g.blocks, i%g.blocks
		j0, j1 := g.panels()*group/g.groups, g.panels()*(group+1)/g.groups
		t0, t1 := g.cutBlock(0, tiles, b, g.blocks)
		q.StopFetching()
		if i+1 < end && b+1 < g.blocks {
			_, t2 := g.cutBlock(0, tiles, b+1, g.blocks)
			microTiles := len(g.phases) * g.planes() * (j1 - j0) * q.Tiles(t1-t0, gemm.PanelWidth)
			q.Fetch(1, g.memory(g.srcData, g.from, g.src, t1, t2), microTiles*g.src)
			if !g.streamed {
				q.Fetch(0, g.memory(g.dstData, g.to, g.dst, t1, t2), microTiles*g.src)
				if g.adds() {
					q.FetchRuns(0, g.memory(g.add, g.to, g.dst, t1, t2), g.dst, 0, g.dst, microTiles)
				}
			}
		}
		for p, h := range g.phases {
			mul := &h.workers[worker].mul
			mul.TakeFetching(q)
			h.doBlock(worker, t0, t1, j0, j1, g.phases[(p+1)%len(g.phases)])
			q.TakeFetching(mul)
		}
	}
}

// doBlock computes tiles t0 to t1 for panels j0 to j1. The phase after it comes next.
func (g *Conv) doBlock(worker, t0, t1, j0, j1 int, after *Conv) {
	w := &g.workers[worker]
	mem := g.mem.Worker(worker)[:g.workerLen]
	vPlane, mPlane := (t1-t0)*g.vRow+16, (t1-t0)*gemm.PanelWidth+16
	v, m := mem[:g.planes()*vPlane], mem[g.planes()*vPlane:]
	dump := mem[len(mem)-gemm.Padded(g.dst)-16:]
	g.transformTiles(w, v, vPlane, t0, t1)
	last := after.packedPanel(&after.workers[worker], j0)
	if g.planeFirst {
		g.multiplyPlanes(w, v, m, dump, last, vPlane, t0, t1, j0, j1)
		return
	}
	for j := j0; j < j1; j++ {
		next := last
		if j+1 < j1 {
			next = g.packedPanel(w, j+1)
		}
		g.multiply(w, v, g.packedPanel(w, j), next, m[:g.planes()*mPlane], dump, vPlane, t0, t1, j)
	}
}

// transformTiles makes tiles t0 to t1 the worker's block and writes the transforms of the source to v, whose planes
// are vPlane floats.
func (g *Conv) transformTiles(w *worker, v []float32, vPlane, t0, t1 int) {
	w.sorted.sort(&g.tileGrid, t0, t1)
	p := &w.tile
	p.outside, p.plane = &g.zeros[0], uintptr(4*vPlane)
	for i, at := range w.sorted.list {
		g.locate(p, g.from, at)
		p.y += g.top
		p.x += g.left
		image := g.from.view(p, g.srcData, at.image, g.src)
		g.fetchNext(p, g.from, at, w.sorted.after(i))
		w.transform(image, v[i*g.vRow:], g.src, g.transforms.input, g.points(p.rows), g.points(p.cols))
	}
}

// output transforms the tile at m back and writes it to channels k to k+cols of
// the output tile at a place, next before the one at next.
func (g *Conv) output(w *worker, m []float32, at, next place, k, cols int) {
	p := &w.tile
	g.locate(p, g.to, at)
	image := g.to.view(p, g.dstData, at.image, g.dst)[k:]
	add := g.add
	if add != nil {
		add = g.to.view(p, add, at.image, g.dst)[k:]
	}
	g.fetchNext(p, g.to, at, next)
	p.init, p.add = &g.zeros[0], nil
	if g.bias != nil || g.temb != nil {
		p.init = &g.inits[at.image*gemm.Padded(g.dst)+k]
	}
	whole := cols &^ 15
	if whole > 0 {
		p.image, p.data, p.count = &image[0], &m[0], whole/w.lanes
		if add != nil {
			p.add = &add[0]
		}
		w.onPixels(g.transforms.output, p.rows)
		p.init = mem.Move(p.init, uintptr(4*whole))
		m, cols = m[whole:], cols-whole
	}
	if cols == 0 {
		return
	}
	there := p.view
	p.view, p.next = tailView(p.rows, p.cols), 0
	p.image, p.add, p.data, p.count = &w.tail[0], nil, &m[0], 16/w.lanes
	w.onPixels(g.transforms.output, p.rows)
	p.view = there
	for i := range p.rows * p.cols {
		y, x := p.y+i/p.cols, p.x+i%p.cols
		if y >= g.to.h || x >= g.to.w {
			continue
		}
		first := y*int(p.row/4) + x*int(p.pixel/4) + whole
		for c, v := range w.tail[16*i : 16*i+cols] {
			if add != nil {
				v += add[first+c]
			}
			image[first+c] = v
		}
	}
}
