package metrics

import (
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

// normal are n rows of d correlated normal numbers around a mean.
func normal(seed uint64, n, d int, mean, scale float64) Features {
	r := rand.New(rand.NewPCG(seed, 1))
	mix := make([]float64, d*d)
	for i := range mix {
		mix[i] = r.NormFloat64() / math.Sqrt(float64(d))
	}
	f := Features{n, d, make([]float64, n*d)}
	z := make([]float64, d)
	for i := range n {
		for j := range z {
			z[j] = r.NormFloat64()
		}
		for j := range d {
			v := mean
			for l, zl := range z {
				v += scale * mix[l*d+j] * zl
			}
			f.Data[i*d+j] = v
		}
	}
	return f
}

func near(t *testing.T, what string, got, want, relative, absolute float64) {
	t.Helper()
	if off := math.Abs(got - want); !(off <= relative*math.Abs(want)+absolute) {
		t.Errorf("%s is %v, want %v: off by %.2g", what, got, want, off)
	}
}

func TestFrechetDistanceOfKnownGaussians(t *testing.T) {
	// The trace of the root of a 2x2 matrix M is (tr M + 2 (det M)^½)^½. The two that do not commute have the product
	// [5 -1; 1 1], of trace 6 and determinant 6.
	for _, test := range []struct {
		what string
		a, b Gaussian
		want float64
	}{
		{"means only", Gaussian{2, []float64{1, 2}, []float64{1, 0, 0, 1}}, Gaussian{2, []float64{4, -2}, []float64{1, 0, 0, 1}}, 25},
		{"deviations 3 and 1", Gaussian{1, []float64{0}, []float64{9}}, Gaussian{1, []float64{0}, []float64{1}}, 4},
		{"diagonal: means 1 apart, deviations 1, 2 and 3, 5", Gaussian{2, []float64{0, 1}, []float64{1, 0, 0, 4}}, Gaussian{2, []float64{0, 0}, []float64{9, 0, 0, 25}}, 1 + 4 + 9},
		{"not commuting", Gaussian{2, []float64{0, 0}, []float64{2, 1, 1, 2}}, Gaussian{2, []float64{0, 0}, []float64{3, -1, -1, 1}}, 8 - 2*math.Sqrt(6+2*math.Sqrt(6))},
		{"a line and a ball: tr = 5 + 2, root (vᵀv)^½", Gaussian{2, []float64{0, 0}, []float64{1, 2, 2, 4}}, Gaussian{2, []float64{0, 0}, []float64{1, 0, 0, 1}}, 7 - 2*math.Sqrt(5)},
		{"two points", Gaussian{2, []float64{3, 0}, make([]float64, 4)}, Gaussian{2, []float64{0, 4}, make([]float64, 4)}, 25},
		{"a point and a ball of variance 2", Gaussian{3, []float64{0, 0, 0}, make([]float64, 9)}, Gaussian{3, []float64{1, 0, 0}, []float64{2, 0, 0, 0, 2, 0, 0, 0, 2}}, 7},
	} {
		for _, pair := range [][2]Gaussian{{test.a, test.b}, {test.b, test.a}} {
			got, err := FrechetDistance(pair[0], pair[1])
			if err != nil {
				t.Fatal(err)
			}
			near(t, test.what, got, test.want, 1e-13, 0)
		}
	}
}

// Scaling features by c about 0 and moving them by b changes their mean and covariance in a known way, exactly.
func TestFrechetOfScaledAndMovedFeatures(t *testing.T) {
	const n, d, c, b = 300, 20, 1.5, 0.25
	x := normal(1, n, d, 1, 2)
	y := Features{n, d, slices.Clone(x.Data)}
	for i := range y.Data {
		y.Data[i] = c*y.Data[i] + b
	}
	g, err := Fit(x)
	if err != nil {
		t.Fatal(err)
	}
	want := 0.0
	for j := range d {
		move := (c-1)*g.Mean[j] + b
		want += move*move + (c-1)*(c-1)*g.Cov[j*d+j]
	}
	got, err := Frechet(x, y)
	if err != nil {
		t.Fatal(err)
	}
	near(t, "the distance", got, want, 1e-12, 0)
}

func TestFitIsTheMeanAndTheUnbiasedCovariance(t *testing.T) {
	g, err := Fit(Features{4, 2, []float64{1, 0, 3, 2, 5, 0, 7, 6}})
	if err != nil {
		t.Fatal(err)
	}
	if want := []float64{4, 2}; !slices.Equal(g.Mean, want) {
		t.Errorf("mean %v, want %v", g.Mean, want)
	}
	for i, want := range []float64{20.0 / 3, 16.0 / 3, 16.0 / 3, 8} {
		near(t, "a covariance", g.Cov[i], want, 1e-15, 0)
	}
}

func TestFrechetOfTheSameSetIsNone(t *testing.T) {
	x := normal(2, 500, 64, 1, 1)
	got, err := Frechet(x, x)
	if err != nil {
		t.Fatal(err)
	}
	near(t, "the distance", got, 0, 0, 1e-9) // of a trace of about 64
}

// Neither the order of rows nor that of features matters, and neither does which side is which.
func TestFrechetOfPermutations(t *testing.T) {
	x, y := normal(3, 200, 16, 0, 1), normal(4, 300, 16, 0.2, 1.2)
	want, err := Frechet(x, y)
	if err != nil {
		t.Fatal(err)
	}
	columns := func(f Features) Features {
		out := Features{f.N, f.D, make([]float64, len(f.Data))}
		for i := range f.Data {
			out.Data[i] = f.Data[i/f.D*f.D+(5*(i%f.D)+3)%f.D]
		}
		return out
	}
	for what, pair := range map[string][2]Features{
		"of rows in another order":    {x.choose(permutation(x.N, 1, 1)), y},
		"of columns in another order": {columns(x), columns(y)},
		"of the sides exchanged":      {y, x},
	} {
		got, err := Frechet(pair[0], pair[1])
		if err != nil {
			t.Fatal(err)
		}
		near(t, "the distance "+what, got, want, 1e-12, 0)
	}
}

// Features that depend on one another have singular covariances. The distance of repeated features is twice that of the
// features, and constant ones add the square of their difference only.
func TestFrechetOfSingularCovariances(t *testing.T) {
	x, y := normal(5, 400, 16, 0, 1), normal(6, 400, 16, 0.02, 1.02)
	want, err := Frechet(x, y)
	if err != nil {
		t.Fatal(err)
	}
	widen := func(f Features, column func(row []float64, j int) float64) Features {
		out := Features{f.N, 2 * f.D, make([]float64, 2*len(f.Data))}
		for i := range f.N {
			for j := range f.D {
				out.row(i)[2*j], out.row(i)[2*j+1] = f.row(i)[j], column(f.row(i), j)
			}
		}
		return out
	}
	repeat := func(row []float64, j int) float64 { return row[j] }
	dead := func([]float64, int) float64 { return 0.5 }
	got, err := Frechet(widen(x, repeat), widen(y, repeat))
	if err != nil {
		t.Fatal(err)
	}
	near(t, "the distance of repeated features", got, 2*want, 1e-12, 0)
	got, err = Frechet(widen(x, dead), widen(y, dead))
	if err != nil {
		t.Fatal(err)
	}
	near(t, "the distance with constant features", got, want, 1e-12, 0)
	g, err := Fit(x)
	if err != nil {
		t.Fatal(err)
	}
	for j := range g.D {
		want += (g.Mean[j]-0.5)*(g.Mean[j]-0.5) + g.Cov[j*g.D+j]
	}
	got, err = Frechet(widen(x, repeat), widen(y, dead))
	if err != nil {
		t.Fatal(err)
	}
	near(t, "the distance with features constant on one side", got, want, 1e-12, 0)
}

// The draws of real images are disjoint, so the mean of their squared distances is that of a hand-made split.
func TestFrechetRealIsTheMeanOfDisjointDraws(t *testing.T) {
	training, references := normal(7, 230, 4, 0, 1), normal(8, 100, 4, 0, 1)
	for n, wantDraws := range map[int]int{40: 5, 60: 3, 230: 1, 231: 0} {
		got, draws, err := frechetReal(t.Context(), training, references, n, 9)
		if err != nil || draws != wantDraws {
			t.Fatalf("of %d: %d draws, %v; want %d", n, draws, err, wantDraws)
		}
		order, want := permutation(training.N, 9, trainingDraws), 0.0
		for i := range draws {
			v, err := Frechet(training.choose(order[i*n:(i+1)*n]), references)
			if err != nil {
				t.Fatal(err)
			}
			want += v / float64(draws)
		}
		near(t, "the mean", got, want, 1e-15, 0)
		if n == 230 {
			all, err := Frechet(training, references)
			if err != nil {
				t.Fatal(err)
			}
			near(t, "of all", got, all, 1e-12, 0)
		}
	}
}

func TestFrechetRefusesWhatItCannotCompare(t *testing.T) {
	good := normal(1, 20, 3, 0, 1)
	with := func(v float64) Features {
		f := Features{good.N, good.D, slices.Clone(good.Data)}
		f.Data[7] = v
		return f
	}
	for says, pair := range map[string][2]Features{
		"metrics: samples: 3 rows of 3 features: the covariance needs at least 4":    {good.part(0, 3), good},
		"metrics: references: 3 rows of 3 features: the covariance needs at least 4": {good, good.part(0, 3)},
		"metrics: samples: row 2 has NaN in column 1":                                {with(math.NaN()), good},
		"metrics: references: row 2 has +Inf in column 1":                            {good, with(math.Inf(1))},
		"metrics: samples: row 2 has 1e+21 in column 1":                              {with(1e21), good},
		"the samples have 3 features, the references 2":                              {good, normal(1, 20, 2, 0, 1)},
		"samples: 5 numbers for shape [2, 3]":                                        {Features{2, 3, make([]float64, 5)}, good},
		"references: 0 numbers for shape [0, 3]":                                     {good, Features{0, 3, nil}},
		"references: 4 numbers for shape [-2, -2]":                                   {good, Features{-2, -2, make([]float64, 4)}},
	} {
		if _, err := Frechet(pair[0], pair[1]); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("error %v, want %q", err, says)
		}
	}
	if _, err := Fit(good.part(0, 2)); err == nil {
		t.Error("2 rows of 3 features are fitted")
	}
	if _, err := FrechetDistance(Gaussian{2, make([]float64, 2), make([]float64, 4)}, Gaussian{2, make([]float64, 2), make([]float64, 3)}); err == nil {
		t.Error("a covariance of 3 numbers is taken")
	}
	for _, v := range []float64{math.NaN(), math.Inf(1)} {
		bad := Gaussian{2, make([]float64, 2), []float64{1, v, v, 1}}
		if got, err := FrechetDistance(bad, Gaussian{2, make([]float64, 2), []float64{1, 0, 0, 1}}); err == nil {
			t.Errorf("a covariance with %v is taken: %v", v, got)
		}
	}
}
