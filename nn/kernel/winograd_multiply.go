package kernel

import "unsafe"

// The products of a block of patches with the packed filter.

// operands describes the products of the block of patches t0 to t1 but for where they are.
func (g *winograd) operands(q *product, vPlane, t0, t1 int) {
	q.aRow, q.aCol, q.aStep = uintptr(4*g.vRow), 4, uintptr(4*vPlane)
	q.segs, q.numSegs, q.segLen = &noOffsets[0], 1, g.src
	q.bRow, q.bStep = 4*panelWidth, uintptr(4*g.uPlane())
	q.cRow, q.cStep = 4*panelWidth, uintptr(4*((t1-t0)*panelWidth+16))
	q.init, q.initRow, q.add = &zeroLine[0], 0, nil
}

// panelCols is the number of output channels in panel j.
func (g *winograd) panelCols(j int) int { return min(panelWidth, g.dst-j*panelWidth) }

// multiply computes panel j of the worker's block, of patches t0 to t1, from their transforms v and the packed panel u,
// by way of m. What lies outside the image goes to dump. Where U comes from far, the panel next, which will be wanted
// next, is fetched.
func (g *winograd) multiply(w *winogradWorker, v, u, next, m, dump []float32, vPlane, t0, t1, j int) {
	q := &w.mul
	mPlane := (t1-t0)*panelWidth + 16
	cols := g.panelCols(j)
	g.operands(q, vPlane, t0, t1)
	if g.far {
		g.fetchOutputs(q, t0, t1, j, j+1)
	}
	for i, r := range g.runs {
		first, end := w.sorted.part(r)
		if first == end {
			continue
		}
		q.a, q.b, q.c = &v[r.first*vPlane+first*g.vRow], &g.uOf(u, r.first)[0], &m[r.first*mPlane+first*panelWidth]
		if g.far {
			g.farPlanes(q, v, u, next, i, vPlane, end-first, (cols+15)&^15)
		} else {
			q.planes(r.count, end-first, cols)
		}
	}
	g.outputs(w, m, dump, mPlane, j)
}

// fetchOutputs lets the products of patches t0 to t1 with panels j0 to j1 fetch the memory of the outputs, and what is added
// to them.
func (g *winograd) fetchOutputs(q *product, t0, t1, j0, j1 int) {
	g.fetchImages(q, 0, g.dstData, t0, t1, j0, j1, g.planes())
	if g.adds() {
		g.fetchImages(q, 1, g.add, t0, t1, j0, j1, g.planes())
	}
}

// fetchImages lets the products of so many planes fetch what images have for the outputs of patches t0 to t1 and panels j0
// to j1.
func (g *winograd) fetchImages(q *product, i int, images []float32, t0, t1, j0, j1, planes int) {
	c0, c1 := j0*panelWidth, min(j1*panelWidth, g.dst)
	q.fetchRuns(i, g.memory(images, g.to, g.dst, t0, t1), g.dst, c0, c1, planes*(j1-j0)*q.tiles(t1-t0, panelWidth))
}

// uOf is the packed filter's plane for plane k, in panel u, and what follows.
func (g *winograd) uOf(u []float32, k int) []float32 { return u[k*g.uPlane():] }

// farPlanes computes rows x cols elements of each of the i-th run's products plane by plane and fetches the next plane of the
// packed filter meanwhile, and of V, too, which may be larger than the second-level cache.
func (g *winograd) farPlanes(q *product, v, u, next []float32, i, vPlane, rows, cols int) {
	r := g.runs[i]
	for k := r.first; k < r.first+r.count; k++ {
		if k > r.first {
			q.a, q.b, q.c = move(q.a, q.aStep), move(q.b, q.bStep), move(q.c, q.cStep)
		}
		plane, ahead := next, g.runs[0].first
		if k2, more := g.planeAfter(i, k); more {
			plane, ahead = g.uOf(u, k2), k2
		}
		q.fetch(1, v[ahead*vPlane:][:vPlane-16], q.tiles(rows, cols)*g.src)
		g.fetchPlane(q, plane, rows, cols)
		q.rowsPanel(rows, cols)
	}
}

