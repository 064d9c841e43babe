package diffusion

import (
	"context"
	"errors"
	"math"
	"slices"
	"strings"
	"testing"
)

// modelFunc is a model that sees one number at a time.
type modelFunc func(x float64, t int) float64

func (f modelFunc) Predict(_ context.Context, out, x []float64, ts []int) error {
	dim := len(x) / len(ts)
	for j, v := range x {
		out[j] = f(v, ts[j/dim])
	}
	return nil
}

// The sums of diffusers' own tests of DDIMScheduler.
func TestPublishedDDIMSums(t *testing.T) {
	for _, c := range []struct {
		what   string
		change func(*Config)
		want   float64
	}{
		{"epsilon", nil, 172.0067},
		{"v_prediction", func(c *Config) { c.PredictionType = VPrediction }, 52.5302},
		{"beta_start 0.01", func(c *Config) { c.BetaStart = 0.01 }, 149.8295},
		{"beta_start 0.01, set_alpha_to_one false", func(c *Config) { c.BetaStart, c.SetAlphaToOne = 0.01, false }, 149.0784},
	} {
		b := &Batch{N: 4, Dim: 192, X: make([]float64, 768)}
		for j := range b.X {
			b.X[j] = float64(j) / 768
		}
		d := mustNew(t, "ddim", newSchedule(t, c.change), Options{Steps: 10})
		sum := 0.0
		for _, v := range mustSample(t, d, modelFunc(func(x float64, t int) float64 { return x * float64(t) / float64(t+1) }), b) {
			sum += math.Abs(v)
		}
		if math.Abs(sum-c.want) > 1e-3 {
			t.Errorf("%s: sum |x| = %.4f, want %.4f", c.what, sum, c.want)
		}
	}
}

// Without clipping, DDIM with eta = 1 over all steps is DDPM with the
// posterior variance.
func TestDDIMWithEtaOneIsDDPM(t *testing.T) {
	for _, predicts := range predictionTypes {
		s := newSchedule(t, func(c *Config) { c.PredictionType = predicts })
		m := gaussian{s, 0.2, 0.7}
		ddpm := mustSample(t, mustNew(t, "ddpm", s, Options{Steps: s.T, Clip: ClipNone, Variance: VariancePosterior}), m, initial(2, 20, 0))
		ddim := mustSample(t, mustNew(t, "ddim", s, Options{Steps: s.T, Clip: ClipNone, Eta: 1}), m, initial(2, 20, 0))
		if d := relative(ddim, ddpm); d > 1e-9 {
			t.Errorf("%s: they differ by %.3g", predicts, d)
		}
	}
}

// The two forms of DDPM are one: a clip that nothing reaches changes nothing.
func TestBothFormsOfDDPMAgree(t *testing.T) {
	s := newSchedule(t, func(c *Config) { c.ClipSampleRange = 1e9 })
	m := toy{0.9, 0.001}
	for _, steps := range []int{1000, 50} {
		plain := mustSample(t, mustNew(t, "ddpm", s, Options{Steps: steps, Clip: ClipNone}), m, initial(2, 20, 0))
		clipping := mustSample(t, mustNew(t, "ddpm", s, Options{Steps: steps, Clip: ClipStatic}), m, initial(2, 20, 0))
		if d := relative(clipping, plain); d > 1e-9 {
			t.Errorf("%d steps: they differ by %.3g", steps, d)
		}
	}
}

// The first-order DPM-Solver++ is DDIM.
func TestDPMSolverOfOrderOneIsDDIM(t *testing.T) {
	s := newSchedule(t, nil)
	o := Options{Timesteps: []int{950, 700, 420, 111, 3}, Clip: ClipNone}
	a := mustSample(t, mustNew(t, "dpm++1", s, o), toy{0.9, 0.001}, initial(2, 20, 0))
	b := mustSample(t, mustNew(t, "ddim", s, o), toy{0.9, 0.001}, initial(2, 20, 0))
	if d := relative(a, b); d > 1e-9 {
		t.Errorf("they differ by %.3g", d)
	}
}

