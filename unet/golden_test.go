package unet

import (
	"context"
	"encoding/json"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	G "gorgonia.org/gorgonia"

	"unstir/checkpoints/safetensors"
	"unstir/nn"
	"unstir/nn/engine"
)

// A fixture is a directory with fixture.json and fixture.safetensors, made by running diffusers; see
// testdata/README.md. UNSTIR_GOLDEN names another directory of such directories to run beside testdata.

type fixture struct {
	dir      string
	Settings struct {
		Config    json.RawMessage `json:"config"`
		Weights   string          `json:"weights"`
		NumParams int             `json:"num_parameters"`
	} `json:"settings"`
	Intermediates map[string]json.RawMessage `json:"intermediates"`
	LossF64       float64                    `json:"loss_f64"`
	Checksums     map[string]struct {
		SumSq float64 `json:"sumsq"`
	} `json:"grad_checksums"`
	Tensors *safetensors.Reader `json:"-"`
}

func fixtures(t *testing.T) []*fixture {
	t.Helper()
	var out []*fixture
	for _, root := range []string{"testdata", os.Getenv("UNSTIR_GOLDEN")} {
		if root == "" {
			continue
		}
		err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.Name() != "fixture.json" {
				return err
			}
			f := &fixture{dir: filepath.Dir(path)}
			data, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			if err := json.Unmarshal(data, f); err != nil {
				return nil // another kind of fixture
			}
			if f.Settings.Config == nil {
				return nil
			}
			f.Tensors, err = safetensors.Open(filepath.Join(f.dir, "fixture.safetensors"))
			if err != nil {
				return err
			}
			t.Cleanup(func() { f.Tensors.Close() })
			out = append(out, f)
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if len(out) == 0 {
		t.Fatal("no fixtures found")
	}
	return out
}

func (f *fixture) floats(t *testing.T, name string) []float64 {
	t.Helper()
	info, ok := f.Tensors.Lookup(name)
	if !ok {
		t.Fatalf("%s has no tensor %q", f.dir, name)
	}
	n := 1
	for _, d := range info.Shape {
		n *= d
	}
	out := make([]float64, n)
	if err := f.Tensors.ReadFloat64(name, out); err != nil {
		t.Fatal(err)
	}
	return out
}

func (f *fixture) float32s(t *testing.T, name string) []float32 {
	t.Helper()
	v := f.floats(t, name)
	out := make([]float32, len(v))
	for i := range v {
		out[i] = float32(v[i])
	}
	return out
}

func (f *fixture) model(t *testing.T) *Model {
	t.Helper()
	c, err := ParseConfig(f.Settings.Config)
	if err != nil {
		t.Fatal(err)
	}
	if strings.HasPrefix(f.Settings.Weights, "recipe") {
		return recipeModel(t, c, f.Settings.Weights)
	}
	words := strings.Fields(f.Settings.Weights) // a path, perhaps after some words
	path := filepath.Join(f.dir, words[len(words)-1])
	w, err := safetensors.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	m, err := Load(c, func(name string, shape []int, dst []float32) error { return w.ReadFloat32(name, dst) })
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// recipeModel fills a model by the rule of the fixtures' README: values from a hash of (seed, tensor, element).
func recipeModel(t *testing.T, c Config, rule string) *Model {
	t.Helper()
	seed := uint64(1)
	if i := strings.LastIndex(rule, "seed "); i >= 0 {
		seed = 0
		for _, d := range rule[i+5:] {
			if d < '0' || d > '9' {
				break
			}
			seed = 10*seed + uint64(d-'0')
		}
	}
	params, err := Layout(c)
	if err != nil {
		t.Fatal(err)
	}
	order := map[string]uint64{}
	for i, name := range params.Names() {
		order[name] = uint64(i)
	}
	m, err := Load(c, func(name string, shape []int, dst []float32) error {
		fanIn := 1
		for _, d := range shape[1:] {
			fanIn *= d
		}
		for j := range dst {
			z := seed<<48 + order[name]<<32 + uint64(j) + 0x9E3779B97F4A7C15
			z = (z ^ z>>30) * 0xBF58476D1CE4E5B9
			z = (z ^ z>>27) * 0x94D049BB133111EB
			z ^= z >> 31
			u := float64(z>>40)/8388608 - 1
			switch {
			case len(shape) > 1:
				dst[j] = float32(u * math.Sqrt(3/float64(fanIn)))
			case strings.HasSuffix(name, ".weight"):
				dst[j] = float32(1 + 0.1*u)
			default:
				dst[j] = float32(0.05 * u)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// tolerance picks the bound for direct convolutions or for Winograd's.
func tolerance(direct, winograd float64) float64 {
	if os.Getenv("UNSTIR_CONV") == "direct" {
		return direct
	}
	return winograd
}

// relErr is the largest error over the largest value.
func relErr(got []float32, want []float64) float64 {
	var worst, largest float64
	for i, w := range want {
		worst = math.Max(worst, math.Abs(float64(got[i])-w))
		if math.IsNaN(float64(got[i])) {
			return math.NaN()
		}
		largest = math.Max(largest, math.Abs(w))
	}
	return worst / largest
}

func (f *fixture) steps(t *testing.T, name string) []int {
	t.Helper()
	info, ok := f.Tensors.Lookup(name)
	if !ok {
		t.Fatalf("%s has no tensor %q", f.dir, name)
	}
	v := make([]int64, info.Shape[0])
	if err := f.Tensors.ReadInt64(name, v); err != nil {
		t.Fatal(err)
	}
	out := make([]int, len(v))
	for i := range v {
		out[i] = int(v[i])
	}
	return out
}

func TestGoldenOutput(t *testing.T) {
	for _, f := range fixtures(t) {
		t.Run(filepath.Base(f.dir), func(t *testing.T) {
			m := f.model(t)
			if m.Params.Count() != f.Settings.NumParams {
				t.Errorf("%d parameters, want %d", m.Params.Count(), f.Settings.NumParams)
			}
			x, ts := f.float32s(t, "x"), f.steps(t, "t")
			p, err := NewPredictor(m, len(ts), m.Config.SampleSize.H, m.Config.SampleSize.W)
			if err != nil {
				t.Fatal(err)
			}
			out := make([]float32, len(x))
			if err := p.Predict(context.Background(), out, x, ts); err != nil {
				t.Fatal(err)
			}
			e := relErr(out, f.floats(t, "out_f64"))
			t.Logf("output: %.2g of the largest value", e)
			if limit := tolerance(1e-5, 5e-5); !(e <= limit) {
				t.Errorf("output is off by %.2g of its largest value, more than %g", e, limit)
			}
		})
	}
}

func TestGoldenIntermediates(t *testing.T) {
	for _, f := range fixtures(t) {
		if _, ok := f.Tensors.Lookup("inter.conv_in"); !ok {
			continue
		}
		t.Run(filepath.Base(f.dir), func(t *testing.T) {
			m := f.model(t)
			x, ts := f.float32s(t, "x"), f.steps(t, "t")
			h, w := m.Config.SampleSize.H, m.Config.SampleSize.W
			g := nn.NewGraph(m.Params, m.flat, false, 0)
			in, out, err := m.Config.forward(g, len(ts), h, w, false)
			if err != nil {
				t.Fatal(err)
			}
			byName := map[string]*G.Node{}
			for _, n := range g.G.AllNodes() {
				if op, ok := n.Op().(*engine.Op); ok {
					byName[op.Name] = n
				}
			}
			outputs := G.Nodes{out}
			watched := map[string]*G.Node{}
			for name := range f.Intermediates {
				if n := lastOf(byName, name); n != nil {
					watched[name] = n
					outputs = append(outputs, n)
				}
			}
			machine, err := engine.New(outputs, engine.Options{})
			if err != nil {
				t.Fatal(err)
			}
			m.Config.feed(in, x, ts, nil, h*w)
			if err := machine.RunAll(); err != nil {
				t.Fatal(err)
			}
			compared := 0
			for name, n := range watched {
				if _, ok := f.Tensors.Lookup("inter." + name); !ok || name == "conv_norm_out" { // ours ends with SiLU
					continue
				}
				got := append([]float32(nil), machine.Value(n)...)
				if s := n.Shape(); len(s) == 4 {
					toNCHW(got, machine.Value(n), s[0], s[3], s[1]*s[2])
				}
				e := relErr(got, f.floats(t, "inter."+name))
				if limit := tolerance(1e-5, 5e-5); !(e <= limit) {
					t.Errorf("%s is off by %.2g of its largest value, more than %g", name, e, limit)
				}
				compared++
			}
			if compared < 5 {
				t.Errorf("only %d intermediate outputs were compared", compared)
			}
		})
	}
}

// lastOf finds the operation that makes the output of a module of the reference.
func lastOf(byName map[string]*G.Node, module string) *G.Node {
	for _, name := range []string{module, module + ".linear_2"} {
		if n := byName[name]; n != nil {
			return n
		}
	}
	var last *G.Node
	for name, n := range byName {
		if strings.HasPrefix(name, module+".") && (last == nil || n.ID() > last.ID()) {
			last = n
		}
	}
	return last
}

func TestGoldenGradients(t *testing.T) {
	for _, f := range fixtures(t) {
		t.Run(filepath.Base(f.dir), func(t *testing.T) {
			m := f.model(t)
			x, ts := f.float32s(t, "x"), f.steps(t, "t")
			d, err := NewGradient(m.Config, m.Params, m.flat, GradientOptions{
				Slice: len(ts), H: m.Config.SampleSize.H, W: m.Config.SampleSize.W, InputGrad: true, NoDropout: true,
			})
			if err != nil {
				t.Fatal(err)
			}
			loss, err := d.Run(context.Background(), Example{X: x, Target: f.float32s(t, "target"), T: ts}, nil)
			if err != nil {
				t.Fatal(err)
			}
			if e := math.Abs(loss-f.LossF64) / f.LossF64; e > 1e-5 {
				t.Errorf("loss %g, want %g: relative error %.2g", loss, f.LossF64, e)
			}
			f.compareGradients(t, m, d)
		})
	}
}

func (f *fixture) compareGradients(t *testing.T, m *Model, d *Gradient) {
	t.Helper()
	worst, worstName, compared := 0.0, "", 0
	for _, p := range Tensors(m.Params, d.Grad()) {
		if strings.HasSuffix(p.Name, "to_k.bias") {
			continue // zero in exact arithmetic
		}
		size := 1
		for _, n := range p.Shape {
			size *= n
		}
		got := make([]float32, size)
		p.Fill(got)
		name := "grad." + p.Name
		if _, ok := f.Tensors.Lookup(name); !ok {
			name = "gradsample." + p.Name
			k := len(f.floats(t, name))
			sample := make([]float32, k)
			for i := range sample {
				sample[i] = got[i*size/k]
			}
			if want, ok := f.Checksums[p.Name]; ok {
				sum := 0.0
				for _, v := range got {
					sum += float64(v) * float64(v)
				}
				if e := math.Abs(sum-want.SumSq) / want.SumSq; e > tolerance(1e-4, 6e-4) {
					t.Errorf("sum of squares of %s: relative error %.2g", p.Name, e)
				}
			}
			got = sample
		}
		e := relErr(got, f.floats(t, name))
		if !(e <= worst) {
			worst, worstName = e, p.Name
		}
		compared++
	}
	pixels := d.h * d.w
	dx := d.machine.Value(d.dx)
	got := make([]float32, len(dx))
	toNCHW(got, dx, len(dx)/(pixels*m.Config.InChannels), m.Config.InChannels, pixels)
	ex := relErr(got, f.floats(t, "grad.x"))
	t.Logf("%d gradients: worst %.2g of the tensor's largest value (%s); of x %.2g", compared, worst, worstName, ex)
	if limit := tolerance(5e-5, 3e-4); !(worst <= limit) {
		t.Errorf("gradient of %s is off by %.2g of its largest value, more than %g", worstName, worst, limit)
	}
	if limit := tolerance(2e-5, 3e-4); !(ex <= limit) {
		t.Errorf("gradient of x is off by %.2g of its largest value, more than %g", ex, limit)
	}
}
