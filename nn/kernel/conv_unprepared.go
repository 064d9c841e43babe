package kernel

// unprepared computes a convolution, or its input's gradient, with a filter that is new at every call.
type unprepared interface {
	run(dst, src, w, bias, temb, add []float32, scratch Scratch)
	scratch() ScratchSize
}

// newUnprepared chooses how engine e does that.
func newUnprepared(e engine) unprepared {
	if g, ok := e.(*winograd); ok {
		if p := newWinogradPanels(g); p != nil {
			return p
		}
	}
	return packFirst{e}
}

// packFirst has the threads pack the filter and then run the engine.
type packFirst struct{ e engine }

func (p packFirst) scratch() ScratchSize { return p.e.scratch().With(p.e.packedLen()) }

func (p packFirst) run(dst, src, w, bias, temb, add []float32, scratch Scratch) {
	u := scratch.Take(p.e.packedLen())
	p.e.pack(u, w)
	p.e.run(dst, src, u, bias, temb, add, scratch)
}
