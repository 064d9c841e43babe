package vec

import (
	"fmt"
	"math"
	"testing"

	"unstir/nn/kernel/internal/cpu"
	"unstir/nn/kernel/internal/kerneltest"
)

// e^x to 2 ulp wherever it is not clamped.
func TestExponentialIsGoodTo2ULP(t *testing.T) {
	worst := 0.0
	for x := float32(-87.2); x < 87.2; x += 0.00137 {
		got, want := float64(Exp(x)), math.Exp(float64(x))
		ulp := math.Ldexp(1, int(math.Floor(math.Log2(want)))-23)
		worst = max(worst, math.Abs(got-want)/ulp)
	}
	if worst > 2 {
		t.Errorf("off by %.2f ulp", worst)
	}
}

// siluPoints are a grid, the extremes and a length that is no whole number of vectors.
func siluPoints() []float32 {
	var x []float32
	for v := -110.0; v < 110; v += 0.0437 {
		x = append(x, float32(v))
	}
	inf := float32(math.Inf(1))
	return append(x, 0, float32(math.Copysign(0, -1)), -87, 87, 1e-30, -1e-30, -1e9, 1e9, inf, -100, 100)
}

func TestSiLUIsItsDefinition(t *testing.T) {
	kerneltest.ForLevels(t, func(t *testing.T, _ cpu.Level) {
		x := siluPoints()
		y, dx, dy := kerneltest.Garbage(len(x)), kerneltest.Garbage(len(x)), kerneltest.Randoms(kerneltest.Rand(1), len(x))
		v := New(cpu.This())
		v.SiLU(y, x)
		v.SiLUBackward(dx, x, dy)
		for i, f := range x {
			z := float64(f)
			s := 1 / (1 + math.Exp(-z))
			if want := z * s; math.Abs(float64(y[i])-want) > 2.5e-7*math.Abs(want)+2e-36*max(1, math.Abs(z)) {
				t.Fatalf("SiLU(%v) = %v, not %v", f, y[i], want)
			}
			if math.IsInf(z, 0) {
				continue // the slope at infinity is Inf*0
			}
			want := float64(dy[i]) * s * (1 + z*(1/(1+math.Exp(z))))
			if math.Abs(float64(dx[i])-want) > 1e-6*math.Abs(float64(dy[i])) {
				t.Fatalf("SiLUBackward(%v, %v) = %v, not %v", f, dy[i], dx[i], want)
			}
		}
		for _, bad := range []float32{float32(math.NaN()), math.Float32frombits(0x7fc00001), math.Float32frombits(0xffc12345)} {
			v.SiLU(y[:17], []float32{16: bad})
			v.SiLU(y[17:50], append([]float32{bad}, x[:32]...))
			v.SiLUBackward(dx[:33], append([]float32{bad}, x[:32]...), dy)
			if y[16] == y[16] || y[17] == y[17] || y[18] != y[18] || dx[0] == dx[0] {
				t.Errorf("NaN %x became %v, %v, %v; its neighbour %v", math.Float32bits(bad), y[16], y[17], dx[0], y[18])
			}
		}
		if y := [1]float32{}; true {
			v.SiLU(y[:], []float32{100})
			if y[0] != 100 {
				t.Errorf("SiLU(100) = %v", y[0])
			}
		}
	})
}

func TestSiLUSlopeIsTheFiniteDifference(t *testing.T) {
	x := siluPoints()
	dx, ones := kerneltest.Garbage(len(x)), kerneltest.Garbage(len(x))
	v := New(cpu.This())
	for i := range ones {
		ones[i] = 1
	}
	v.SiLUBackward(dx, x, ones)
	silu := func(z float64) float64 { return z / (1 + math.Exp(-z)) }
	for i, f := range x {
		z, h := float64(f), 1e-5
		if math.Abs(z) > 200 {
			continue
		}
		if want := (silu(z+h) - silu(z-h)) / (2 * h); math.Abs(float64(dx[i])-want) > 2e-6 {
			t.Fatalf("slope at %v is %v, not %v", f, dx[i], want)
		}
	}
}

var vecLengths = []int{1, 7, 15, 16, 17, 31, 33, 64, 100, 1000, vecChunk - 1, vecChunk + 1, 2*vecChunk + 35}

func TestAdd(t *testing.T) {
	kerneltest.ForLevels(t, func(t *testing.T, _ cpu.Level) {
		r, v := kerneltest.Rand(2), New(cpu.This())
		for _, n := range vecLengths {
			a, b, dst := kerneltest.Randoms(r, n), kerneltest.Randoms(r, n), kerneltest.Garbage(n+1)
			check := func(name string, f func(i int) float32) {
				t.Helper()
				for i := 0; i < n; i++ {
					if dst[i] != f(i) {
						t.Fatalf("%s, %d elements: element %d is %v, not %v", name, n, i, dst[i], f(i))
					}
				}
				if dst[n] == dst[n] {
					t.Fatalf("%s wrote past the end", name)
				}
			}
			v.Add(dst[:n], a, b)
			check("Add", func(i int) float32 { return a[i] + b[i] })
			v.Add(dst[:n], dst, b)
			check("Add in place", func(i int) float32 { return (a[i] + b[i]) + b[i] })
		}
	})
}

