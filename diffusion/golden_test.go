package diffusion

import (
	"context"
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"unstir/checkpoints/safetensors"
)

// The samplers and schedules agree with diffusers' numbers: with the selection
// in testdata, and with the whole set in UNSTIR_GOLDEN where that is set.
func TestGolden(t *testing.T) {
	t.Run("testdata", func(t *testing.T) { goldenDir(t, "testdata") })
	if dir := os.Getenv("UNSTIR_GOLDEN"); dir != "" {
		if !filepath.IsAbs(dir) {
			dir = filepath.Join("..", dir) // tests run in their package's folder
		}
		t.Run("UNSTIR_GOLDEN", func(t *testing.T) { goldenDir(t, dir) })
	}
}

// goldenDir runs every manifest of dir and dir/schedulers that is about this
// package.
func goldenDir(t *testing.T, dir string) {
	tests := map[string]func(*testing.T, *manifest){
		"schedules.safetensors":    goldenSchedules,
		"ddpm_step.safetensors":    goldenDDPMStep,
		"ddim.safetensors":         goldenDDIM,
		"ddim_inverse.safetensors": goldenDDIMInverse,
		"dpmsolver.safetensors":    goldenDPMSolver,
		"sdedit.safetensors":       goldenSDEdit,
		"repaint.safetensors":      goldenRePaint,
		"bound.safetensors":        goldenBound,
	}
	found, _ := filepath.Glob(filepath.Join(dir, "*.json"))
	more, _ := filepath.Glob(filepath.Join(dir, "schedulers", "*.json"))
	ran := 0
	for _, path := range append(found, more...) {
		m := readManifest(t, path)
		if test := tests[m.File]; test != nil {
			ran++
			t.Run(strings.TrimSuffix(m.File, ".safetensors"), func(t *testing.T) {
				if len(m.Cases) == 0 {
					t.Fatalf("%s has no cases", path)
				}
				m.open(t)
				test(t, m)
				m.report(t)
			})
		}
	}
	if ran == 0 && dir == "testdata" {
		t.Fatalf("no scheduler manifests in %s", dir)
	}
}

// manifest is a fixture's JSON file, its tensors, and the errors seen so far.
type manifest struct {
	File        string                     `json:"file"`
	Description string                     `json:"description"`
	Settings    map[string]json.RawMessage `json:"settings"`
	Cases       []goldenCase               `json:"cases"`

	path   string
	reader *safetensors.Reader
	worst  map[string]float64
}

type goldenCase map[string]json.RawMessage

func readManifest(t *testing.T, path string) *manifest {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	m := &manifest{path: path, worst: map[string]float64{}}
	if err := json.Unmarshal(data, m); err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	return m
}

func (m *manifest) open(t *testing.T) {
	r, err := safetensors.Open(filepath.Join(filepath.Dir(m.path), m.File))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close() })
	m.reader = r
}

// value reads a setting of the case, or else of the whole file; false where
// neither has it or it is null.
func value[V any](t *testing.T, m *manifest, c goldenCase, key string) (v V, ok bool) {
	t.Helper()
	raw, found := c[key]
	if !found {
		raw, found = m.Settings[key]
	}
	if !found || string(raw) == "null" {
		return v, false
	}
	if err := json.Unmarshal(raw, &v); err != nil {
		t.Fatalf("%s: %s = %s: %v", m.path, key, raw, err)
	}
	return v, true
}

func need[V any](t *testing.T, m *manifest, c goldenCase, key string) V {
	t.Helper()
	v, ok := value[V](t, m, c, key)
	if !ok {
		t.Fatalf("%s: a case without %s: %s", m.path, key, c["id"])
	}
	return v
}

