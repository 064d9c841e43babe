package unstir

import (
	"context"
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"testing"

	"unstir/diffusion"
	"unstir/internal/golden"
	"unstir/unet"
)

// ddimFixture is a recorded DDIM run through a UNet; unet/testdata/README.md describes it.
type ddimFixture struct {
	*golden.Fixture
	Settings struct {
		Config  json.RawMessage `json:"config"`
		Weights string          `json:"weights"`
	} `json:"settings"`
	DDIM struct {
		S          int               `json:"S"`
		Eta        float64           `json:"eta"`
		Spacing    diffusion.Spacing `json:"timestep_spacing"`
		Clip       bool              `json:"clip_sample"`
		AlphaToOne bool              `json:"set_alpha_to_one"`
	} `json:"ddim"`
	Measured struct {
		F32 struct {
			MaxAbs float64 `json:"max_abs"`
		} `json:"ddim_final_f32_vs_f64"` // how far the reference's run in float32 is off
	} `json:"tolerance_measured"`
}

// pipeline is the fixture's model with the schedule that the run was made with: the scheduler's configuration that
// lies beside it, or else the default one, with the run's own settings; for images of the run's size.
func (f *ddimFixture) pipeline(t *testing.T) *Pipeline {
	t.Helper()
	m := loadGolden(t, f.Fixture, f.Settings.Config, f.Settings.Weights, "ddim.x_T")
	c := diffusion.Defaults()
	if text, err := os.ReadFile(filepath.Join(f.Dir, "scheduler", "scheduler_config.json")); err == nil {
		if c, err = diffusion.ParseConfig(text); err != nil {
			t.Fatal(err)
		}
	}
	c.ClipSample, c.SetAlphaToOne = f.DDIM.Clip, f.DDIM.AlphaToOne
	s, err := diffusion.NewSchedule(c)
	if err != nil {
		t.Fatal(err)
	}
	p, err := New(m, s)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// loadGolden is a fixture's model, for images of the size of a tensor.
func loadGolden(t *testing.T, f *golden.Fixture, config json.RawMessage, weights, images string) *unet.Model {
	t.Helper()
	c, err := unet.ParseConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	c.SampleSize.H, c.SampleSize.W = f.Sides(t, images)
	params, err := unet.Layout(c)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, p := range params.List {
		names = append(names, p.Name)
	}
	m, err := unet.Load(c, f.Weights(t, weights, names))
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// A directory with a model and a scheduler, and the reference's numbers beside them, opens as the same model.
func TestGoldenPipelineOpens(t *testing.T) {
	p, err := Open(context.Background(), filepath.Join("unet", "testdata", "unet_tiny"))
	if err != nil {
		t.Fatal(err)
	}
	if n := p.Model().Params.Count(); n != 702499 {
		t.Errorf("%d parameters, want 702499", n)
	}
	if c := p.Schedule.Config; c.NumTrainTimesteps != 1000 || c.VarianceType != "fixed_small" || !c.ClipSample {
		t.Errorf("the scheduler's configuration is %+v", c)
	}
}

// DDIM through a UNet, from weights in a file to the image, is the reference's run at every step.
func TestGoldenDDIMRun(t *testing.T) {
	hasRun := func(keys map[string]json.RawMessage) bool { return keys["ddim"] != nil }
	for _, f := range golden.Find(t, hasRun, filepath.Join("unet", "testdata")) {
		t.Run(f.Name(), func(t *testing.T) {
			run := &ddimFixture{Fixture: f}
			f.Decode(t, run)
			run.compare(t)
		})
	}
}

func (f *ddimFixture) compare(t *testing.T) {
	p := f.pipeline(t)
	traj, steps := f.Floats(t, "ddim.traj_f64"), f.Ints(t, "ddim.timesteps")
	size := len(f.Float32s(t, "ddim.x_T"))
	limit := f.limit()
	if len(steps) != f.DDIM.S || len(traj) != f.DDIM.S*size {
		t.Fatalf("%d timesteps and %d values of a run of %d steps", len(steps), len(traj), f.DDIM.S)
	}
	worst := 0.0
	got := f.run(t, p, func(s diffusion.Step) error {
		if s.T != steps[s.Index] {
			t.Errorf("step %d is at t = %d, want %d", s.Index, s.T, steps[s.Index])
		}
		e := golden.MaxErr(s.X, traj[s.Index*size:(s.Index+1)*size])
		if worst = math.Max(worst, e); !(e <= limit) {
			t.Errorf("x after step %d is off by %.2g, more than %g", s.Index, e, limit)
		}
		return nil
	})
	final := traj[len(traj)-size:]
	for i, v := range final {
		final[i] = max(-1, min(1, v)) // samples leave the pipeline so
	}
	e := golden.MaxErr(got, final)
	t.Logf("%d steps, eta %g: x within %.2g, the samples within %.2g", f.DDIM.S, f.DDIM.Eta, worst, e)
	if !(e <= limit) {
		t.Errorf("the samples are off by %.2g, more than %g", e, limit)
	}
}

// limit bounds the error of x: some models make much more of a rounding error than others, the reference's own in
// float32 included.
func (f *ddimFixture) limit() float64 {
	if own := f.Measured.F32.MaxAbs; own > 0 {
		return golden.Tolerance(7, 20) * own
	}
	return golden.Tolerance(1e-3, 5e-3)
}

// run is the fixture's run: Pipeline.Sample's where it draws no noise, and otherwise the same sampler with the recorded
// noise in place of a seed's.
func (f *ddimFixture) run(t *testing.T, p *Pipeline, observe func(diffusion.Step) error) []float32 {
	t.Helper()
	xT, n := f.Float32s(t, "ddim.x_T"), f.Shape(t, "ddim.x_T")[0]
	o := SampleOptions{
		N: n, Batch: n, Sampler: "ddim", Steps: f.DDIM.S, XT: xT,
		Settings: diffusion.Options{Spacing: f.DDIM.Spacing, Eta: f.DDIM.Eta},
		OnStep:   func(s SampleStep) error { return observe(s.Step) },
	}
	if f.Has("ddim.labels") {
		o.Labels = f.Ints(t, "ddim.labels")
	}
	if f.DDIM.Eta == 0 {
		return mustSample(t, p, o).Data
	}
	s, err := p.NewSampler(o)
	if err != nil {
		t.Fatal(err)
	}
	q, err := p.predictor(n, n)
	if err != nil {
		t.Fatal(err)
	}
	if o.Labels != nil {
		if err := q.SetLabels(o.Labels); err != nil {
			t.Fatal(err)
		}
	}
	b := &diffusion.Batch{N: n, Dim: len(xT) / n, X: f.Floats(t, "ddim.x_T")}
	if err := s.Sample(context.Background(), q.Float64(), b, f.noise(t, n, b.Dim), observe); err != nil {
		t.Fatal(err)
	}
	samples := make([]float32, len(b.X))
	for i, v := range b.X {
		samples[i] = float32(max(-1, min(1, v)))
	}
	return samples
}

// noise is ddim.noise [S, N, C, H, W]: step k of the run adds the k-th to its images.
func (f *ddimFixture) noise(t *testing.T, n, dim int) diffusion.Noise {
	t.Helper()
	if !f.Has("ddim.noise") {
		t.Fatalf("eta = %g draws noise, and there is no tensor ddim.noise [S, N, C, H, W]", f.DDIM.Eta)
	}
	noise := f.Floats(t, "ddim.noise")
	if len(noise) != f.DDIM.S*n*dim {
		t.Fatalf("ddim.noise has %d values; %d steps of %d images have %d", len(noise), f.DDIM.S, n, f.DDIM.S*n*dim)
	}
	return func(dst []float64, image, step int) {
		copy(dst, noise[(step*n+image)*dim:])
	}
}
