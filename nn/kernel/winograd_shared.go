package kernel

// sharedPatches are the transforms of all patches of x and dy for the gradient of a large filter. Where its blocks
// transform patches for themselves, one is transformed again in each block beside and below, and a block's D, which is too
// large for the cache, is read and written for every few patches. Here all patches are transformed first, for each block of
// input channels V [planes][patches][channels], for each group of output channels W, and a block's product at a point has
// up to sharedDepth of them. The bits are the same.
type sharedPatches struct {
	*winogradWeights
	vRow, wRow     int // floats between patches; not a power of two, whose lines would share few sets of the cache
	vPlane, wPlane int
	v, w           []float32
	order          []patchBlock
	list           []place // of all patches, in this order
	part           func(worker, i int)
}

const (
	sharedFloats = 6 << 20 // most floats of the transforms, 24 MB
	sharedDepth  = 128     // most patches of a product, whose rows of a panel of W are 16 KB
	sharedBlock  = 8       // patches of a chunk of transforming
)

// newSharedPatches returns nil where blocks that transform for themselves are better, or the sums are cut into pieces, which would add up in another order.
func newSharedPatches(g *winogradWeights) *sharedPatches {
	p := &sharedPatches{winogradWeights: g, vRow: g.chans + 16, wRow: g.width*panelWidth + 16}
	patches := g.s.N * g.perImage()
	p.vPlane, p.wPlane = patches*p.vRow, patches*p.wRow
	if len(g.phases) > 1 || g.pieces.count > 1 || patches < 2*g.block || g.s.C*g.s.K < tuned.sharedFilter || p.scratch() > sharedFloats {
		return nil
	}
	// Where all patches have a part in all products, the blocks' size changes no bits.
	if p.order = g.order[0]; !g.uneven() {
		p.order = g.cutPatches(0, g.s.N, sharedDepth)
	}
	for _, at := range p.order {
		p.list = append(p.list, at.list...)
	}
	p.part = p.transform
	return p
}

func (p *sharedPatches) scratch() int { return p.vSize() + p.wSize() }
func (p *sharedPatches) vSize() int   { return p.blocks * p.planes() * p.vPlane }
func (p *sharedPatches) wSize() int   { return p.groups * p.planes() * p.wPlane }

// run transforms all patches to mem.
func (p *sharedPatches) run(mem []float32) {
	n := p.vSize()
	p.v, p.w = mem[:n], mem[n:]
	parallelBy((len(p.list)+sharedBlock-1)/sharedBlock, len(p.workers), p.part)
}

// transform transforms some patches.
func (p *sharedPatches) transform(worker, i int) {
	b := weightsBlock{winogradWeights: p.winogradWeights, winogradWorker: &p.workers[worker], vPlane: p.vPlane, wPlane: p.wPlane}
	for t := i * sharedBlock; t < min((i+1)*sharedBlock, len(p.list)); t++ {
		at, next := p.list[t], p.list[min(t+1, len(p.list)-1)]
		for j := range p.blocks {
			b.c0, b.c1 = j*p.chans, min((j+1)*p.chans, p.s.C)
			b.transformX(p.v[j*p.planes()*p.vPlane+t*p.vRow:], at, next)
		}
		for j := range p.groups {
			b.k0, b.k1 = j*p.width*panelWidth, min((j+1)*p.width*panelWidth, p.s.K)
			b.transformDY(p.w[j*p.planes()*p.wPlane+t*p.wRow:], at, next)
		}
	}
}

// do computes a block's D, and the images' sums of dy.
func (p *sharedPatches) do(b *weightsBlock, sums bool) {
	b.v, b.w = p.v[b.c0/p.chans*p.planes()*p.vPlane:], p.w[b.k0/(p.width*panelWidth)*p.planes()*p.wPlane:]
	b.vRow, b.wRow, b.vPlane, b.wPlane = p.vRow, p.wRow, p.vPlane, p.wPlane
	q := &b.mul
	columns := q.tiles(b.c1-b.c0, b.k1-b.k0) * len(p.list)
	q.stopFetching()
	for i, r := range b.runs {
		for point := r.first; point < r.first+r.count; point++ {
			if next, more := b.planeAfter(i, point); more { // V and W come from far
				q.fetch(0, b.v[next*p.vPlane:][:p.vPlane], columns)
				q.fetch(1, b.w[next*p.wPlane:][:p.wPlane], columns)
			}
			t := 0
			for i, at := range p.order {
				if first, end := at.part(r); first < end {
					b.multiplyAt(point, t+first, end-first, i == 0)
				}
				t += len(at.list)
			}
		}
	}
	q.stopFetching()
	t := 0
	for i := range p.order {
		if sums {
			b.sumImages(&p.order[i], t)
		}
		t += len(p.order[i].list)
	}
}
