package metrics

import (
	"context"
	"errors"
	"math"
	"runtime"
	"slices"
	"strings"
	"testing"

	"unstir/internal/leaktest"
	"unstir/nn/kernel"
)

// together are the rows of some features, one after the other.
func together(all ...Features) Features {
	out := Features{D: all[0].D}
	for _, f := range all {
		out.N += f.N
		out.Data = append(out.Data, f.Data...)
	}
	return out
}

func moved(f Features, by float64) Features {
	out := Features{f.N, f.D, slices.Clone(f.Data)}
	for i := range out.Data {
		out.Data[i] += by
	}
	return out
}

// plainMMD2 is the definition, pair by pair.
func plainMMD2(x, y Features) float64 {
	mean := func(a, b Features, same bool) float64 {
		sum, pairs := 0.0, 0
		for i := range a.N {
			for j := range b.N {
				if same && i == j {
					continue
				}
				dot := 0.0
				for l := range a.D {
					dot += a.row(i)[l] * b.row(j)[l]
				}
				sum += math.Pow(dot/float64(a.D)+1, 3)
				pairs++
			}
		}
		return sum / float64(pairs)
	}
	return mean(x, x, true) + mean(y, y, true) - 2*mean(x, y, false)
}

func TestMMD2(t *testing.T) {
	mmd := func(x, y Features) float64 { return mmd2(x, y, make([]float64, tileLen)) }
	// By hand: x = 0, 1 and y = 2, 3. Within: (0+1)³ = 1 and (6+1)³ = 343; across: 1, 1, (2+1)³ = 27 and (3+1)³ = 64.
	got := mmd(Features{2, 1, []float64{0, 1}}, Features{2, 1, []float64{2, 3}})
	near(t, "by hand", got, 1+343-2*(1+1+27+64)/4.0, 1e-15, 0)

	for _, n := range []int{2, 63, 65, 300, 517} { // tiles of 64 x 240
		x, y := normal(1, n, 7, 0, 1), normal(2, n, 7, 0.3, 1.1)
		got := mmd(x, y)
		near(t, "of random rows", got, plainMMD2(x, y), 1e-11, 1e-12)
		near(t, "exchanged, in another order", mmd(y.choose(permutation(n, 5, 0)), x), got, 1e-11, 1e-12)
	}
}

// With as many samples as a subset has rows, every subset is the whole set, and the deviation is none.
func TestKernelOfWholeSets(t *testing.T) {
	x, y := normal(1, 150, 8, 0, 1), normal(2, 150, 8, 0.2, 1)
	want := mmd2(x, y, make([]float64, tileLen))
	mean, std, err := Kernel(t.Context(), x, y, 3)
	if err != nil {
		t.Fatal(err)
	}
	near(t, "mean", mean, want, 1e-11, 0)
	near(t, "deviation", std, 0, 0, 1e-11)
	for i := range 3 { // subsets are drawn without replacement
		s, r := KernelSubset(3, i, 150, 200, 150)
		slices.Sort(s)
		slices.Sort(r)
		if s[0] != 0 || s[149] != 149 || len(slices.Compact(s)) != 150 || len(slices.Compact(r)) != 150 || r[149] > 199 {
			t.Errorf("subset %d: %v, %v", i, s, r)
		}
	}
}

// Sets of one distribution have a kernel distance of 0 within the deviation, others do not.
func TestKernelTellsDistributionsApart(t *testing.T) {
	all := normal(1, 900, 8, 0, 1)
	same, std, err := Kernel(t.Context(), all.part(0, 400), all.part(400, 900), 1)
	if err != nil {
		t.Fatal(err)
	}
	far, _, err := Kernel(t.Context(), all.part(0, 400), moved(all.part(400, 900), 0.5), 1)
	if err != nil {
		t.Fatal(err)
	}
	if math.Abs(same) > 3*std || far < 20*std {
		t.Errorf("one distribution %v ± %v, two %v", same, std, far)
	}
}