// fetchPlane lets a product of rows x cols fetch a plane of a packed panel. With few rows that takes both of the product's places.
func (g *winograd) fetchPlane(q *product, plane []float32, rows, cols int) {
	plane = plane[:g.uPlane()]
	columns := q.tiles(rows, cols) * g.src
	if 64*columns < 4*len(plane) {
		half := len(plane) / 2
		q.fetch(1, plane[half:], columns)
		plane = plane[:half]
	}
	q.fetch(0, plane, columns)
}

// multiplyPlanes is multiply for panels j0 to j1, each plane with all of them before the next plane. m has their results,
// panel by panel. The panel last, which will be wanted next, is fetched at the end.
func (g *winograd) multiplyPlanes(w *winogradWorker, v, m, dump, last []float32, vPlane, t0, t1, j0, j1 int) {
	q := &w.mul
	mPlane := (t1-t0)*panelWidth + 16
	mPanel := g.planes() * mPlane
	g.operands(q, vPlane, t0, t1)
	g.fetchOutputs(q, t0, t1, j0, j1)
	for i, r := range g.runs {
		first, end := w.sorted.part(r)
		if first == end {
			continue
		}
		for k := r.first; k < r.first+r.count; k++ {
			q.a = &v[k*vPlane+first*g.vRow]
			for j := j0; j < j1; j++ {
				next := last
				if j+1 < j1 {
					next = g.uOf(g.packedPanel(w, j+1), k)
				} else if k2, more := g.planeAfter(i, k); more {
					next = g.uOf(g.packedPanel(w, j0), k2)
				}
				cols := (g.panelCols(j) + 15) &^ 15
				g.fetchPlane(q, next, end-first, cols)
				q.b, q.c = &g.uOf(g.packedPanel(w, j), k)[0], &m[(j-j0)*mPanel+k*mPlane+first*panelWidth]
				q.rowsPanel(end-first, cols)
			}
		}
	}
	for j := j0; j < j1; j++ {
		g.outputs(w, m[(j-j0)*mPanel:], dump, mPlane, j)
	}
}

// outputs transforms panel j of the worker's block back, from m, whose planes are mPlane floats.
func (g *winograd) outputs(w *winogradWorker, m, dump []float32, mPlane, j int) {
	p := &w.patch
	p.outside, p.plane = &dump[0], uintptr(4*mPlane)
	for i, at := range w.sorted.list {
		g.output(w, m[i*panelWidth:], at, w.sorted.after(i), j*panelWidth, g.panelCols(j))
	}
}

// planesWork limits the work of one call of a register tile over many planes.
const planesWork = 36 * 256

// planes computes rows x cols elements of each of count products.
func (p *product) planes(count, rows, cols int) {
	p.run = p.tile
	if rows > p.maxRows { // so that each of B's planes stays in the first-level cache from tile to tile
		for k := range count {
			if k > 0 {
				p.a, p.b, p.c = move(p.a, p.aStep), move(p.b, p.bStep), move(p.c, p.cStep)
			}
			p.strips(&p.isa.rows, rows, (cols+15)&^15)
		}
	} else {
		p.tilePlanes(count, rows, cols)
	}
	p.prefetch, p.flow = p.run.prefetch, p.run.flow
}

// tilePlanes is planes for products one register tile high, many of them in a call.
func (p *product) tilePlanes(count, rows, cols int) {
	r, step := &p.run, min(count, max(1, planesWork/p.segLen))
	for j := 0; j < cols; {
		width := 16
		if cols-j > 16 {
			width = p.maxCols
		}
		for k := 0; k < count; k += step {
			r.count = min(step, count-k)
			r.a = move(p.a, uintptr(k)*p.aStep)
			r.b = move(p.b, uintptr(4*j)+uintptr(k)*p.bStep)
			r.c = move(p.c, uintptr(4*j)+uintptr(k)*p.cStep)
			p.isa.rows[width/16-1][rows]((*byte)(unsafe.Pointer(r)))
		}
		j += width
	}
}
