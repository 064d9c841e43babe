package rng

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"math"
	"slices"
	"testing"
)

// The known answers published with Random123 (kat_vectors, philox4x64 10).
func TestPhiloxKnownAnswers(t *testing.T) {
	const ones = ^uint64(0)
	for _, c := range []struct {
		ctr  [4]uint64
		key  [2]uint64
		want [4]uint64
	}{
		{[4]uint64{}, [2]uint64{},
			[4]uint64{0x16554d9eca36314c, 0xdb20fe9d672d0fdc, 0xd7e772cee186176b, 0x7e68b68aec7ba23b}},
		{[4]uint64{ones, ones, ones, ones}, [2]uint64{ones, ones},
			[4]uint64{0x87b092c3013fe90b, 0x438c3c67be8d0224, 0x9cc7d7c69cd777b6, 0xa09caebf594f0ba0}},
		{[4]uint64{0x243f6a8885a308d3, 0x13198a2e03707344, 0xa4093822299f31d0, 0x082efa98ec4e6c89},
			[2]uint64{0x452821e638d01377, 0xbe5466cf34e90c6c},
			[4]uint64{0xa528f45403e61d95, 0x38c72dbd566e9788, 0xa5a1610e72fd18b5, 0x57bd43b5e52b7fe6}},
	} {
		var got [4]uint64
		got[0], got[1], got[2], got[3] = philox(c.ctr[0], c.ctr[1], c.ctr[2], c.ctr[3], c.key[0], c.key[1])
		if got != c.want {
			t.Errorf("philox(%x, %x) = %x, want %x", c.ctr, c.key, got, c.want)
		}
	}
}

// The bits of every kind of draw are part of what a seed means: images of one
// seed stay the same from release to release and from machine to machine.
func TestBitsArePinned(t *testing.T) {
	h := sha256.New()
	sum := func() string { s := hex.EncodeToString(h.Sum(nil)); h.Reset(); return s }

	z := make([]float32, 1e5)
	Normal(z, 42, TrainNoise, 7, 3)
	binary.Write(h, binary.LittleEndian, z)
	if got, want := sum(), "2a6a789849382e5a0974d5e38bab227918e90bec18707097f5f76ebf9fa30a06"; got != want {
		t.Errorf("Normal: SHA-256 %s, want %s", got, want)
	}
	Uniform32(z, 42, Dropout, 7, 3)
	binary.Write(h, binary.LittleEndian, z)
	if got, want := sum(), "3655910d18ebe545f86e4426efb9973f042ba66880cfe4a7c0e78ada8fb505a1"; got != want {
		t.Errorf("Uniform32: SHA-256 %s, want %s", got, want)
	}
	perm := make([]int32, 60000)
	Perm(perm, 42, Shuffle, 1)
	binary.Write(h, binary.LittleEndian, perm)
	for j := range uint64(1000) {
		binary.Write(h, binary.LittleEndian, int64(Intn(42, Timestep, 1, 2, j, 1000)))
		binary.Write(h, binary.LittleEndian, float64At(42, Weights, 1, 2, j))
	}
	if got, want := sum(), "5106f7f39a8201b9e5abf7c8b38ac2b487135a962d476593081deec5d2fb9dbb"; got != want {
		t.Errorf("Perm, Intn, Uint64: SHA-256 %s, want %s", got, want)
	}
}

// dst[j] does not depend on how many draws are asked for.
func TestDrawsDoNotDependOnLength(t *testing.T) {
	long, longU := make([]float32, 100), make([]float32, 100)
	Normal(long, 1, StepNoise, 2, 3)
	Uniform32(longU, 1, StepNoise, 2, 3)
	for n := range long {
		z, u := make([]float32, n), make([]float32, n)
		Normal(z, 1, StepNoise, 2, 3)
		Uniform32(u, 1, StepNoise, 2, 3)
		if !slices.Equal(z, long[:n]) || !slices.Equal(u, longU[:n]) {
			t.Fatalf("%d draws differ from the first %d of 100", n, n)
		}
	}
}