// plainManifold is the definition, with sorted distances.
func plainManifold(samples, references Features, k int) Manifold {
	distance := func(a, b []float64) float64 {
		sum := 0.0
		for i := range a {
			sum += (a[i] - b[i]) * (a[i] - b[i])
		}
		return math.Sqrt(sum)
	}
	radius := func(f Features, i int) float64 {
		var all []float64
		for j := range f.N {
			if j != i {
				all = append(all, distance(f.row(i), f.row(j)))
			}
		}
		slices.Sort(all)
		return all[k-1]
	}
	var m Manifold
	for i := range samples.N {
		in := 0
		for j := range references.N {
			in += count(distance(samples.row(i), references.row(j)) < radius(references, j))
		}
		m.Precision += float64(count(in > 0)) / float64(samples.N)
		m.Density += float64(in) / float64(k) / float64(samples.N)
	}
	for j := range references.N {
		recalled, covered := false, false
		for i := range samples.N {
			d := distance(samples.row(i), references.row(j))
			recalled = recalled || d < radius(samples, i)
			covered = covered || d < radius(references, j)
		}
		m.Recall += float64(count(recalled)) / float64(references.N)
		m.Coverage += float64(count(covered)) / float64(references.N)
	}
	return m
}

func sameManifold(t *testing.T, what string, got, want Manifold) {
	t.Helper()
	near(t, what+": precision", got.Precision, want.Precision, 0, 1e-12)
	near(t, what+": recall", got.Recall, want.Recall, 0, 1e-12)
	near(t, what+": density", got.Density, want.Density, 0, 1e-12)
	near(t, what+": coverage", got.Coverage, want.Coverage, 0, 1e-12)
}

func TestManifoldIsItsDefinition(t *testing.T) {
	for _, s := range [][4]int{{30, 40, 3, 1}, {70, 65, 5, 5}, {130, 70, 2, 3}, {6, 300, 4, 5}} {
		x, y := normal(1, s[0], s[2], 0, 1), normal(2, s[1], s[2], 0.3, 0.8)
		got, err := CompareManifolds(t.Context(), x, y, s[3])
		if err != nil {
			t.Fatal(err)
		}
		want := plainManifold(x, y, s[3])
		sameManifold(t, "random", got, want)
		got, err = CompareManifolds(t.Context(), x.choose(permutation(x.N, 1, 0)), y.choose(permutation(y.N, 1, 1)), s[3])
		if err != nil {
			t.Fatal(err)
		}
		sameManifold(t, "in another order", got, want)
	}
}

// Each reference has itself and the k-1 nearest others in its neighbourhood, and the k-th on its border.
func TestManifoldOfSameAndDisjointSets(t *testing.T) {
	x := normal(1, 400, 16, 0, 1)
	for k := 1; k < 7; k++ {
		got, err := CompareManifolds(t.Context(), x, x, k)
		if err != nil {
			t.Fatal(err)
		}
		sameManifold(t, "the same set", got, Manifold{1, 1, 1, 1})
	}
	got, err := CompareManifolds(t.Context(), x, moved(x, 1000), 5)
	if err != nil {
		t.Fatal(err)
	}
	sameManifold(t, "disjoint sets", got, Manifold{})
	// Half of the samples are references, half are nowhere near.
	got, err = CompareManifolds(t.Context(), together(x, moved(x, 1000)), x, 5)
	if err != nil {
		t.Fatal(err)
	}
	sameManifold(t, "half of them", got, Manifold{0.5, 1, 0.5, 1})

	for _, k := range []int{0, 30} {
		if _, err := CompareManifolds(t.Context(), x.part(0, 30), x, k); err == nil {
			t.Errorf("the %d-th neighbour of 30", k)
		}
	}
}

