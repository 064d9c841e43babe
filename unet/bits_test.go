package unet

import (
	"context"
	"fmt"
	"math"
	"runtime"
	"strings"
	"testing"

	"unstir/internal/alloctest"
	"unstir/internal/rng"
	"unstir/nn"
	"unstir/nn/kernel"
)

// smallConfig has every kind of layer: three levels, attention, shortcuts, odd numbers of channels.
func smallConfig() Config {
	c := Defaults()
	c.SampleSize = Size{H: 28, W: 20}
	c.InChannels, c.OutChannels = 3, 3
	c.BlockOutChannels = []int{16, 24, 40}
	c.DownBlockTypes = []string{"DownBlock2D", "DownBlock2D", "AttnDownBlock2D"}
	c.UpBlockTypes = []string{"AttnUpBlock2D", "UpBlock2D", "UpBlock2D"}
	c.LayersPerBlock, c.NormNumGroups, c.AttentionHeadDim, c.Dropout = 1, 4, 8, 0.1
	return c
}

// randomModel has no zero weights: New's would hide what the residual branches do.
func randomModel(t *testing.T, c Config) *Model {
	t.Helper()
	params, err := Layout(c)
	if err != nil {
		t.Fatal(err)
	}
	m := &Model{Config: c, Params: params, flat: make([]float32, params.Len())}
	for i := range params.List {
		w := params.View(m.flat, i)
		rng.Normal(w, 3, rng.Weights, uint64(i), 0)
		for j := range w {
			w[j] *= 0.2
		}
	}
	return m
}

func noise(n int, key uint64) []float32 {
	x := make([]float32, n)
	rng.Normal(x, key, rng.InitialNoise, 0, 0)
	return x
}

func predict(t *testing.T, m *Model, batch int, x []float32, ts []int) []float32 {
	t.Helper()
	p, err := NewPredictor(m, batch, m.Config.SampleSize.H, m.Config.SampleSize.W)
	if err != nil {
		t.Fatal(err)
	}
	out := make([]float32, len(x))
	if err := p.Predict(context.Background(), out, x, ts); err != nil {
		t.Fatal(err)
	}
	return out
}

func equalBits(t *testing.T, what string, a, b []float32) {
	t.Helper()
	for i := range a {
		if math.Float32bits(a[i]) != math.Float32bits(b[i]) {
			t.Fatalf("%s: element %d is %v and %v", what, i, a[i], b[i])
		}
	}
}

// withThreads runs f with a number of threads.
func withThreads(n int, f func()) {
	old := kernel.Threads()
	kernel.SetThreads(n)
	defer kernel.SetThreads(old)
	f()
}

// An image's prediction is the same alone and in any batch, on any number of threads, at both SIMD levels.
func TestPredictionBits(t *testing.T) {
	m := randomModel(t, smallConfig())
	const n = 5
	dim := 3 * 28 * 20
	x, ts := noise(n*dim, 1), []int{0, 10, 400, 998, 999}
	want := predict(t, m, n, x, ts)
	for _, batch := range []int{1, 2, 4} {
		equalBits(t, fmt.Sprintf("batch %d", batch), predict(t, m, batch, x, ts), want)
	}
	for _, threads := range []int{1, 2, 3, 4, 16} {
		withThreads(threads, func() {
			equalBits(t, fmt.Sprintf("%d threads", threads), predict(t, m, n, x, ts), want)
		})
	}
	eachSIMDLevel(t, func(level kernel.Level) {
		equalBits(t, level.String(), predict(t, m, n, x, ts), want)
	})
}

// eachSIMDLevel runs f at AVX2 and at AVX-512 where the machine has both; of one that it has not, it says so by a
// subtest that is skipped.
func eachSIMDLevel(t *testing.T, f func(kernel.Level)) {
	t.Helper()
	active := kernel.ThisCPU().Level
	defer func() {
		if err := kernel.SetLevel(active); err != nil {
			t.Error(err)
		}
	}()
	for _, level := range []kernel.Level{kernel.AVX2, kernel.AVX512} {
		if active < kernel.AVX2 || kernel.SetLevel(level) != nil {
			t.Run(level.String(), func(t *testing.T) {
				t.Skipf("SKIP: no %v in this machine, build or UNSTIR_CPU: that it gives the same bits is not tested", level)
			})
			continue
		}
		f(level)
	}
}

func gradient(t *testing.T, m *Model, slice, n int) (float64, []float32) {
	t.Helper()
	h, w := m.Config.SampleSize.H, m.Config.SampleSize.W
	d, err := NewGradient(m.Config, m.Params, m.flat, GradientOptions{Slice: slice, H: h, W: w})
	if err != nil {
		t.Fatal(err)
	}
	dim := m.Config.InChannels * h * w
	e := Example{X: noise(n*dim, 1), Target: noise(n*dim, 2), T: make([]int, n), Seed: 4, Step: 5}
	for i := range e.T {
		e.T[i] = 37 * i
	}
	loss, err := d.Run(context.Background(), e, nil)
	if err != nil {
		t.Fatal(err)
	}
	return loss, d.Grad()
}

