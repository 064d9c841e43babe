package winograd

import (
	"unstir/nn/kernel/internal/gemm"
	"unstir/nn/kernel/internal/mem"
)

// The products of a block of tiles with the packed filter.

// operands describes the products of the block of tiles t0 to t1 but for where they are.
func (g *Conv) operands(q *gemm.Product, vPlane, t0, t1 int) {
	q.ARow, q.ACol, q.AStep = uintptr(4*g.vRow), 4, uintptr(4*vPlane)
	q.Segs, q.NumSegs, q.SegLen = &gemm.NoOffsets[0], 1, g.src
	q.BRow, q.BStep = 4*gemm.PanelWidth, uintptr(4*g.uPlane())
	q.CRow, q.CStep = 4*gemm.PanelWidth, uintptr(4*((t1-t0)*gemm.PanelWidth+16))
	q.Init, q.InitRow, q.Add = &gemm.ZeroLine[0], 0, nil
}

// panelCols is the number of output channels in panel j.
func (g *Conv) panelCols(j int) int { return min(gemm.PanelWidth, g.dst-j*gemm.PanelWidth) }

// multiply computes panel j of the worker's block, of tiles t0 to t1, from their transforms v and the packed panel u,
// by way of m. What lies outside the image goes to dump. Where U is streamed, the panel next, which will be wanted
// next, is fetched.
func (g *Conv) multiply(w *worker, v, u, next, m, dump []float32, vPlane, t0, t1, j int) {
	q := &w.mul
	mPlane := (t1-t0)*gemm.PanelWidth + 16
	cols := g.panelCols(j)
	g.operands(q, vPlane, t0, t1)
	if g.streamed {
		g.fetchOutputs(q, t0, t1, j, j+1)
	}
	for i, r := range g.runs {
		first, end := w.sorted.part(r)
		if first == end {
			continue
		}
		q.A, q.B, q.C = &v[r.first*vPlane+first*g.vRow], &g.uOf(u, r.first)[0], &m[r.first*mPlane+first*gemm.PanelWidth]
		if g.streamed {
			g.streamedPlanes(q, v, u, next, i, vPlane, end-first, (cols+15)&^15)
		} else {
			q.Planes(r.count, end-first, cols)
		}
	}
	g.outputs(w, m, dump, mPlane, j)
}

// fetchOutputs lets the products of tiles t0 to t1 with panels j0 to j1 fetch the memory of the outputs, and what is added
// to them.
func (g *Conv) fetchOutputs(q *gemm.Product, t0, t1, j0, j1 int) {
	g.fetchImages(q, 0, g.dstData, t0, t1, j0, j1, g.planes())
	if g.adds() {
		g.fetchImages(q, 1, g.add, t0, t1, j0, j1, g.planes())
	}
}

// fetchImages lets the products of so many planes fetch what images have for the outputs of tiles t0 to t1 and panels j0
// to j1.
func (g *Conv) fetchImages(q *gemm.Product, i int, images []float32, t0, t1, j0, j1, planes int) {
	c0, c1 := j0*gemm.PanelWidth, min(j1*gemm.PanelWidth, g.dst)
	q.FetchRuns(i, g.memory(images, g.to, g.dst, t0, t1), g.dst, c0, c1, planes*(j1-j0)*q.Tiles(t1-t0, gemm.PanelWidth))
}

// uOf is the packed filter's plane for plane k, in panel u, and what follows.
func (g *Conv) uOf(u []float32, k int) []float32 { return u[k*g.uPlane():] }

// streamedPlanes computes rows x cols elements of each of the i-th run's products plane by plane and fetches the next plane of the
// packed filter meanwhile, and of V, too, which may be larger than the second-level cache.
func (g *Conv) streamedPlanes(q *gemm.Product, v, u, next []float32, i, vPlane, rows, cols int) {
	r := g.runs[i]
	for k := r.first; k < r.first+r.count; k++ {
		if k > r.first {
			q.A, q.B, q.C = mem.Move(q.A, q.AStep), mem.Move(q.B, q.BStep), mem.Move(q.C, q.CStep)
		}
		plane, ahead := next, g.runs[0].first
		if k2, more := g.planeAfter(i, k); more {
			plane, ahead = g.uOf(u, k2), k2
		}
		q.Fetch(1, v[ahead*vPlane:][:vPlane-16], q.Tiles(rows, cols)*g.src)
		g.fetchPlane(q, plane, rows, cols)
		q.RowsPanel(rows, cols)
	}
}

// fetchPlane lets a product of rows x cols fetch a plane of a packed panel. With few rows that takes both of the product's places.
func (g *Conv) fetchPlane(q *gemm.Product, plane []float32, rows, cols int) {
	plane = plane[:g.uPlane()]
	columns := q.Tiles(rows, cols) * g.src
	if 64*columns < 4*len(plane) {
		half := len(plane) / 2
		q.Fetch(1, plane[half:], columns)
		plane = plane[:half]
	}
	q.Fetch(0, plane, columns)
}

// multiplyPlanes is multiply for panels j0 to j1, each plane with all of them before the next plane. m has their results,
// panel by panel. The panel last, which will be wanted next, is fetched at the end.
func (g *Conv) multiplyPlanes(w *worker, v, m, dump, last []float32, vPlane, t0, t1, j0, j1 int) {
	q := &w.mul
	mPlane := (t1-t0)*gemm.PanelWidth + 16
	mPanel := g.planes() * mPlane
	g.operands(q, vPlane, t0, t1)
	g.fetchOutputs(q, t0, t1, j0, j1)
	for i, r := range g.runs {
		first, end := w.sorted.part(r)
		if first == end {
			continue
		}
		for k := r.first; k < r.first+r.count; k++ {
			q.A = &v[k*vPlane+first*g.vRow]
			for j := j0; j < j1; j++ {
				next := last
				if j+1 < j1 {
					next = g.uOf(g.packedPanel(w, j+1), k)
				} else if k2, more := g.planeAfter(i, k); more {
					next = g.uOf(g.packedPanel(w, j0), k2)
				}
				cols := (g.panelCols(j) + 15) &^ 15
				g.fetchPlane(q, next, end-first, cols)
				q.B, q.C = &g.uOf(g.packedPanel(w, j), k)[0], &m[(j-j0)*mPanel+k*mPlane+first*gemm.PanelWidth]
				q.RowsPanel(end-first, cols)
			}
		}
	}
	for j := j0; j < j1; j++ {
		g.outputs(w, m[(j-j0)*mPanel:], dump, mPlane, j)
	}
}

// outputs transforms panel j of the worker's block back, from m, whose planes are mPlane floats.
func (g *Conv) outputs(w *worker, m, dump []float32, mPlane, j int) {
	p := &w.tile
	p.outside, p.plane = &dump[0], uintptr(4*mPlane)
	for i, at := range w.sorted.list {
		g.output(w, m[i*gemm.PanelWidth:], at, w.sorted.after(i), j*gemm.PanelWidth, g.panelCols(j))
	}
}
