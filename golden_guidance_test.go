package unstir

import (
	"encoding/json"
	"path/filepath"
	"slices"
	"testing"

	"unstir/diffusion"
	"unstir/internal/golden"
)

// guidanceFixture has runs with classifier-free guidance; unet/testdata/README.md describes it.
type guidanceFixture struct {
	Settings struct {
		UNet    json.RawMessage `json:"unet"`
		Weights string          `json:"weights"`
		Null    int             `json:"null_class"`
		Steps   int             `json:"steps"`
	} `json:"settings"`
	Cases []struct {
		ID        string          `json:"id"`
		Scheduler json.RawMessage `json:"scheduler"`
		Weight    float64         `json:"weight"`
		Rescale   float64         `json:"rescale"`
		Interval  []int           `json:"interval"`
		F32       struct {
			MaxAbs float64 `json:"max_abs"`
		} `json:"f32_vs_f64"` // how far the reference's run in float32 is off
	} `json:"guidance"`
}

// Guided runs from the same noise end where diffusers' loop does: for models that predict eps, x_0 and v, with the samplers of
// its schedulers, rescaled and in an interval.
func TestGoldenGuidance(t *testing.T) {
	guided := func(keys map[string]json.RawMessage) bool { return keys["guidance"] != nil }
	for _, fixture := range golden.Find(t, guided, filepath.Join("unet", "testdata")) {
		var f guidanceFixture
		fixture.Decode(t, &f)
		m := loadGolden(t, fixture, f.Settings.UNet, f.Settings.Weights, "x_T")
		xT, labels := fixture.Float32s(t, "x_T"), fixture.Ints(t, "labels")
		for _, c := range f.Cases {
			config, err := diffusion.ParseConfig(c.Scheduler)
			if err != nil {
				t.Fatal(err)
			}
			s, err := diffusion.NewSchedule(config)
			if err != nil {
				t.Fatal(err)
			}
			p, err := New(m, s)
			if err != nil {
				t.Fatal(err)
			}
			if p, err = p.WithNullClass(f.Settings.Null); err != nil {
				t.Fatal(err)
			}
			g := &diffusion.Guidance{Weight: c.Weight, Rescale: c.Rescale, KeepEps: true}
			if len(c.Interval) == 2 {
				g.Interval = &diffusion.Interval{Low: c.Interval[0], High: c.Interval[1]}
			}
			o := SampleOptions{N: len(labels), Steps: f.Settings.Steps, XT: xT, Labels: labels, Guidance: g}
			got := mustSample(t, p, o).Data
			e, limit := golden.MaxErr(got, fixture.Floats(t, c.ID+".final_f64")), golden.Tolerance(7, 20)*c.F32.MaxAbs
			t.Logf("%s, %s, %s, weight %g: within %.2g, at most %.2g", c.ID, p.DefaultSampler(), config.PredictionType, c.Weight, e, limit)
			if !(e <= limit) {
				t.Errorf("%s: the samples are off by %.2g, more than %.2g", c.ID, e, limit)
			}
			if o.Guidance = nil; slices.Equal(mustSample(t, p, o).Data, got) {
				t.Errorf("%s: guidance changes nothing", c.ID)
			}
		}
	}
}
