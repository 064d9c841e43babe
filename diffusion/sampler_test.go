package diffusion

import (
	"context"
	"errors"
	"math"
	"slices"
	"strings"
	"testing"

	"unstir/internal/rng"
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

// A run down to t = 0 that ends at t = 0's noise has nothing to do in its last
// step, and does nothing.
func TestDPMSolverThatIsAlreadyThere(t *testing.T) {
	s := newSchedule(t, nil)
	for _, name := range []string{"dpm++1", "dpm++2m", "dpm++2m-heun"} {
		d := mustNew(t, name, s, Options{Steps: 1000, Spacing: Trailing, FinalSigmaMin: true})
		var before, after []float64
		b := initial(1, 5, 0)
		err := d.Sample(t.Context(), toy{0.9, 0.001}, b, nil, func(st Step) error {
			before, after = after, slices.Clone(st.X)
			return nil
		})
		if err != nil || !slices.Equal(before, after) || math.IsNaN(after[0]) {
			t.Errorf("%s: %v became %v, %v", name, before, after, err)
		}
	}
}

// Image i has the same bits alone and in a batch, with every sampler.
func TestAnImageDoesNotDependOnItsBatch(t *testing.T) {
	s := newSchedule(t, nil)
	for _, name := range Names(nil) {
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
	for _, name := range Names(nil) {
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
	for _, name := range Names(nil) {
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
	for _, name := range Names(nil) {
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

// A variance between the two is a weighted geometric mean; there is no noise
// at the last step.
func TestDDPMVariance(t *testing.T) {
	s := newSchedule(t, nil)
	d, err := newDDPM(s, Options{Steps: 1000, Variance: Variance{true, 0.25}})
	if err != nil {
		t.Fatal(err)
	}
	for _, st := range d.steps[:999] {
		want := math.Pow(s.Beta[st.t], 0.25) * math.Pow(s.BetaTilde[st.t], 0.75)
		near(t, "sigma^2", st.sigma*st.sigma, want, 1e-9)
	}
	for _, o := range []Options{{Steps: 1000}, {Steps: 10, Spacing: Trailing}, {Timesteps: []int{500, 100}}} {
		o.Variance = VarianceBeta
		d, err := newDDPM(s, o)
		if err != nil {
			t.Fatal(err)
		}
		for k, st := range d.steps {
			if last := k == len(d.steps)-1; last != (st.sigma == 0) {
				t.Errorf("%+v: step %d of %d (t = %d) has noise %v", o, k+1, len(d.steps), st.t, st.sigma)
			}
		}
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

// Clipping cannot be undone: inversion clips only where it is told to,
// whatever clip_sample says.
func TestInversionDoesNotClipUnasked(t *testing.T) {
	s := newSchedule(t, nil)
	invert := func(c Clip) []float64 {
		b := &Batch{N: 1, Dim: 3, X: []float64{-3, 0.5, 2}}
		return mustSample(t, mustNew(t, "ddim-inverse", s, Options{Steps: 10, Clip: c}), toy{0.9, 0.001}, b)
	}
	if !slices.Equal(invert(""), invert(ClipNone)) || slices.Equal(invert(""), invert(ClipStatic)) {
		t.Errorf("by default %v, without clipping %v, with it %v", invert(""), invert(ClipNone), invert(ClipStatic))
	}
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
	z := make([]float32, 10)
	rng.Normal(z, 1, rng.StepNoise, 2, 3)
	for j, v := range draw(1, 2, 3) {
		if v != float64(z[j]) {
			t.Fatalf("step noise of image 2 at step 3 is %v, want StepNoise's draws (2, 3): %v", v, z[j])
		}
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