func TestDropoutKeepsWhatIsDrawnBelowKeep(t *testing.T) {
	kerneltest.ForLevels(t, func(t *testing.T, _ cpu.Level) {
		r, keep := kerneltest.Rand(7), float32(0.7)
		for _, n := range vecLengths {
			x, u, dst := kerneltest.Randoms(r, n), kerneltest.Randoms(r, n), kerneltest.Garbage(n)
			for i := range u {
				u[i] = (u[i] + 1) / 2
			}
			u[n/2] = keep // not below: dropped
			Of(cpu.This()).Dropout(dst, x, u, keep)
			for i, y := range dst {
				want := float32(0)
				if u[i] < keep {
					want = x[i] * (1 / keep)
				}
				if y != want {
					t.Fatalf("%d elements: x = %v, u = %v: %v, not %v", n, x[i], u[i], y, want)
				}
			}
		}
	})
}

func TestUpsampleAndItsGradient(t *testing.T) {
	kerneltest.ForLevels(t, func(t *testing.T, _ cpu.Level) {
		r, v := kerneltest.Rand(3), New(cpu.This())
		for _, c := range []int{1, 3, 8, 16, 20, 32, 48, 100} {
			n, h, w := 2, 3, 5
			src, dst := kerneltest.Randoms(r, n*h*w*c), kerneltest.Garbage(4*n*h*w*c)
			v.Upsample(dst, src, n, h, w, c)
			want := make([]float32, len(src))
			grad, dsrc := kerneltest.Randoms(r, len(dst)), kerneltest.Garbage(len(src))
			v.UpsampleBackward(dsrc, grad, n, h, w, c)
			for i := 0; i < n; i++ {
				for y := 0; y < h; y++ {
					for x := 0; x < w; x++ {
						for k := 0; k < c; k++ {
							at := func(dy, dx int) int { return ((i*2*h+2*y+dy)*2*w+2*x+dx)*c + k }
							s := ((i*h+y)*w+x)*c + k
							for j := 0; j < 4; j++ {
								if dst[at(j/2, j%2)] != src[s] {
									t.Fatalf("c %d: pixel (%d,%d,%d,%d) is not its source's", c, i, 2*y+j/2, 2*x+j%2, k)
								}
							}
							want[s] = (grad[at(0, 0)] + grad[at(0, 1)]) + (grad[at(1, 0)] + grad[at(1, 1)])
						}
					}
				}
			}
			if err := kerneltest.SameBits(dsrc, want); err != nil {
				t.Errorf("c %d: UpsampleBackward: %v", c, err)
			}
		}
	})
}

func TestElementwiseGivesEqualBitsOnAVX2AndAVX512(t *testing.T) {
	for _, n := range vecLengths {
		kerneltest.EqualOnVectorLevels(t, fmt.Sprint(n), func() map[string][]float32 {
			r, v := kerneltest.Rand(uint64(n)), New(cpu.This())
			x, dy, y, dx := kerneltest.Randoms(r, n), kerneltest.Randoms(r, n), kerneltest.Garbage(n), kerneltest.Garbage(n)
			for i := range x {
				x[i] *= 20
			}
			v.SiLU(y, x)
			v.SiLUBackward(dx, x, dy)
			return map[string][]float32{"y": y, "dx": dx}
		})
	}
}

// The bits of an element depend on its inputs, not on where in the slice it stands.
func TestSiLUBitsDoNotDependOnThePosition(t *testing.T) {
	kerneltest.ForLevels(t, func(t *testing.T, _ cpu.Level) {
		r, v := kerneltest.Rand(5), New(cpu.This())
		x, dy := kerneltest.Randoms(r, 100), kerneltest.Randoms(r, 100)
		y, dx, part := kerneltest.Garbage(100), kerneltest.Garbage(100), kerneltest.Garbage(100)
		v.SiLU(y, x)
		v.SiLUBackward(dx, x, dy)
		for lo := 0; lo < 100; lo += 13 {
			v.SiLU(part[:100-lo], x[lo:])
			if err := kerneltest.SameBits(part[:100-lo], y[lo:]); err != nil {
				t.Errorf("SiLU from %d: %v", lo, err)
			}
			v.SiLUBackward(part[:100-lo], x[lo:], dy[lo:])
			if err := kerneltest.SameBits(part[:100-lo], dx[lo:]); err != nil {
				t.Errorf("SiLUBackward from %d: %v", lo, err)
			}
		}
	})
}

func TestVecAllocatesNothing(t *testing.T) {
	v, r := New(cpu.This()), kerneltest.Rand(6)
	a, b, dst := kerneltest.Randoms(r, 4000), kerneltest.Randoms(r, 4000), kerneltest.Garbage(16000)
	if n := testing.AllocsPerRun(5, func() {
		v.Add(dst[:4000], a, b)
		v.SiLU(dst[:4000], a)
		v.SiLUBackward(dst[:3999], a, b)
		v.Upsample(dst, a, 1, 10, 20, 20)
		v.UpsampleBackward(a, dst, 1, 10, 20, 20)
	}); n > 0 {
		t.Errorf("%v allocations", n)
	}
}