// The parts of Box-Muller agree with the library's functions.
func TestPolynomials(t *testing.T) {
	for i := range uint64(200000) {
		w := Uint64(1, Weights, 0, 0, i)
		u := float32(uint32(w)>>1) * 0x1p-31
		if i < 1000 {
			u = 1 - float32(i)*0x1p-24
		}
		if u > 0 {
			e, m := frexp(u)
			got, want := float64(float32(e*math.Ln2)+lnNear1(m)), math.Log(float64(u))
			if math.Abs(got-want) > 3e-7*math.Abs(want) {
				t.Fatalf("ln(%g) = %.9g, want %.9g", u, got, want)
			}
		}
		turn := uint32(w >> 32)
		if i < 64 {
			turn = uint32(i) << 26 // the borders of the octants
		}
		quadrant, x := reduce(turn)
		c, s := rotate(quadrant, cosNear0(x*x), sinNear0(x, x*x))
		wantS, wantC := math.Sincos(2 * math.Pi * float64(turn) / (1 << 32))
		if math.Abs(float64(c)-wantC) > 1.5e-7 || math.Abs(float64(s)-wantS) > 1.5e-7 {
			t.Fatalf("at %#x: cos, sin = %v, %v, want %v, %v", turn, c, s, wantC, wantS)
		}
	}
}

// The smallest u gives the largest radius, beyond 6.6; u is never 0.
func TestTails(t *testing.T) {
	z, _ := boxMuller(0)
	if z < 6.6 || z > 6.7 {
		t.Errorf("the largest draw is %v, want 6.66", z)
	}
	z, _ = boxMuller(0xffffffff)
	if z != 0 {
		t.Errorf("the smallest radius is %v, want 0", z)
	}
}

func TestNormalMoments(t *testing.T) {
	const n = 1 << 20
	z := make([]float32, n)
	Normal(z, 3, InitialNoise, 0, 0)
	var m [7]float64
	for _, v := range z {
		p := 1.0
		for k := range m {
			m[k] += p / n
			p *= float64(v)
		}
	}
	// E z^k = 0, 1, 0, 3, 0, 15; Var z^k = E z^2k - (E z^k)^2.
	want := [7]float64{1, 0, 1, 0, 3, 0, 15}
	variance := [7]float64{0, 1, 2, 15, 96, 945, 10170}
	for k := 1; k < 7; k++ {
		if d := math.Abs(m[k] - want[k]); d > 4*math.Sqrt(variance[k]/n) {
			t.Errorf("mean of z^%d is %v, want %v within 4 standard errors", k, m[k], want[k])
		}
	}
}

// ks is the Kolmogorov-Smirnov statistic sqrt(n) sup |F_n - F|; 1.95 is its
// 0.1 % point.
func ks(x []float32, cdf func(float64) float64) float64 {
	s := slices.Clone(x)
	slices.Sort(s)
	d, n := 0.0, float64(len(s))
	for i, v := range s {
		f := cdf(float64(v))
		d = max(d, f-float64(i)/n, float64(i+1)/n-f)
	}
	return d * math.Sqrt(n)
}

func TestDistributions(t *testing.T) {
	x := make([]float32, 200000)
	for seed := range uint64(3) {
		Normal(x, seed, TrainNoise, seed, 9)
		if d := ks(x, func(v float64) float64 { return 0.5 * math.Erfc(-v/math.Sqrt2) }); d > 1.95 {
			t.Errorf("seed %d: Kolmogorov-Smirnov distance of Normal is %v", seed, d)
		}
		Uniform32(x, seed, TrainNoise, seed, 9)
		if d := ks(x, func(v float64) float64 { return v }); d > 1.95 {
			t.Errorf("seed %d: Kolmogorov-Smirnov distance of Uniform32 is %v", seed, d)
		}
		for j := range x {
			x[j] = float32(float64At(seed, Weights, 1, 1, uint64(j)))
		}
		if d := ks(x, func(v float64) float64 { return v }); d > 1.95 {
			t.Errorf("seed %d: Kolmogorov-Smirnov distance of Uint64 is %v", seed, d)
		}
	}
}

