package norm

import "math"

// The forward pass of group norm: sums, moments, then y.

func (g *GroupNorm) forwardWhole(s normSpace, image int) {
	for p := 0; p < g.pieces; p++ {
		g.stats(s, image, p)
	}
	g.fold(s, image)
	for p := 0; p < g.pieces; p++ {
		g.apply(s, image, p)
	}
}

// stats sums x-around and (x-around)^2 of each lane over a piece. around is the image's first row: one of the samples, so
// that the sum of squares about it is at most HW times the one about the mean and the variance cannot lose more than HW
// roundings.
func (g *GroupNorm) stats(s normSpace, image, piece int) {
	sums := s.parts[2*piece*g.lanes : 2*(piece+1)*g.lanes]
	sum, sq := sums[:g.lanes], sums[g.lanes:]
	clear(sums)
	g.each(&g.sumParts, piece, func(p *normPart, row, rows int) {
		x, lo, hi := g.source(&g.x, p, image)[p.x:], p.lane, p.lane+p.width
		g.kernels.stats(sum[lo:hi], sq[lo:hi], x[row*p.xStride:], x, p.xStride, rows)
	})
}

// firstRow is what stats has taken as around.
func (g *GroupNorm) firstRow(s normSpace, image int) []float32 {
	parts := g.sumParts.rows
	if g.rows == 0 {
		parts = g.sumParts.last
		clear(s.first)
	}
	for i := range parts {
		p := &parts[i]
		copy(s.first[p.lane:p.lane+p.width], g.source(&g.x, p, image)[p.x:])
	}
	return s.first
}

// addParts adds the pieces' sums into the first piece's.
func (g *GroupNorm) addParts(s normSpace) (first, second []float32) {
	total := s.parts[:2*g.lanes]
	for p := 1; p < g.pieces; p++ {
		g.vec.Add(total, total, s.parts[2*p*g.lanes:(2*p+2)*g.lanes])
	}
	return total[:g.lanes], total[g.lanes:]
}

// fold turns the lanes' sums into mean and rstd of the groups, and those into the factors of z.
func (g *GroupNorm) fold(s normSpace, image int) {
	sum, sq := g.addParts(s)
	around := g.firstRow(s, image)
	c, per := g.s.C, g.s.C/g.s.Groups
	for q := 0; q < g.s.Groups; q++ {
		mean, rstd := g.moments(sum, sq, around, q*per, per)
		g.mean[image*g.s.Groups+q], g.rstd[image*g.s.Groups+q] = float32(mean), float32(rstd)
	}
	g.factors(s, image)
	repeat(s.scale, c)
	repeat(s.off, c)
}

// moments returns mean and 1/sqrt(variance+eps) of the group of per channels from first on: the lanes' sums, moved to a
// common centre, which again is a sample of the group.
func (g *GroupNorm) moments(sum, sq, around []float32, first, per int) (mean, rstd float64) {
	centre := float64(around[first])
	var total, m2 float64
	for base := first; base < g.lanes; base += g.s.C {
		n := float64(g.laneRows(base))
		a, q := around[base:base+per], sq[base:base+per]
		for l, f := range sum[base : base+per] {
			d, s := float64(a[l])-centre, float64(f)
			nd := float64(n * d)
			total += s + nd
			m2 += float64(q[l]) + float64(d*(2*s+nd))
		}
	}
	count := float64(g.s.HW * per)
	shift := total / count
	m2 -= float64(total * shift)
	if m2 < 0 { // rounding; NaN passes
		m2 = 0
	}
	return centre + shift, 1 / math.Sqrt(m2/count+g.s.Eps)
}

// laneRows is how many pixels a lane has summed.
func (g *GroupNorm) laneRows(lane int) int {
	if lane < g.tail {
		return g.rows + 1
	}
	return g.rows
}

// factors sets the first C entries of scale and off so that z = x*scale + off.
func (g *GroupNorm) factors(s normSpace, image int) {
	per := g.s.C / g.s.Groups
	ss := g.imageSS(g.ss, image)
	for q := 0; q < g.s.Groups; q++ {
		mean, rstd := float64(g.mean[image*g.s.Groups+q]), float64(g.rstd[image*g.s.Groups+q])
		scale, off := s.scale[:g.s.C], s.off[:g.s.C]
		gamma, beta := g.gamma[:g.s.C], g.beta[:g.s.C]
		for c := q * per; c < (q+1)*per; c++ {
			a := rstd * float64(gamma[c])
			b := float64(beta[c]) - float64(mean*a)
			if ss != nil {
				k := 1 + float64(ss[c])
				a, b = a*k, float64(b*k)+float64(ss[g.s.C+c])
			}
			scale[c], off[c] = float32(a), float32(b)
		}
	}
}

// imageSS is the part of ss or dss of an image, nil without ScaleShift.
func (g *GroupNorm) imageSS(ss []float32, image int) []float32 {
	if !g.s.ScaleShift {
		return nil
	}
	return ss[2*image*g.s.C : 2*(image+1)*g.s.C]
}

// repeat fills a row with copies of its first c entries.
func repeat(row []float32, c int) {
	for n := c; n < len(row); n *= 2 {
		copy(row[n:], row[:n])
	}
}

// apply writes y for a piece.
func (g *GroupNorm) apply(s normSpace, image, piece int) {
	y, f := g.image(g.y, image), g.kernels.apply
	if g.s.SiLU {
		f = g.kernels.applySiLU
	}
	g.each(&g.mapParts, piece, func(p *normPart, row, rows int) {
		x, lo, hi := g.source(&g.x, p, image)[p.x+row*p.xStride:], p.lane, p.lane+p.width
		f(y[p.y+row*p.yStride:], x, s.scale[lo:hi], s.off[lo:hi], p.yStride, p.xStride, rows)
	})
}