// schedule builds the case's schedule: every key that is one of Config's.
func (m *manifest) schedule(t *testing.T, c goldenCase) *Schedule {
	t.Helper()
	config := Defaults()
	config.NumTrainTimesteps = need[int](t, m, c, "T")
	for key, field := range config.fields() {
		if raw, ok := value[json.RawMessage](t, m, c, key); ok {
			if err := json.Unmarshal(raw, field); err != nil {
				t.Fatalf("%s: %s: %v", m.path, key, err)
			}
		}
	}
	s, err := NewSchedule(config)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// tensor reads a float tensor; nil where there is none of that name.
func (m *manifest) tensor(t *testing.T, name string) (x []float64, shape []int) {
	t.Helper()
	info, ok := m.reader.Lookup(name)
	if !ok {
		return nil, nil
	}
	x = make([]float64, info.Len())
	if err := m.reader.ReadFloat64(name, x); err != nil {
		t.Fatal(err)
	}
	return x, info.Shape
}

// images reads a tensor of images: N of Dim numbers.
func (m *manifest) images(t *testing.T, name string) Batch {
	t.Helper()
	x, shape := m.tensor(t, name)
	if len(x) == 0 {
		t.Fatalf("%s: no tensor %s", m.path, name)
	}
	return Batch{N: shape[0], Dim: len(x) / shape[0], X: x}
}

func (m *manifest) ints(t *testing.T, name string) []int {
	t.Helper()
	info, ok := m.reader.Lookup(name)
	if !ok {
		t.Fatalf("%s: no tensor %s", m.path, name)
	}
	x := make([]int64, info.Len())
	if err := m.reader.ReadInt64(name, x); err != nil {
		t.Fatal(err)
	}
	ts := make([]int, len(x))
	for i, v := range x {
		ts[i] = int(v)
	}
	return ts
}

// compare checks got against the tensor of that name, where there is one:
// max|got - want| / max|want| <= limit.
func (m *manifest) compare(t *testing.T, what, name string, got []float64, limit float64) {
	t.Helper()
	want, _ := m.tensor(t, name)
	if want == nil {
		return
	}
	if len(got) != len(want) {
		t.Fatalf("%s: %d numbers, want %d", name, len(got), len(want))
	}
	d := relative(got, want)
	m.worst[what] = max(m.worst[what], d)
	if !(d <= limit) {
		t.Errorf("%s: relative error %.3g, want at most %.3g", name, d, limit)
	}
}

func relative(got, want []float64) float64 {
	d, scale := 0.0, 0.0
	for j := range want {
		if diff := math.Abs(got[j] - want[j]); diff > d || math.IsNaN(diff) {
			d = diff
		}
		scale = max(scale, math.Abs(want[j]))
	}
	return d / scale
}

// float32Limit is how far the reference's own float32 run may be from ours: a little more than from its float64 run.
func float32Limit(t *testing.T, m *manifest, c goldenCase) float64 {
	e, ok := value[struct {
		Rel float64 `json:"rel_to_max"`
	}](t, m, c, "f32_vs_f64")
	if !ok {
		return 5e-5
	}
	return max(1.5*e.Rel, 1e-7)
}

func (m *manifest) report(t *testing.T) {
	for what, d := range m.worst {
		t.Logf("%d cases, worst %s: %.2g", len(m.Cases), what, d)
	}
}

func goldenSchedules(t *testing.T, m *manifest) {
	for _, c := range m.Cases {
		kind := need[string](t, m, c, "kind")
		c["beta_schedule"] = json.RawMessage(strconv.Quote(kind))
		s := m.schedule(t, c)
		for name, got := range map[string][]float64{
			"betas": s.Beta, "alphas_cumprod": s.AlphaBar, "posterior_variance": s.BetaTilde,
			"posterior_mean_coef_x0": s.CoefX0, "posterior_mean_coef_xt": s.CoefXt,
		} {
			want, _ := m.tensor(t, kind+"."+name+"_f64")
			if len(want) != len(got) {
				t.Fatalf("%s %s: %d numbers, want %d", kind, name, len(got), len(want))
			}
			for i := range want {
				d := math.Abs(got[i]-want[i]) / math.Abs(want[i])
				if got[i] == want[i] {
					d = 0
				}
				m.worst["table, elementwise"] = max(m.worst["table, elementwise"], d)
				if !(d <= 5e-11) {
					t.Fatalf("%s %s[%d] = %v, want %v", kind, name, i, got[i], want[i])
				}
			}
			m.compare(t, "table, float32 reference", kind+"."+name+"_f32", got, 5e-4)
		}

		x0, eps, ts := m.images(t, "add_noise.x0"), m.images(t, "add_noise.noise"), m.ints(t, "add_noise.t")
		xt, v := make([]float64, len(x0.X)), make([]float64, len(x0.X))
		for i, ti := range ts {
			lo, hi := i*x0.Dim, (i+1)*x0.Dim
			QSample(s, xt[lo:hi], x0.X[lo:hi], eps.X[lo:hi], ti)
			velocity(s, v[lo:hi], x0.X[lo:hi], eps.X[lo:hi], ti)
		}
		m.compare(t, "x_t and v", kind+".add_noise_f64", xt, 3e-15)
		m.compare(t, "x_t and v", kind+".velocity_f64", v, 3e-15)
		m.compare(t, "x_t and v, float32 reference", kind+".add_noise_f32", xt, 1e-5)
		m.compare(t, "x_t and v, float32 reference", kind+".velocity_f32", v, 1e-5)
	}
}

func goldenDDPMStep(t *testing.T, m *manifest) {
	for _, c := range m.Cases {
		s := m.schedule(t, c)
		o := Options{Steps: s.T}
		if n, ok := value[int](t, m, c, "num_inference_steps"); ok {
			o.Steps = n
		}
		d, err := newDDPM(s, o)
		if err != nil {
			t.Fatal(err)
		}
		ti := need[int](t, m, c, "t")
		k := slices.Index(d.Timesteps(), ti)
		if k < 0 {
			t.Fatalf("%s: t = %d is none of the timesteps %v", c["id"], ti, d.Timesteps())
		}
		x, out, noise := m.images(t, "x_t"), m.images(t, "model_output"), m.images(t, "noise")
		x0, scratch := make([]float64, x.Dim), make([]float64, x.Dim)
		for i := range x.N {
			lo, hi := i*x.Dim, (i+1)*x.Dim
			z := noise.X[lo:hi]
			if d.steps[k].sigma == 0 {
				z = nil
			}
			d.update(d.steps[k], x.X[lo:hi], out.X[lo:hi], x0, z, scratch)
		}
		id := need[string](t, m, c, "id")
		m.compare(t, "step", id+".prev_f64", x.X, 3e-11)
		m.compare(t, "step, float32 reference", id+".prev_f32", x.X, 1e-3)
	}
}

// toy is the fixtures' model eps = tanh(a x + b t).
type toy struct{ a, b float64 }

func (m toy) Predict(_ context.Context, out, x []float64, ts []int) error {
	dim := len(x) / len(ts)
	for j := range x {
		out[j] = math.Tanh(m.a*x[j] + m.b*float64(ts[j/dim]))
	}
	return nil
}

var toyFormula = regexp.MustCompile(`tanh\(([0-9.]+) ?\*? ?x \+ ([0-9.]+) ?\*? ?t\)`)

// toyModel reads the model from the manifest's description, or from that of
// ddim.json beside it, where the formula is given.
func toyModel(t *testing.T, m *manifest) toy {
	t.Helper()
	for _, path := range []string{m.path, filepath.Join(filepath.Dir(m.path), "ddim.json")} {
		if f := toyFormula.FindStringSubmatch(readManifest(t, path).Description); f != nil {
			a, _ := strconv.ParseFloat(f[1], 64)
			b, _ := strconv.ParseFloat(f[2], 64)
			return toy{a, b}
		}
	}
	t.Fatalf("%s: no model eps = tanh(a x + b t) in the description", m.path)
	return toy{}
}

// goldenRun samples a case and compares its timesteps, the state half-way, at
// the end, and the whole trajectory: whatever of these the fixture has. limit
// bounds the relative error.
func goldenRun(t *testing.T, m *manifest, c goldenCase, d Sampler, start, timesteps string, z Noise, limit float64) {
	t.Helper()
	id := need[string](t, m, c, "id")
	if got, want := d.Timesteps(), m.ints(t, timesteps); !slices.Equal(got, want) {
		t.Fatalf("%s: timesteps %v, want %v", id, got, want)
	}
	b := m.images(t, start)
	traj := slices.Clone(b.X)
	half := len(d.Timesteps()) / 2
	err := d.Sample(t.Context(), toyModel(t, m), &b, z, func(s Step) error {
		traj = append(traj, s.X...)
		if s.Index == half-1 {
			m.compare(t, "half-way", id+".mid_f64", s.X, limit)
		}
		return nil
	})
	if err != nil {
		t.Fatalf("%s: %v", id, err)
	}
	m.compare(t, "final", id+".final_f64", b.X, limit)
	m.compare(t, "trajectory (stored as float32)", id+".traj", traj, 3e-7)
	m.compare(t, "final, float32 reference", id+".final_f32", b.X, float32Limit(t, m, c))
}

func goldenDDIM(t *testing.T, m *manifest) {
	noise, shape := m.tensor(t, "noise")
	z := func(dst []float64, image, step int) {
		dim := len(dst)
		copy(dst, noise[(step*shape[1]+image)*dim:])
	}
	for _, c := range m.Cases {
		rederive, _ := value[bool](t, m, c, "use_clipped_model_output")
		d, err := newDDIM(m.schedule(t, c), Options{
			Steps: need[int](t, m, c, "S"), Eta: need[float64](t, m, c, "eta"), RederiveEps: rederive,
		})
		if err != nil {
			t.Fatal(err)
		}
		timesteps, ok := value[string](t, m, c, "timesteps")
		if !ok {
			timesteps = need[string](t, m, c, "id") + ".timesteps"
		}
		goldenRun(t, m, c, d, "x_T", timesteps, z, 1e-13)
	}
}

func goldenDDIMInverse(t *testing.T, m *manifest) {
	for _, c := range m.Cases {
		o := Options{Steps: need[int](t, m, c, "S"), Clip: ClipNone}
		if need[bool](t, m, c, "clip_sample") {
			o.Clip = ClipStatic
		}
		d, err := newDDIMInverse(m.schedule(t, c), o)
		if err != nil {
			t.Fatal(err)
		}
		goldenRun(t, m, c, d, "x_0", need[string](t, m, c, "id")+".timesteps", nil, 1e-14)
	}
}

func goldenDPMSolver(t *testing.T, m *manifest) {
	for _, c := range m.Cases {
		o := Options{Steps: need[int](t, m, c, "S")}
		o.FinalSigmaMin = need[string](t, m, c, "final_sigmas_type") == "sigma_min"
		if l, ok := value[float64](t, m, c, "lambda_min_clipped"); ok {
			o.LambdaMin = &l
		}
		if lower, ok := value[bool](t, m, c, "lower_order_final"); ok && !lower {
			t.Fatalf("%s: lower_order_final = false is not what this solver does", c["id"])
		}
		d, err := newDPMSolver(m.schedule(t, c), o, "dpm++", need[int](t, m, c, "solver_order"), need[string](t, m, c, "solver_type") == "heun")
		if err != nil {
			t.Fatal(err)
		}
		id := need[string](t, m, c, "id")
		m.compare(t, "sigmas", id+".sigmas_f64", d.sigmas, 1e-14)
		m.compare(t, "sigmas, float32 reference", id+".sigmas_f32", d.sigmas, 2e-6)
		goldenRun(t, m, c, d, "x_T", id+".timesteps", nil, 2e-14)
	}
}