// Image i has the same bits alone and in a batch, with every sampler.
func TestAnImageDoesNotDependOnItsBatch(t *testing.T) {
	s := newSchedule(t, nil)
	for _, name := range Names() {
		for _, clip := range []Clip{ClipNone, ClipDynamic} {
			o := Options{Steps: 12, Clip: clip}
			if name == "ddim" {
				o.Eta = 0.7
			}
			d := mustNew(t, name, s, o)
			const dim = 33
			all := mustSample(t, d, toy{0.9, 0.001}, initial(3, dim, 5))
			for i := range 3 {
				alone := mustSample(t, d, toy{0.9, 0.001}, initial(1, dim, 5+i))
				if !slices.Equal(alone, all[i*dim:(i+1)*dim]) {
					t.Errorf("%s, clip %s: image %d alone differs", name, clip, i)
				}
			}
			if slices.Equal(all[:dim], all[dim:2*dim]) {
				t.Errorf("%s: two images are the same", name)
			}
		}
	}
}

// The observer sees each step once, in order, with x and the guess of x_0; at
// the last step of the samplers that end at the data the two are the same.
func TestObserverSeesEachStep(t *testing.T) {
	s := newSchedule(t, nil)
	for _, name := range Names() {
		d := mustNew(t, name, s, Options{Steps: 10, Clip: ClipStatic})
		calls := 0
		m := modelFunc(func(x float64, ti int) float64 { calls++; return math.Tanh(x) })
		var last Step
		n := 0
		b := initial(1, 1, 0)
		err := d.Sample(t.Context(), m, b, NormalNoise(1), func(st Step) error {
			if st.Index != n || st.Total != 10 || len(st.X) != 1 || len(st.X0) != 1 || math.Abs(st.X0[0]) > 1 {
				t.Errorf("%s: step %d is %+v", name, n, st)
			}
			n++
			last = st
			return nil
		})
		if err != nil || n != 10 || calls != len(d.Timesteps()) {
			t.Errorf("%s: %d steps, %d calls, %v; want 10 steps, %d calls", name, n, calls, err, len(d.Timesteps()))
		}
		if name != "ddim-inverse" && math.Abs(last.X[0]-last.X0[0]) > 1e-12 {
			t.Errorf("%s: ends at %v, its guess of x_0 is %v", name, last.X, last.X0)
		}
	}
}

func TestSamplingStops(t *testing.T) {
	s := newSchedule(t, nil)
	broken := errors.New("broken")
	for _, name := range Names() {
		d := mustNew(t, name, s, Options{Steps: 10, Clip: ClipNone})
		ctx, cancel := context.WithCancel(t.Context())
		steps := 0
		err := d.Sample(ctx, toy{0.9, 0.001}, initial(2, 3, 0), NormalNoise(1), func(Step) error {
			if steps++; steps == 4 {
				cancel()
			}
			return nil
		})
		if !errors.Is(err, context.Canceled) || steps != 4 || !strings.Contains(err.Error(), name+": step 5 of 10") {
			t.Errorf("%s: cancelled at step 4, stopped after %d: %v", name, steps, err)
		}
		err = d.Sample(t.Context(), toy{0.9, 0.001}, initial(2, 3, 0), NormalNoise(1), func(Step) error { return broken })
		if !errors.Is(err, broken) {
			t.Errorf("%s: the observer's error became %v", name, err)
		}
		err = d.Sample(t.Context(), failing{broken}, initial(2, 3, 0), NormalNoise(1), nil)
		if !errors.Is(err, broken) {
			t.Errorf("%s: the model's error became %v", name, err)
		}
		if err := d.Sample(t.Context(), toy{}, &Batch{N: 2, Dim: 3, X: make([]float64, 5)}, NormalNoise(1), nil); err == nil {
			t.Errorf("%s: a batch of the wrong size is taken", name)
		}
	}
	if err := mustNew(t, "ddpm", s, Options{Steps: 10}).Sample(t.Context(), toy{}, initial(1, 3, 0), nil, nil); err == nil {
		t.Error("ddpm without noise is taken")
	}
	if err := mustNew(t, "ddim", s, Options{Steps: 10}).Sample(t.Context(), toy{}, initial(1, 3, 0), nil, nil); err != nil {
		t.Errorf("ddim with eta 0 draws no noise, but: %v", err)
	}
}

type failing struct{ err error }

func (f failing) Predict(context.Context, []float64, []float64, []int) error { return f.err }

