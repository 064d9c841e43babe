package kernel

// Attention with sixteen queries side by side, for heads of few channels: the softmax of each runs down its lane, so
// that no reduction crosses lanes, and the keys and values are read as they lie. The backward pass goes over the scores
// twice, once with sixteen queries for dq and once with sixteen keys for dk and dv, each time computing them anew: they are
// only D products each.
//
// A head's positions are taken sixteen at a time; the last sixteen overlap those before them where S is no multiple, and
// the positions in both get the same bits twice. Fewer than sixteen positions are copied into a padded block.

// lanesSpace is the scratch of a worker.
type lanesSpace struct {
	p, ds      []float32 // [S, 16] scores and their gradients
	a, b       []float32 // [D, 16] operands
	out        []float32 // [D, 16]
	rows       []float32 // [16, D] of a head with fewer positions
	lse, delta []float32 // [S + 16]
}

func (a *Attention) lanesScratch() int { return 32*a.s.S + 64*a.s.D + 2*(a.s.S+16) }

func (a *Attention) lanesSpace(worker int) (l lanesSpace) {
	mem, s, d := a.space(worker), a.s.S, a.s.D
	cut := func(n int) []float32 { part := mem[:n:n]; mem = mem[n:]; return part }
	l.p, l.ds = cut(16*s), cut(16*s)
	l.a, l.b, l.out, l.rows = cut(16*d), cut(16*d), cut(16*d), cut(16*d)
	l.lse, l.delta = cut(s+16), cut(s+16)
	return l
}

// blocks is how many blocks of sixteen cover the positions; block i begins at first(i).
func (a *Attention) blocks() int { return (a.s.S + 15) / 16 }

func (a *Attention) first(i int) int { return max(0, min(16*i, a.s.S-16)) }

// gather writes the sixteen positions from first on, of the head at x, as lanes.
func (a *Attention) gather(lanes, x []float32, first int, l *lanesSpace) {
	d := a.s.D
	if a.s.S >= 16 {
		toLanes(lanes, x[first*a.ld:], a.ld, d)
		return
	}
	clear(l.rows)
	for r := 0; r < a.s.S; r++ {
		copy(l.rows[r*d:(r+1)*d], x[r*a.ld:])
	}
	toLanes(lanes, l.rows, d, d)
}

// scatter is the way back.
func (a *Attention) scatter(x, lanes []float32, first int, l *lanesSpace) {
	d := a.s.D
	if a.s.S >= 16 {
		fromLanes(x[first*a.ld:], lanes, a.ld, d)
		return
	}
	fromLanes(l.rows, lanes, d, d)
	for r := 0; r < a.s.S; r++ {
		copy(x[r*a.ld:r*a.ld+d], l.rows[r*d:])
	}
}

func (a *Attention) forwardLanes(worker, task int) {
	s, d, ld := a.s.S, a.s.D, a.ld
	at := a.head(task)
	q, k, v, o := a.q[at:], a.k[at:], a.v[at:], a.o[at:]
	lse := a.lse[task*s : (task+1)*s]
	l := a.lanesSpace(worker)
	for i := range a.blocks() {
		first := a.first(i)
		a.gather(l.a, q, first, &l)
		laneScores(l.p, k, l.a, ld, s, d)
		laneSoftmax(l.p, l.lse, s, a.scale)
		copy(lse[first:], l.lse[:16])
		laneSum(l.out, v, l.p, ld, s, d)
		a.scatter(o, l.out, first, &l)
	}
}

func (a *Attention) backwardLanes(worker, task int) {
	s, d, ld := a.s.S, a.s.D, a.ld
	at := a.head(task)
	q, k, v, do := a.q[at:], a.k[at:], a.v[at:], a.do[at:]
	l := a.lanesSpace(worker)
	copy(l.lse, a.lse[task*s:(task+1)*s])
	clear(l.lse[s:])
	for i := range a.blocks() { // sixteen queries against all keys
		first := a.first(i)
		a.gather(l.a, q, first, &l)
		a.gather(l.b, do, first, &l)
		laneScores(l.p, k, l.a, ld, s, d)
		laneScores(l.ds, v, l.b, ld, s, d)
		laneGradients(l.p, l.ds, l.lse[first:], l.delta[first:], s, a.scale)
		laneSum(l.out, k, l.ds, ld, s, d)
		a.scatter(a.dq[at:], l.out, first, &l)
	}
	for i := range a.blocks() { // sixteen keys against all queries
		first := a.first(i)
		a.gather(l.a, k, first, &l)
		a.gather(l.b, v, first, &l)
		laneScores(l.p, q, l.a, ld, s, d)
		laneScores(l.ds, do, l.b, ld, s, d)
		softmaxBackRows(l.p, l.ds, l.lse, l.delta, s, 16, a.scale)
		laneSum(l.out, do, l.p, ld, s, d)
		a.scatter(a.dv[at:], l.out, first, &l)
		laneSum(l.out, q, l.ds, ld, s, d)
		a.scatter(a.dk[at:], l.out, first, &l)
	}
}
