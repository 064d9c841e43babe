package attention

// kernels is the functions of one level. A row of scores is one query's, its keys along the row; its width is a multiple of 16.
// Lanes are sixteen queries, or keys, side by side, [.., 16], against rows of a, which are ld floats apart.
type kernels struct {
	// softmaxRows turns rows of width products q k^T into the softmax of scale times them; largest and sum get each row's
	// largest product and its sum of exp(scale*(product-largest)).
	softmaxRows func(p, largest, sum []float32, rows, width int, scale float32)

	// softmaxBackRows sets p = exp(scale*p - lse), the probabilities of a row of products, and ds = p*(ds - delta)*scale, the
	// gradient of the products from that of the probabilities. delta and lse have one number per row. softmaxKeptRows is the
	// same for a p that has the probabilities.
	softmaxBackRows func(p, ds, delta, lse []float32, rows, width int, scale float32)
	softmaxKeptRows func(p, ds, delta []float32, rows, width int, scale float32)

	// laneScores sets p[r] = sum over i < d of a[r*ld+i] * lanes[i], and high, unless nil, to the largest of each lane.
	laneScores func(p, a, lanes, high []float32, ld, rows, d int)

	// laneExp sets p [rows, 16] to exp(scale*(p - high)), inverse to 1 over their sum down the rows, and lse.
	laneExp func(p, high, lse, inverse []float32, rows int, scale float32)

	// laneAdd adds the sum over rows of a[r*ld+i] * p[r] to out[i], for i < d, and laneSum sets out[i] to factor times it.
	laneSum func(out, a, p, factor []float32, ld, rows, d int)
	laneAdd func(out, a, p []float32, ld, rows, d int)

	// laneGradients sets p = exp(scale*p - lse), delta = sum down the rows of p*ds, and ds = p*(ds - delta)*scale.
	laneGradients func(p, ds, lse, delta []float32, rows int, scale float32)

	// packRows copies rows of d floats, a multiple of 8, that are ld apart into one run.
	packRows func(dst, src []float32, ld, rows, d int)
}

// toLanes writes d columns of 16 rows, ld floats apart, as lanes [d, 16].
func (a *Attention) toLanes(lanes, rows []float32, ld, d int) {
	whole := d &^ 7
	if whole > 0 {
		a.gemm.Transpose(&lanes[0], 64, &rows[0], uintptr(4*ld), whole/8)
		a.gemm.Transpose(&lanes[8], 64, &rows[8*ld], uintptr(4*ld), whole/8)
	}
	for l := 0; l < 16 && whole < d; l++ {
		for i, x := range rows[l*ld+whole : l*ld+d] {
			lanes[16*(whole+i)+l] = x
		}
	}
}

// fromLanes is the way back.
func (a *Attention) fromLanes(rows, lanes []float32, ld, d int) {
	whole := d &^ 7
	for i := 0; i < whole; i += 8 {
		a.gemm.Transpose(&rows[i], uintptr(4*ld), &lanes[16*i], 64, 2)
	}
	for l := 0; l < 16 && whole < d; l++ {
		row := rows[l*ld+whole : l*ld+d]
		for i := range row {
			row[i] = lanes[16*(whole+i)+l]
		}
	}
}