// A model's NaN stops the run, and the error says where.
func TestNonFiniteOutputNamesStepAndImage(t *testing.T) {
	s := newSchedule(t, nil)
	for _, name := range Names() {
		d := mustNew(t, name, s, Options{Steps: 10})
		bad := d.Timesteps()[0]
		m := modelFunc(func(x float64, ti int) float64 { return math.Log(x - x*1e-3*float64(ti)/float64(bad+1)) })
		b := &Batch{N: 3, Dim: 2, First: 40, X: []float64{1, 1, 1, -1, 1, 1}}
		err := d.Sample(t.Context(), m, b, NormalNoise(1), nil)
		if err == nil || !strings.Contains(err.Error(), "step 1 of 10") || !strings.Contains(err.Error(), "image 41 is NaN") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestTimestepLists(t *testing.T) {
	s := newSchedule(t, nil)
	offset := newSchedule(t, func(c *Config) { c.StepsOffset = 1 })
	small := newSchedule(t, func(c *Config) { c.NumTrainTimesteps = 7 })
	for _, c := range []struct {
		name string
		s    *Schedule
		o    Options
		want []int
	}{
		{"ddpm", s, Options{Steps: 4}, []int{750, 500, 250, 0}},
		{"ddpm", s, Options{Steps: 3}, []int{666, 333, 0}},
		{"ddim", offset, Options{Steps: 4}, []int{751, 501, 251, 1}},
		{"ddim", s, Options{Steps: 4, Spacing: Trailing}, []int{999, 749, 499, 249}},
		{"ddim", s, Options{Steps: 3, Spacing: Trailing}, []int{999, 666, 332}},
		{"ddim", s, Options{Steps: 16, Spacing: Trailing}, []int{999, 937, 874, 811, 749, 687, 624, 561, 499, 437, 374, 311, 249, 187, 124, 61}},
		{"ddim", s, Options{Steps: 4, Spacing: Linspace}, []int{999, 666, 333, 0}},
		{"ddim", s, Options{Steps: 3, Spacing: Linspace}, []int{999, 500, 0}}, // 499.5 rounds to even
		{"ddim", s, Options{Steps: 5, Spacing: Quad}, []int{800, 450, 200, 50, 0}},
		{"ddim-inverse", s, Options{Steps: 4}, []int{0, 250, 500, 750}},
		{"dpm++2m", s, Options{Steps: 4}, []int{800, 600, 400, 200}},
		{"dpm++2m", s, Options{Steps: 4, Spacing: Linspace}, []int{999, 749, 500, 250}},
		{"heun", s, Options{Steps: 3, Spacing: Linspace}, []int{999, 500, 500, 0, 0}},
		{"ddpm", small, Options{Steps: 7}, []int{6, 5, 4, 3, 2, 1, 0}},
		{"ddpm", small, Options{Steps: 1}, []int{0}},
		{"ddpm", s, Options{Timesteps: []int{900, 30, 4}}, []int{900, 30, 4}},
	} {
		if got := mustNew(t, c.name, c.s, c.o).Timesteps(); !slices.Equal(got, c.want) {
			t.Errorf("%s %+v: %v, want %v", c.name, c.o, got, c.want)
		}
	}
	// Any number of steps gives a falling list within range.
	for _, p := range []Spacing{Leading, Trailing, Linspace, Quad} {
		for _, steps := range []int{1, 2, 3, 7, 30, 48, 99, 333, 400, 749, 999, 1000} {
			got := mustNew(t, "ddim", s, Options{Steps: steps, Spacing: p}).Timesteps()
			if falling(got, 1000) != nil || p != Quad && len(got) != steps {
				t.Errorf("%s, %d steps: %d timesteps %v", p, steps, len(got), got)
			}
		}
	}
}

func TestImpossibleOptionsAreRefused(t *testing.T) {
	nan := math.NaN()
	s := newSchedule(t, nil)
	for _, c := range []struct {
		name string
		o    Options
		says string
	}{
		{"euler", Options{Steps: 10}, "ddpm, ddim, ddim-inverse"},
		{"ddpm", Options{}, "steps = 0 is not possible: legal is 1 to num_train_timesteps = 1000"},
		{"ddim", Options{Steps: 1001}, "steps = 1001"},
		{"ddim", Options{Steps: -1}, "steps = -1"},
		{"ddim", Options{Steps: 10, Eta: 1.5}, "eta = 1.5"},
		{"ddim", Options{Steps: 10, Eta: nan}, "eta = NaN"},
		{"ddim", Options{Steps: 10, Eta: 0.5, SigmaHat: true}, "exclude"},
		{"ddpm", Options{Steps: 10, Eta: 0.5}, "only ddim"},
		{"heun", Options{Steps: 10, SigmaHat: true}, "only ddim"},
		{"ddim", Options{Steps: 10, Variance: VarianceBeta}, "only ddpm"},
		{"ddpm", Options{Steps: 10, Variance: Variance{true, 2}}, "variance = 2"},
		{"ddim", Options{Steps: 10, FinalSigmaMin: true}, "only dpm++"},
		{"ddim", Options{Steps: 10, Spacing: "even"}, "leading, trailing"},
		{"ddim", Options{Steps: 10, Clip: "hard"}, "static, dynamic"},
		{"ddim", Options{Timesteps: []int{}}, "empty"},
		{"ddim", Options{Timesteps: []int{1000, 0}}, "1000"},
		{"ddim", Options{Timesteps: []int{900, 900}}, "900 900"},
		{"ddim", Options{Timesteps: []int{900, -1}}, "900 -1"},
		{"ddim", Options{Timesteps: []int{900}, Steps: 3}, "steps = 3"},
		{"ddim", Options{Timesteps: []int{900}, Spacing: Leading}, "exclude"},
		{"dpm++2m", Options{Steps: 1000}, "fewer steps"},
		{"dpm++2m", Options{Steps: 10, LambdaMin: &nan}, "not a number"},
	} {
		if _, err := New(c.name, s, c.o); err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s %+v: %v, want an error that says %q", c.name, c.o, err, c.says)
		}
	}
	offset := newSchedule(t, func(c *Config) { c.StepsOffset = 500 })
	if _, err := New("ddim", offset, Options{Steps: 1000}); err == nil || !strings.Contains(err.Error(), "steps_offset 500") {
		t.Errorf("timesteps beyond T: %v", err)
	}
	x0 := newSchedule(t, func(c *Config) { c.PredictionType = SampleX0 })
	if _, err := New("ddim-inverse", x0, Options{Steps: 10}); err == nil || !strings.Contains(err.Error(), "set_alpha_to_one") {
		t.Errorf("inverting a model of x_0: %v", err)
	}
	if _, err := NewDPMSolver(s, Options{Steps: 10}, 3, false); err == nil {
		t.Error("order 3 is taken")
	}
}

// What the options leave unset comes from the config.
func TestConfigGivesTheDefaults(t *testing.T) {
	clips := func(change func(*Config), o Options) clipper { return newSchedule(t, change).clipper(o) }
	dynamic := func(c *Config) { c.Thresholding, c.SampleMaxValue, c.ThresholdingRatio = true, 4, 0.9 }
	for _, c := range []struct {
		got, want clipper
	}{
		{clips(nil, Options{}), clipper{ClipStatic, 1, 0.995}},
		{clips(func(c *Config) { c.ClipSampleRange = 3 }, Options{}), clipper{ClipStatic, 3, 0.995}},
		{clips(func(c *Config) { c.ClipSample = false }, Options{}), clipper{ClipNone, 1, 0.995}},
		{clips(dynamic, Options{}), clipper{ClipDynamic, 4, 0.9}},
		{clips(dynamic, Options{Clip: ClipNone}), clipper{ClipNone, 1, 0.9}},
		{clips(nil, Options{Clip: ClipDynamic}), clipper{ClipDynamic, math.Inf(1), 0.995}},
	} {
		if c.got != c.want {
			t.Errorf("clipping %+v, want %+v", c.got, c.want)
		}
	}
	for kind, f := range map[string]float64{"fixed_small": 0, "fixed_small_log": 0, "fixed_large": 1, "fixed_large_log": 1} {
		s := newSchedule(t, func(c *Config) { c.VarianceType = kind })
		if got := s.variance(Options{}); got != f {
			t.Errorf("%s is variance %v, want %v", kind, got, f)
		}
		if got := s.variance(Options{Variance: Variance{true, 0.3}}); got != 0.3 {
			t.Errorf("%s goes before the options", kind)
		}
	}
	trailing := newSchedule(t, func(c *Config) { c.TimestepSpacing = "trailing" })
	if ts := mustNew(t, "ddpm", trailing, Options{Steps: 2}).Timesteps(); ts[0] != 999 {
		t.Errorf("timestep_spacing trailing begins at %d", ts[0])
	}
}

// A variance between the two is a weighted geometric mean; there is no noise
// at the last step.
func TestDDPMVariance(t *testing.T) {
	s := newSchedule(t, nil)
	d, err := NewDDPM(s, Options{Steps: 1000, Variance: Variance{true, 0.25}})
	if err != nil {
		t.Fatal(err)
	}
	for _, st := range d.steps[:999] {
		want := math.Pow(s.Beta[st.t], 0.25) * math.Pow(s.BetaTilde[st.t], 0.75)
		near(t, "sigma^2", st.sigma*st.sigma, want, 1e-9)
	}
	if d.steps[999].sigma != 0 {
		t.Errorf("the last step has noise %v", d.steps[999].sigma)
	}
}

// sigma-hat is sqrt(beta) of noise on the mean of eta = 1: so over all steps
// it is DDPM with variance beta.
func TestSigmaHatIsDDPMWithVarianceBeta(t *testing.T) {
	s := newSchedule(t, nil)
	m := gaussian{s, 0.2, 0.7}
	hat := mustSample(t, mustNew(t, "ddim", s, Options{Steps: s.T, Clip: ClipNone, SigmaHat: true}), m, initial(2, 20, 0))
	ddpm := mustSample(t, mustNew(t, "ddpm", s, Options{Steps: s.T, Clip: ClipNone, Variance: VarianceBeta}), m, initial(2, 20, 0))
	if d := relative(hat, ddpm); d > 1e-9 {
		t.Errorf("they differ by %.3g", d)
	}
}

// With eps re-derived after clipping, DDIM with eta = 1 is the clipping DDPM;
// without, it is not.
func TestRederivedEpsMakesDDIMTheClippingDDPM(t *testing.T) {
	s := newSchedule(t, nil)
	m := toy{0.9, 0.001}
	ddpm := mustSample(t, mustNew(t, "ddpm", s, Options{Steps: s.T}), m, initial(2, 20, 0))
	rederived := mustSample(t, mustNew(t, "ddim", s, Options{Steps: s.T, Eta: 1, RederiveEps: true}), m, initial(2, 20, 0))
	kept := mustSample(t, mustNew(t, "ddim", s, Options{Steps: s.T, Eta: 1}), m, initial(2, 20, 0))
	if d := relative(rederived, ddpm); d > 1e-9 {
		t.Errorf("they differ by %.3g", d)
	}
	if d := relative(kept, ddpm); d < 1e-3 {
		t.Errorf("eps is re-derived unasked: %.3g", d)
	}
}

func TestDynamicThresholding(t *testing.T) {
	scratch := make([]float64, 5)
	x := []float64{-4, 1, 0.5, 2, -0.25} // |x| sorted: .25 .5 1 2 4
	clipper{ClipDynamic, math.Inf(1), 0.75}.apply(x, scratch)
	if want := []float64{-1, 0.5, 0.25, 1, -0.125}; !slices.Equal(x, want) {
		t.Errorf("threshold 2: %v, want %v", x, want)
	}
	x = []float64{-4, 1, 0.5, 2, -0.25}
	clipper{ClipDynamic, 1, 0.75}.apply(x, scratch) // sample_max_value 1: static clipping
	if want := []float64{-1, 1, 0.5, 1, -0.25}; !slices.Equal(x, want) {
		t.Errorf("threshold at most 1: %v, want %v", x, want)
	}
	x = []float64{-0.5, 0.25, 0.125}
	clipper{ClipDynamic, math.Inf(1), 0.5}.apply(x, scratch)
	if want := []float64{-0.5, 0.25, 0.125}; !slices.Equal(x, want) {
		t.Errorf("small values change: %v", x)
	}
	near(t, "quantile between neighbours", quantile([]float64{3, 1, 2, 10}, 0.9), 3+0.7*7, 1e-12)
	near(t, "quantile 1", quantile([]float64{3, 1, 2}, 1), 3, 0)
}

// The noise of a step depends on seed, image and step; x_T on seed and image,
// and on nothing that the steps draw.
func TestNoiseIsKeyed(t *testing.T) {
	draw := func(seed uint64, image, step int) []float64 {
		z := make([]float64, 10)
		if step < 0 {
			InitialNoise(z, seed, image)
		} else {
			NormalNoise(seed)(z, image, step)
		}
		return z
	}
	keys := [][3]int{{1, 0, -1}, {2, 0, -1}, {1, 1, -1}, {1, 0, 0}, {2, 0, 0}, {1, 1, 0}, {1, 0, 1}}
	for i, a := range keys {
		for j, b := range keys {
			same := slices.Equal(draw(uint64(a[0]), a[1], a[2]), draw(uint64(b[0]), b[1], b[2]))
			if same != (i == j) {
				t.Errorf("draws %v and %v: same = %v", a, b, same)
			}
		}
	}
}