// The gradient is the same on any number of threads and at both SIMD levels; with plain Go, and cut into other
// slices, it agrees within rounding.
func TestGradientBits(t *testing.T) {
	m := randomModel(t, smallConfig())
	loss, want := gradient(t, m, 2, 5)
	check := func(what string) {
		l, g := gradient(t, m, 2, 5)
		if math.Float64bits(l) != math.Float64bits(loss) {
			t.Errorf("%s: loss %v and %v", what, l, loss)
		}
		equalBits(t, what, g, want)
	}
	check("again")
	for _, threads := range []int{1, 2, 3, 4, 16} {
		withThreads(threads, func() { check(fmt.Sprintf("%d threads", threads)) })
	}
	eachSIMDLevel(t, func(level kernel.Level) { check(level.String()) })

	near := func(what string, l float64, g []float32) {
		if e := math.Abs(l/loss - 1); e > 1e-5 {
			t.Errorf("%s: the loss is off by %.2g", what, e)
		}
		for i, p := range m.Params.List {
			a, b := m.Params.View(g, i), m.Params.View(want, i)
			var diff, largest float64
			for j := range a {
				diff = math.Max(diff, math.Abs(float64(a[j]-b[j])))
				largest = math.Max(largest, math.Abs(float64(b[j])))
			}
			if !(diff <= 1e-3*largest+1e-6) {
				t.Errorf("%s: the gradient of %s is off by %.2g where its largest value is %.2g", what, p.Name, diff, largest)
			}
		}
	}
	l, g := gradient(t, m, 5, 5)
	near("one slice", l, g)
	active := kernel.ThisCPU().Level
	if err := kernel.SetLevel(kernel.Generic); err != nil {
		t.Fatal(err)
	}
	defer kernel.SetLevel(active)
	l, g = gradient(t, m, 2, 5)
	near("plain Go", l, g)
}

// After the first, gradients and predictions allocate nothing, on one thread or several.
func TestStepsDoNotAllocate(t *testing.T) {
	m := randomModel(t, smallConfig())
	h, w := m.Config.SampleSize.H, m.Config.SampleSize.W
	const n = 3
	dim := 3 * h * w
	d, err := NewGradient(m.Config, m.Params, m.flat, GradientOptions{Slice: 2, H: h, W: w})
	if err != nil {
		t.Fatal(err)
	}
	p, err := NewPredictor(m, n, h, w)
	if err != nil {
		t.Fatal(err)
	}
	e := Example{X: noise(n*dim, 1), Target: noise(n*dim, 2), T: []int{1, 2, 3}}
	out, ctx := make([]float32, n*dim), context.Background()
	gradient := func() {
		if _, err := d.Run(ctx, e, nil); err != nil {
			t.Fatal(err)
		}
	}
	prediction := func() {
		if err := p.Predict(ctx, out, e.X, e.T); err != nil {
			t.Fatal(err)
		}
	}
	gradient()
	prediction()
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(2))
	for _, threads := range []int{1, 2} {
		withThreads(threads, func() {
			if got := alloctest.Count(5, gradient); got > 0 {
				t.Errorf("%d threads: 5 gradients made %d allocations", threads, got)
			}
			if got := alloctest.Count(5, prediction); got > 0 {
				t.Errorf("%d threads: 5 predictions made %d allocations", threads, got)
			}
		})
	}
}

func TestSizesThatDoNotFit(t *testing.T) {
	c := smallConfig()
	for _, x := range []struct {
		h, w int
		want string
	}{
		{28, 28, ""},
		{30, 28, "28 or 32 rows and 28 columns"},
		{3, 29, "4 rows and 28 or 32 columns"},
	} {
		err := c.CheckSize(x.h, x.w)
		switch {
		case x.want == "" && err != nil:
			t.Error(err)
		case x.want != "" && (err == nil || !containsAll(err.Error(), x.want)):
			t.Errorf("%dx%d: %v, want %q", x.h, x.w, err, x.want)
		}
	}
}

// Predictors of one model share its transformed filters; beyond the limit filters are transformed at every run,
// with the same bits.
func TestSharedFilters(t *testing.T) {
	c := smallConfig()
	dim := 3 * 28 * 20
	x, ts := noise(2*dim, 1), []int{5, 600}
	want := predict(t, randomModel(t, c), 2, x, ts)
	for _, limit := range []int{0, 100 << 10} {
		m := randomModel(t, c)
		m.makeFilters.Do(func() { m.filters = nn.NewFilters(limit) })
		equalBits(t, fmt.Sprintf("limit of %d bytes", limit), predict(t, m, 2, x, ts), want)
	}
	for limit, kept := range map[int]bool{0: false, 100 << 20: true} { // which the plan tells
		m := randomModel(t, c)
		m.makeFilters.Do(func() { m.filters = nn.NewFilters(limit) })
		p, err := NewPredictor(m, 1, 28, 20)
		if err != nil {
			t.Fatal(err)
		}
		if err := p.Predict(context.Background(), make([]float32, dim), x[:dim], ts[:1]); err != nil {
			t.Fatal(err)
		}
		first := p.Machine().Plan()[0]
		if name := first.Algorithm(1, kernel.ThisCPU()); strings.HasSuffix(name, "packed once") != kept {
			t.Errorf("limit of %d bytes: %s is computed by %s", limit, first.Op, name)
		}
	}
	m := randomModel(t, c)
	predict(t, m, 2, x, ts)
	var before, after runtime.MemStats
	p, err := NewPredictor(m, 1, 28, 20)
	if err != nil {
		t.Fatal(err)
	}
	out := make([]float32, dim)
	runtime.ReadMemStats(&before)
	if err := p.Predict(context.Background(), out, x[:dim], ts[:1]); err != nil {
		t.Fatal(err)
	}
	runtime.ReadMemStats(&after)
	if got := after.TotalAlloc - before.TotalAlloc; got > 64<<10 {
		t.Errorf("a second predictor allocated %d bytes at its first run: the filters are not shared", got)
	}
	equalBits(t, "second predictor", out, want[:dim])
}
