package unstir

import (
	"context"
	"encoding/json"
	"errors"
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
}

// pipeline is the fixture's model with the schedule that the run was made with: the scheduler's configuration that
// lies beside it, or else the default one, with the run's own settings.
func (f *ddimFixture) pipeline(t *testing.T) *Pipeline {
	t.Helper()
	config, err := unet.ParseConfig(f.Settings.Config)
	if err != nil {
		t.Fatal(err)
	}
	params, err := unet.Layout(config)
	if err != nil {
		t.Fatal(err)
	}
	m, err := unet.Load(config, f.Weights(t, f.Settings.Weights, params.Names()))
	if err != nil {
		t.Fatal(err)
	}
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
	xT, traj, steps := f.Float32s(t, "ddim.x_T"), f.Floats(t, "ddim.traj_f64"), f.Ints(t, "ddim.timesteps")
	n := f.Shape(t, "ddim.x_T")[0]
	size := len(xT)
	limit := golden.Tolerance(1e-3, 5e-3)
	if f.DDIM.Eta != 0 {
		t.Fatalf("eta = %g: the recorded run must not draw noise", f.DDIM.Eta)
	}
	if len(steps) != f.DDIM.S || len(traj) != f.DDIM.S*size {
		t.Fatalf("%d timesteps and %d values of a run of %d steps", len(steps), len(traj), f.DDIM.S)
	}
	worst := 0.0
	got, err := p.Sample(context.Background(), SampleOptions{
		N: n, Sampler: "ddim", Steps: f.DDIM.S, XT: xT, Settings: diffusion.Options{Spacing: f.DDIM.Spacing},
		OnStep: func(s SampleStep) error {
			if s.N != n {
				return errors.New("the run was cut into batches")
			}
			if s.T != steps[s.Index] {
				t.Errorf("step %d is at t = %d, want %d", s.Index, s.T, steps[s.Index])
			}
			e := golden.MaxErr(s.X, traj[s.Index*size:(s.Index+1)*size])
			if worst = math.Max(worst, e); !(e <= limit) {
				t.Errorf("x after step %d is off by %.2g, more than %g", s.Index, e, limit)
			}
			return nil
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	final := traj[len(traj)-size:]
	for i, v := range final {
		final[i] = max(-1, min(1, v)) // samples leave the pipeline so
	}
	e := golden.MaxErr(got.Data, final)
	t.Logf("%d steps: x within %.2g, the samples within %.2g", f.DDIM.S, worst, e)
	if !(e <= limit) {
		t.Errorf("the samples are off by %.2g, more than %g", e, limit)
	}
}