func TestNearCopies(t *testing.T) {
	training := normal(1, 700, 10, 0, 1)
	test := normal(1, 1000, 10, 0, 1).part(700, 1000) // of the same distribution
	fresh := normal(1, 1300, 10, 0, 1).part(1000, 1300)
	samples := Features{300, 10, slices.Clone(fresh.Data)}
	copied := map[int]int{5: 123, 77: 0, 299: 699}
	for i, j := range copied {
		copy(samples.row(i), training.row(j))
	}
	c, err := NearCopies(t.Context(), samples, test, training)
	if err != nil {
		t.Fatal(err)
	}
	base, err := NearCopies(t.Context(), fresh, test, training)
	if err != nil {
		t.Fatal(err)
	}
	if got := math.Round(300 * (c.Share - base.Share)); got != 3 || base.Share > 0.04 {
		t.Errorf("%v more copies than %v of 300, want 3", got, 300*base.Share)
	}
	if !slices.IsSortedFunc(c.Nearest, func(a, b Pair) int { return int(math.Copysign(1, a.Distance-b.Distance)) }) {
		t.Error("the pairs are not sorted")
	}
	for _, p := range c.Nearest[:3] {
		if want, ok := copied[p.Sample]; !ok || want != p.Training || p.Distance != 0 {
			t.Errorf("%+v is among the nearest pairs", p)
		}
	}
	for _, p := range c.Nearest { // the definition
		best, at := math.Inf(1), 0
		for j := range training.N {
			sum := 0.0
			for l, v := range training.row(j) {
				sum += (v - samples.row(p.Sample)[l]) * (v - samples.row(p.Sample)[l])
			}
			if sum < best {
				best, at = sum, j
			}
		}
		if at != p.Training {
			t.Errorf("sample %d is nearest to %d, want %d", p.Sample, p.Training, at)
		}
		near(t, "a distance", p.Distance, math.Sqrt(best), 1e-12, 0)
	}
	pairs, err := nearest(t.Context(), test, training, pack(training))
	if err != nil {
		t.Fatal(err)
	}
	below := 0
	for _, p := range pairs {
		below += count(p.Distance < c.Threshold)
	}
	if below != 3 { // 1 % of 299 intervals: between the third and the fourth
		t.Errorf("%d of 300 test images are below the threshold, want 3", below)
	}
}

func TestPercentile(t *testing.T) {
	for _, test := range []struct {
		values        []float64
		percent, want float64
	}{
		{[]float64{7}, 1, 7},
		{[]float64{5, 1}, 1, 1.04},
		{[]float64{3, 1, 2}, 50, 2},
		{[]float64{4, 3, 2, 1}, 50, 2.5},
		{[]float64{1, 2, 3}, 100, 3},
	} {
		near(t, "the percentile", percentile(test.values, test.percent), test.want, 1e-15, 0)
	}
}

func TestEntropy(t *testing.T) {
	for _, test := range []struct {
		h    []int
		want float64
	}{
		{[]int{5, 0, 0}, 0},
		{[]int{3, 3, 3}, math.Log(3)},
		{[]int{1, 1, 2, 0}, 1.5 * math.Ln2},
		{[]int{0, 0}, 0},
	} {
		near(t, "the entropy", entropy(test.h), test.want, 1e-15, 0)
	}
	if h, err := histogram([]int{0, 2, 2}, 4); err != nil || !slices.Equal(h, []int{1, 0, 2, 0}) {
		t.Errorf("histogram %v, %v", h, err)
	}
	for _, bad := range []int{-1, 4} {
		if _, err := histogram([]int{1, bad}, 4); err == nil || !strings.Contains(err.Error(), "image 1 is of class") {
			t.Errorf("class %d of 4: %v", bad, err)
		}
	}
}

// Whoever waits is let go soon after the context is done, and nothing is left running.
func TestStopsOnItsContext(t *testing.T) {
	before := runtime.NumGoroutine()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	x := normal(1, 200, 8, 0, 1)
	for what, err := range map[string]error{
		"Kernel":           second(Kernel(ctx, x, x, 0)),
		"CompareManifolds": first(CompareManifolds(ctx, x, x, 5)),
		"NearCopies":       first(NearCopies(ctx, x, x, x)),
		"Evaluate":         first(Evaluate(ctx, Input{Samples: x, References: x})),
	} {
		if !errors.Is(err, context.Canceled) {
			t.Errorf("%s: %v", what, err)
		}
	}
	leaktest.Goroutines(t, before)
}

func first[A any](_ A, err error) error          { return err }
func second[A, B any](_ A, _ B, err error) error { return err }

// The number of threads changes no bit.
func TestThreadsChangeNothing(t *testing.T) {
	defer kernel.SetThreads(kernel.Threads())
	in := Input{Samples: normal(1, 300, 8, 0, 1), References: normal(2, 400, 8, 0.1, 1), Training: normal(2, 900, 8, 0.1, 1), Noise: normal(3, 300, 8, 3, 1), Seed: 5}
	var want *Result
	for _, threads := range []int{1, 2, 5} {
		kernel.SetThreads(threads)
		got, err := Evaluate(t.Context(), in)
		if err != nil {
			t.Fatal(err)
		}
		if want == nil {
			want = got
		}
		sameJSON(t, got, want)
		if !slices.Equal(got.Copies.Nearest, want.Copies.Nearest) || got.Copies.Threshold != want.Copies.Threshold {
			t.Errorf("%d threads: other copies", threads)
		}
	}
}
