package attention

import (
	"math"

	"unstir/nn/kernel/internal/vec"
)

// The plain loops that define the kernels of attention.

// generic is the plain Go level.
var generic = kernels{
	softmaxRows: softmaxRowsGo, softmaxBackRows: softmaxBackRowsGo, softmaxKeptRows: softmaxKeptRowsGo,
	laneScores: laneScoresGo, laneExp: laneExpGo, laneSum: laneSumGo, laneAdd: laneAddGo, laneGradients: laneGradientsGo,
	packRows: packRowsGo,
}

func softmaxRowsGo(p, largest, sum []float32, rows, width int, scale float32) {
	for r := 0; r < rows; r++ {
		row := p[r*width : (r+1)*width]
		high := row[0]
		for _, x := range row {
			if x > high {
				high = x
			}
		}
		var lanes [16]float32
		for i, x := range row {
			e := vec.Exp(scale * (x - high))
			row[i] = e
			lanes[i&15] += e
		}
		for d := 8; d > 0; d /= 2 {
			for i := 0; i < d; i++ {
				lanes[i] += lanes[i+d]
			}
		}
		largest[r], sum[r] = high, lanes[0]
		inverse := 1 / lanes[0]
		for i := range row {
			row[i] *= inverse
		}
	}
}

func softmaxBackRowsGo(p, ds, delta, lse []float32, rows, width int, scale float32) {
	for r := 0; r < rows; r++ {
		l, e := lse[r], delta[r]
		d := ds[r*width : (r+1)*width]
		for i, x := range p[r*width : (r+1)*width] {
			x = vec.Exp(float32(scale*x) - l)
			p[r*width+i] = x
			d[i] = float32(x*(d[i]-e)) * scale
		}
	}
}

func softmaxKeptRowsGo(p, ds, delta []float32, rows, width int, scale float32) {
	for r, e := range delta[:rows] {
		d := ds[r*width : (r+1)*width]
		for i, x := range p[r*width : (r+1)*width] {
			d[i] = float32(x*(d[i]-e)) * scale
		}
	}
}

func laneScoresGo(p, a, lanes, high []float32, ld, rows, d int) {
	var largest [16]float32
	for l := range largest {
		largest[l] = float32(math.Inf(-1))
	}
	for r := 0; r < rows; r++ {
		var acc [16]float32
		for i, k := range a[r*ld : r*ld+d] {
			q := lanes[16*i : 16*i+16]
			for l := range acc {
				acc[l] += float32(k * q[l])
			}
		}
		copy(p[16*r:], acc[:])
		for l, x := range acc {
			if x > largest[l] {
				largest[l] = x
			}
		}
	}
	copy(high, largest[:])
}

func laneAddGo(out, a, p []float32, ld, rows, d int) {
	for r := 0; r < rows; r++ {
		w := p[16*r : 16*r+16]
		for i, k := range a[r*ld : r*ld+d] {
			acc := out[16*i : 16*i+16]
			for l := range acc {
				acc[l] += float32(k * w[l])
			}
		}
	}
}

func laneSumGo(out, a, p, factor []float32, ld, rows, d int) {
	clear(out[:16*d])
	laneAddGo(out, a, p, ld, rows, d)
	for i := range out[:16*d] {
		out[i] *= factor[i&15]
	}
}

func laneExpGo(p, high, lse, inverse []float32, rows int, scale float32) {
	for l := 0; l < 16; l++ {
		var sum float32
		for i := l; i < 16*rows; i += 16 {
			p[i] = vec.Exp(scale * (p[i] - high[l]))
			sum += p[i]
		}
		lse[l], inverse[l] = lseOf(high[l], sum, scale), 1/sum
	}
}

// lseOf is the logarithm of the sum of exp(score) of one query.
func lseOf(largest, sum, scale float32) float32 {
	return float32(float64(float64(scale)*float64(largest)) + math.Log(float64(sum)))
}

func laneGradientsGo(p, ds, lse, delta []float32, rows int, scale float32) {
	clear(delta[:16])
	for i := 0; i < 16*rows; i++ {
		p[i] = vec.Exp(float32(scale*p[i]) - lse[i&15])
		delta[i&15] += float32(p[i] * ds[i])
	}
	for i := 0; i < 16*rows; i++ {
		ds[i] = float32(p[i]*(ds[i]-delta[i&15])) * scale
	}
}

func packRowsGo(dst, src []float32, ld, rows, d int) {
	for r := 0; r < rows; r++ {
		copy(dst[r*d:(r+1)*d], src[r*ld:])
	}
}
