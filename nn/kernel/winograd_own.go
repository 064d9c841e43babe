package kernel

// winogradOwn is a winograd for many patches and a filter that is new at every call, as in training: each thread transforms
// the filter for itself. A filter that the threads transform together is, for each of them, half in the second-level cache of
// another core, and its memory, which both have read the last time, must be taken from the other before it is written.
// On an Intel Xeon both together take longer than to transform a filter twice that stays in the second-level cache: from
// 64 channels to as many, 64 images of 7x7 and of 14x14 take 4 to 7 % less time, on Zen 4 14 to 23 % when all is in the
// caches and nothing to 2 % when the images come from memory. Larger ones, up to 7 MB, take 4 % less to 5 % more. The bits are
// those of pack and run.
type winogradOwn struct{ *winograd }

// ownPatches is how many patches a thread must have: to transform the filter takes as long as the products of some six.
const ownPatches = 64

// newWinogradOwn returns nil where the threads had better share the filter.
func newWinogradOwn(g *winograd) *winogradOwn {
	if g.packedLen() > tuned.ownFilter || len(g.workers) == 1 || g.n*g.perImage() < ownPatches*len(g.workers) {
		return nil
	}
	return &winogradOwn{g}
}

func (g *winogradOwn) scratch() ScratchSize {
	size := g.winograd.scratch()
	size.Own += g.packedLen()
	return size
}

func (g *winogradOwn) run(dst, src, w, bias, temb, add []float32, scratch Scratch) {
	for i, h := range g.phases {
		h.filter = w
		for k := range h.workers {
			u := scratch.own(k)[g.workerLen+i*g.phaseLen():]
			h.workers[k].u, h.workers[k].packed = u[:g.phaseLen()], false
		}
	}
	g.compute(dst, src, bias, temb, add, scratch)
}

// packOwn transforms the filter for one worker.
func (g *winograd) packOwn(worker int) {
	for _, h := range g.phases {
		for j := range h.panels() {
			for c := 0; c < h.src; c += packChannels {
				h.packSome(worker, h.packedPanel(&h.workers[worker], j), j, c)
			}
		}
	}
	g.workers[worker].packed = true
}
