package kernel

// pieces is a filter gradient that is computed over several pieces of the images,
// which are then added in order.
type pieces struct {
	count, size int   // pieces, and floats of the gradient
	ends        []int // where each ends, in parts of the last end

	dw, partial []float32
	add         func(i int)
}

const addChunk = 4096 // floats of the gradient in one chunk of the addition

func newPieces(count, size int) *pieces {
	shares := make([]int, count)
	for i := range shares {
		shares[i] = 1
	}
	return newUnevenPieces(shares, size)
}

// newUnevenPieces makes pieces of the given shares of the images.
func newUnevenPieces(shares []int, size int) *pieces {
	p := &pieces{count: len(shares), size: size}
	p.add = p.addChunk
	end := 0
	for _, share := range shares {
		end += share
		p.ends = append(p.ends, end)
	}
	return p
}

// cut is piece i of n images, or rows: first to end.
func (p *pieces) cut(n, i int) (first, end int) {
	if i > 0 {
		first = n * p.ends[i-1] / p.ends[p.count-1]
	}
	return first, n * p.ends[i] / p.ends[p.count-1]
}

// scratch is the number of floats for the pieces' results.
func (p *pieces) scratch() int {
	if p.count == 1 {
		return 0
	}
	return p.count * p.size
}

// start sets where the gradient goes.
func (p *pieces) start(dw, scratch []float32) {
	p.dw, p.partial = dw, scratch[:p.scratch()]
}

// at is the piece that is the i-th to be computed: of each half of the images in turn, as two threads share them elsewhere.
func (p *pieces) at(i int) int {
	half := (p.count + 1) / 2
	return i%2*half + i/2
}

// of is where piece i's gradient is to be written.
func (p *pieces) of(i int) []float32 {
	if p.count == 1 {
		return p.dw
	}
	return p.partial[i*p.size : (i+1)*p.size]
}

// finish adds the pieces.
func (p *pieces) finish() {
	if p.count > 1 {
		Parallel((p.size+addChunk-1)/addChunk, p.add)
	}
}

func (p *pieces) addChunk(i int) {
	i0, i1 := i*addChunk, min((i+1)*addChunk, p.size)
	dw := p.dw[i0:i1]
	copy(dw, p.partial[i0:i1])
	for q := 1; q < p.count; q++ {
		addVec(dw, dw, p.of(q)[i0:i1])
	}
}
