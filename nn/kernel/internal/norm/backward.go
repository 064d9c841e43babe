package norm

// The backward pass of group norm: the gradient of z and its sums in one pass, then dx in a second.

func (g *GroupNorm) backwardWhole(s normSpace, image int) {
	g.prepare(s, image)
	for p := 0; p < g.pieces; p++ {
		g.backSums(s, image, p)
	}
	g.backFold(s, image)
	for p := 0; p < g.pieces; p++ {
		g.backApply(s, image, p)
	}
}

// prepare sets the factors that the backward pass starts from.
func (g *GroupNorm) prepare(s normSpace, image int) {
	per := g.s.C / g.s.Groups
	g.factors(s, image)
	for q, mean := range g.mean[image*g.s.Groups : (image+1)*g.s.Groups] {
		for c := q * per; c < (q+1)*per; c++ {
			s.mean[c] = mean
		}
	}
	repeat(s.scale, g.s.C)
	repeat(s.off, g.s.C)
	repeat(s.mean, g.s.C)
}

// backSums sums dz and dz*(x-mean) of each lane over a piece. With SiLU it leaves dz = dy*silu'(z) where dzOf says.
func (g *GroupNorm) backSums(s normSpace, image, piece int) {
	sums, dys := s.parts[2*piece*g.lanes:2*(piece+1)*g.lanes], g.image(g.dy, image)
	clear(sums)
	g.each(&g.sumParts, piece, func(p *normPart, row, rows int) {
		lo, hi, at := p.lane, p.lane+p.width, p.x+row*p.xStride
		sum, dot, mean := sums[lo:hi], sums[g.lanes:][lo:hi], s.mean[lo:hi]
		x, dy := g.source(&g.x, p, image)[at:], dys[p.y+row*p.yStride:]
		if g.s.SiLU {
			dz := g.dzOf(s, p, image)[at:]
			g.kernels.backSumsSiLU(sum, dot, dz, dy, x, s.scale[lo:hi], s.off[lo:hi], mean, p.yStride, p.xStride, rows)
		} else {
			g.kernels.backSums(sum, dot, dy, x, mean, p.yStride, p.xStride, rows)
		}
	})
}

// backFold turns the lanes' sums into the image's gradients of gamma, beta and ss, and into the factors of
//
//	dx = rstd*(k*dz - mean(k*dz) - xhat*mean(k*dz*xhat)), k = gamma*(1+scale), means over the group.
func (g *GroupNorm) backFold(s normSpace, image int) {
	sum, dot := g.addParts(s)
	c := g.s.C
	for l := c; l < g.lanes; l += c { // a channel's lanes, in order
		g.vec.Add(sum[:c], sum[:c], sum[l:l+c])
		g.vec.Add(dot[:c], dot[:c], dot[l:l+c])
	}
	per := c / g.s.Groups
	ss, dss := g.imageSS(g.ss, image), g.imageSS(g.dss, image)
	dgamma, dbeta := g.sums[2*image*c:][:c], g.sums[(2*image+1)*c:][:c]
	for q := 0; q < g.s.Groups; q++ {
		mean, rstd := float64(g.mean[image*g.s.Groups+q]), float64(g.rstd[image*g.s.Groups+q])
		var m1, m2 float64
		for i := q * per; i < (q+1)*per; i++ {
			k := 1.0
			s1, s2 := float64(sum[i]), float64(dot[i])*rstd // sums of dz and of dz*xhat
			if ss != nil {
				k += float64(ss[i])
				dss[i] = float32(float64(float64(g.gamma[i])*s2) + float64(float64(g.beta[i])*s1))
				dss[c+i] = sum[i]
			}
			dgamma[i], dbeta[i] = float32(k*s2), float32(k*s1)
			k *= float64(g.gamma[i])
			m1 += float64(k * s1)
			m2 += float64(k * s2)
			s.a[i] = float32(rstd * k)
		}
		count := float64(g.s.HW * per)
		b := -rstd * rstd * (m2 / count)
		off := -float64(rstd*(m1/count)) - float64(b*mean)
		for i := q * per; i < (q+1)*per; i++ {
			s.b[i], s.c[i] = float32(b), float32(off)
		}
	}
	repeat(s.a, c)
	repeat(s.b, c)
	repeat(s.c, c)
}

// backApply writes dx for a piece, or adds it.
func (g *GroupNorm) backApply(s normSpace, image, piece int) {
	dys := g.image(g.dy, image)
	g.each(&g.mapParts, piece, func(p *normPart, row, rows int) {
		lo, hi, at := p.lane, p.lane+p.width, p.x+row*p.xStride
		x, dx := g.source(&g.x, p, image)[at:], g.source(&g.dx, p, image)[at:]
		dz, zStride := dys[p.y+row*p.yStride:], p.yStride
		if g.s.SiLU {
			dz, zStride = g.dzOf(s, p, image)[at:], p.xStride
		}
		f := g.kernels.backApply
		if g.add[p.source] {
			f = g.kernels.backAdd
		}
		f(dx, dz, x, s.a[lo:hi], s.b[lo:hi], s.c[lo:hi], zStride, p.xStride, rows)
	})
}
