package kerneltest

import (
	"math"

	"unstir/nn/kernel/internal/shape"
)

// Convolution is the results of a convolution in its three directions, and beside each the sum of its absolute terms.
type Convolution struct {
	Y, DX, DW, DB, DTemb                []float64
	YAbs, DXAbs, DWAbs, DBAbs, DTembAbs []float64
}

// Convolve is the plain float64 loop that defines a convolution: y = x * w + bias + temb + res, and from dy the gradients of x, w,
// bias and temb. All slices have the lengths that package conv says.
func Convolve(s shape.Conv, x, w, bias, temb, res, dy []float32) *Convolution {
	oh, ow := s.OutH(), s.OutW()
	zeros := func(like []float32) []float64 { return make([]float64, len(like)) }
	v := &Convolution{
		zeros(dy), zeros(x), zeros(w), zeros(bias), zeros(temb),
		zeros(dy), zeros(x), zeros(w), zeros(bias), zeros(temb),
	}
	for n := range s.N {
		for p := range oh * ow {
			for k := range s.K {
				out := (n*oh*ow+p)*s.K + k
				g := float64(dy[out])
				v.DB[k] += g
				v.DTemb[n*s.K+k] += g
				v.DBAbs[k] += math.Abs(g)
				v.DTembAbs[n*s.K+k] += math.Abs(g)
				for _, a := range []float32{bias[k], temb[n*s.K+k], res[out]} {
					v.Y[out] += float64(a)
					v.YAbs[out] += math.Abs(float64(a))
				}
				for r := range s.R * s.R {
					iy, ix := p/ow*s.Stride+r/s.R-s.PadTop, p%ow*s.Stride+r%s.R-s.PadLeft
					if s.Upsample {
						if iy < 0 || ix < 0 {
							continue
						}
						iy, ix = iy/2, ix/2
					}
					if iy < 0 || ix < 0 || iy >= s.H || ix >= s.W {
						continue
					}
					for c := range s.C {
						in, wt := ((n*s.H+iy)*s.W+ix)*s.C+c, (r*s.C+c)*s.K+k
						a, b := float64(x[in]), float64(w[wt])
						v.Y[out] += a * b
						v.DX[in] += g * b
						v.DW[wt] += g * a
						v.YAbs[out] += math.Abs(a * b)
						v.DXAbs[in] += math.Abs(g * b)
						v.DWAbs[wt] += math.Abs(g * a)
					}
				}
			}
		}
	}
	return v
}
