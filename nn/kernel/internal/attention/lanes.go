package attention

// Attention with sixteen queries side by side, for heads of few channels: the softmax of each runs down its lane, so
// that no reduction crosses lanes, and the keys and values are read as they lie. In the backward pass the probabilities of
// sixteen queries and their gradients are then turned, sixteen keys at a time, so that for dk and dv the keys lie side by side.
//
// A head's positions are taken sixteen at a time; the last sixteen overlap those before them where S is no multiple, and
// the positions in both get the same bits twice. Fewer than sixteen positions are copied into a padded block.

var ones = [16]float32{1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1}

// lanesSpace is the scratch of a worker.
type lanesSpace struct {
	p, ds        []float32 // [S, 16] scores and their gradients; of fewer than sixteen positions, [16, 16]
	turned       []float32 // [16, 16] of p or ds
	dk, dv       []float32 // [blocks, D, 16] lanes
	q, k, v, do  []float32 // [S, D] a head without gaps
	a, b, out    []float32 // [D, 16] lanes
	rows         []float32 // [16, D] of a head with fewer positions
	lse, delta   []float32 // [S + 16], [16]
	high, factor []float32 // [16]
}

func (a *Attention) lanesScratch() int {
	s, d := a.s.S, a.s.D
	return 2*16*max(s, 16) + 16*16 + 2*a.blocks()*16*d + 4*s*d + 4*16*d + s + 16 + 16 + 2*16
}

func (a *Attention) lanesSpace(worker int) (l lanesSpace) {
	mem, s, d := a.space(worker), a.s.S, a.s.D
	cut := func(n int) []float32 { part := mem[:n:n]; mem = mem[n:]; return part }
	l.p, l.ds, l.turned = cut(16*max(s, 16)), cut(16*max(s, 16)), cut(16*16)
	l.dk, l.dv = cut(a.blocks()*16*d), cut(a.blocks()*16*d)
	l.q, l.k, l.v, l.do = cut(s*d), cut(s*d), cut(s*d), cut(s*d)
	l.a, l.b, l.out, l.rows = cut(16*d), cut(16*d), cut(16*d), cut(16*d)
	l.lse, l.delta = cut(s+16), cut(16)
	l.high, l.factor = cut(16), cut(16)
	return l
}

// pack returns the head at x without the gaps between its positions: rows at a stride of a large power of two would
// share a few lines of the first-level cache.
func (a *Attention) pack(buffer, x []float32) []float32 {
	if a.s.Heads == 1 {
		return x
	}
	if a.s.D%8 == 0 {
		a.kernels.packRows(buffer, x, a.ld, a.s.S, a.s.D)
	} else {
		packRowsGo(buffer, x, a.ld, a.s.S, a.s.D)
	}
	return buffer
}

// blocks is how many blocks of sixteen cover the positions; block i begins at first(i).
func (a *Attention) blocks() int { return (a.s.S + 15) / 16 }

func (a *Attention) first(i int) int { return max(0, min(16*i, a.s.S-16)) }

// gather writes the sixteen positions from first on, of a packed head, as lanes.
func (a *Attention) gather(lanes, x []float32, first int, l *lanesSpace) {
	d := a.s.D
	if a.s.S >= 16 {
		a.toLanes(lanes, x[first*d:], d, d)
		return
	}
	clear(l.rows)
	copy(l.rows, x[:a.s.S*d])
	a.toLanes(lanes, l.rows, d, d)
}

// scatter is the way back, to the head at x in its place.
func (a *Attention) scatter(x, lanes []float32, first int, l *lanesSpace) {
	d := a.s.D
	if a.s.S >= 16 {
		a.fromLanes(x[first*a.ld:], lanes, a.ld, d)
		return
	}
	a.fromLanes(l.rows, lanes, d, d)
	for r := 0; r < a.s.S; r++ {
		copy(x[r*a.ld:r*a.ld+d], l.rows[r*d:])
	}
}

func (a *Attention) forwardLanes(worker, head int) {
	s, d := a.s.S, a.s.D
	at := a.begin(head)
	l := a.lanesSpace(worker)
	q, k, v := a.pack(l.q, a.q[at:]), a.pack(l.k, a.k[at:]), a.pack(l.v, a.v[at:])
	lse := a.lse[head*s : (head+1)*s]
	for i := range a.blocks() {
		first := a.first(i)
		a.gather(l.a, q, first, &l)
		a.kernels.laneScores(l.p, k, l.a, l.high, d, s, d)
		a.kernels.laneExp(l.p, l.high, l.lse, l.factor, s, a.scale)
		copy(lse[first:], l.lse[:16])
		a.kernels.laneSum(l.out, v, l.p, l.factor, d, s, d)
		a.scatter(a.o[at:], l.out, first, &l)
	}
}

func (a *Attention) backwardLanes(worker, head int) {
	s, d := a.s.S, a.s.D
	at := a.begin(head)
	l := a.lanesSpace(worker)
	q, k, v, do := a.pack(l.q, a.q[at:]), a.pack(l.k, a.k[at:]), a.pack(l.v, a.v[at:]), a.pack(l.do, a.do[at:])
	copy(l.lse, a.lse[head*s:(head+1)*s])
	clear(l.lse[s:])
	clear(l.dk)
	clear(l.dv)
	for i := range a.blocks() { // sixteen queries against all keys
		first := a.first(i)
		a.gather(l.a, q, first, &l)
		a.gather(l.b, do, first, &l)
		a.kernels.laneScores(l.p, k, l.a, nil, d, s, d)
		a.kernels.laneScores(l.ds, v, l.b, nil, d, s, d)
		a.kernels.laneGradients(l.p, l.ds, l.lse[first:], l.delta, s, a.scale)
		a.kernels.laneSum(l.out, k, l.ds, ones[:], d, s, d)
		a.scatter(a.dq[at:], l.out, first, &l)
		next, rows := 16*i-first, min(s, first+16)-16*i // the queries that no block before has had
		half := next &^ 7                               // eight queries are turned at a time
		for j := range a.blocks() {
			key, lanes := 16*a.first(j)+half, 16*d*j
			a.toLanes(l.turned, l.p[key:], 16, 16-half)
			a.kernels.laneAdd(l.dv[lanes:], do[16*i*d:], l.turned[16*(next-half):], d, rows, d)
			a.toLanes(l.turned, l.ds[key:], 16, 16-half)
			a.kernels.laneAdd(l.dk[lanes:], q[16*i*d:], l.turned[16*(next-half):], d, rows, d)
		}
	}
	for j := range a.blocks() {
		a.scatter(a.dk[at:], l.dk[16*d*j:], a.first(j), &l)
		a.scatter(a.dv[at:], l.dv[16*d*j:], a.first(j), &l)
	}
}