// Neighbouring seeds, streams, indices and lags are uncorrelated.
func TestIndependence(t *testing.T) {
	const n = 1 << 16
	draw := func(seed uint64, s Stream, a, b uint64) []float32 {
		z := make([]float32, n+8)
		Normal(z, seed, s, a, b)
		return z
	}
	base := draw(5, StepNoise, 5, 5)
	others := map[string][]float32{
		"seed":   draw(6, StepNoise, 5, 5),
		"stream": draw(5, InitialNoise, 5, 5),
		"a":      draw(5, StepNoise, 4, 5),
		"b":      draw(5, StepNoise, 5, 4),
		"a, b":   draw(5, StepNoise, 4, 6),
		"lag 1":  base[1:],
		"lag 2":  base[2:],
		"lag 8":  base[8:],
	}
	for name, other := range others {
		r, r2 := 0.0, 0.0
		for j := range n {
			x, y := float64(base[j]), float64(other[j])
			r += x * y
			r2 += (x*x - 1) * (y*y - 1) / 2
		}
		if r, r2 = r/math.Sqrt(n), r2/math.Sqrt(n); math.Abs(r) > 4 || math.Abs(r2) > 4 {
			t.Errorf("%s: correlation of z is %.1f, of z^2 %.1f standard errors", name, r, r2)
		}
	}
}

// Every result of Intn is equally likely: chi-square over 10 values, and over
// the thirds of a range so large that a remainder would favour the low ones.
func TestIntnIsUnbiased(t *testing.T) {
	const draws = 60000
	const big = math.MaxInt / 4 * 3 // 3/8 of 2^64 where int has 64 bits
	var ten [10]float64
	var thirds [3]float64
	for j := range uint64(draws) {
		ten[Intn(1, Timestep, 0, 0, j, 10)]++
		v := Intn(1, Timestep, 1, 0, j, big)
		if v < 0 || v >= big {
			t.Fatalf("Intn(%d) = %d", big, v)
		}
		thirds[v/(big/3+1)]++
	}
	chi := func(count []float64) (c float64) {
		e := draws / float64(len(count))
		for _, v := range count {
			c += (v - e) * (v - e) / e
		}
		return c
	}
	if c := chi(ten[:]); c > 27.9 { // the 0.1 % point, 9 degrees of freedom
		t.Errorf("chi-square of Intn(10) is %v", c)
	}
	if c := chi(thirds[:]); c > 13.8 { // 2 degrees of freedom
		t.Errorf("chi-square of Intn(3/8 2^64) is %v", c)
	}
	if got := Intn(1, Timestep, 0, 0, 0, 1); got != 0 {
		t.Errorf("Intn(1) = %d", got)
	}
}

func TestPerm(t *testing.T) {
	// All 24 permutations of four are equally likely.
	const draws = 24000
	count := map[[4]int32]float64{}
	for a := range uint64(draws) {
		var p [4]int32
		Perm(p[:], 9, Shuffle, a)
		count[p]++
	}
	chi := 0.0
	for _, v := range count {
		chi += (v - draws/24) * (v - draws/24) / (draws / 24)
	}
	if len(count) != 24 || chi > 49.7 { // the 0.1 % point, 23 degrees of freedom
		t.Errorf("%d permutations of 4, chi-square %v", len(count), chi)
	}
	p := make([]int32, 1000)
	Perm(p, 9, Shuffle, 0)
	slices.Sort(p)
	for i, v := range p {
		if int(v) != i {
			t.Fatalf("not a permutation: sorted element %d is %d", i, v)
		}
	}
}

func TestNoAllocations(t *testing.T) {
	z, p := make([]float32, 1001), make([]int32, 100)
	if n := testing.AllocsPerRun(10, func() {
		Normal(z, 1, StepNoise, 2, 3)
		Uniform32(z, 1, Dropout, 2, 3)
		Perm(p, 1, Shuffle, 2)
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkNormal(b *testing.B) {
	z := make([]float32, 1<<14)
	for b.Loop() {
		Normal(z, 1, TrainNoise, 2, 3)
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*len(z)), "ns/draw")
}

// float64At is a uniform number of [0, 1): a multiple of 2^-53.
func float64At(seed uint64, s Stream, a, b, j uint64) float64 {
	return float64(Uint64(seed, s, a, b, j)>>11) * 0x1p-53
}
