package unet

import (
	"context"
	"encoding/json"
	"math"
	"strings"
	"testing"

	G "gorgonia.org/gorgonia"

	"unstir/internal/golden"
	"unstir/nn"
	"unstir/nn/engine"
)

// A fixture was made by running diffusers; testdata/README.md describes it.
type fixture struct {
	*golden.Fixture
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
}

func fixtures(t *testing.T) []*fixture {
	t.Helper()
	var out []*fixture
	isUNet := func(keys map[string]json.RawMessage) bool {
		var settings struct{ Config json.RawMessage }
		return json.Unmarshal(keys["settings"], &settings) == nil && settings.Config != nil
	}
	for _, f := range golden.Find(t, isUNet, "testdata") {
		g := &fixture{Fixture: f}
		f.Decode(t, g)
		out = append(out, g)
	}
	return out
}

// labels are the classes of the fixture's images; nil for a model without classes.
func (f *fixture) labels(t *testing.T) []int {
	if !f.Has("labels") {
		return nil
	}
	return f.Ints(t, "labels")
}

// predict runs a model on the fixture's inputs.
func (f *fixture) predict(t *testing.T, m *Model) []float32 {
	t.Helper()
	x, ts := f.Float32s(t, "x"), f.Ints(t, "t")
	h, w := f.Sides(t, "x")
	p, err := NewPredictor(m, len(ts), h, w)
	if err != nil {
		t.Fatal(err)
	}
	if l := f.labels(t); l != nil {
		if err := p.SetLabels(l); err != nil {
			t.Fatal(err)
		}
	}
	out := make([]float32, len(ts)*m.Config.OutChannels*h*w)
	if err := p.Predict(context.Background(), out, x, ts); err != nil {
		t.Fatal(err)
	}
	return out
}

func (f *fixture) model(t *testing.T) *Model {
	t.Helper()
	c, err := ParseConfig(f.Settings.Config)
	if err != nil {
		t.Fatal(err)
	}
	params, err := Layout(c)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, p := range params.List {
		names = append(names, p.Name)
	}
	m, err := Load(c, f.Weights(t, f.Settings.Weights, names))
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func TestGoldenOutput(t *testing.T) {
	for _, f := range fixtures(t) {
		t.Run(f.Name(), func(t *testing.T) {
			m := f.model(t)
			if m.Params.Count() != f.Settings.NumParams {
				t.Errorf("%d parameters, want %d", m.Params.Count(), f.Settings.NumParams)
			}
			e := golden.RelErr(f.predict(t, m), f.Floats(t, "out_f64"))
			t.Logf("output: %.2g of the largest value", e)
			if limit := golden.Tolerance(1e-5, 5e-5); !(e <= limit) {
				t.Errorf("output is off by %.2g of its largest value, more than %g", e, limit)
			}
		})
	}
}

func TestGoldenIntermediates(t *testing.T) {
	for _, f := range fixtures(t) {
		if !f.Has("inter.conv_in") {
			continue
		}
		t.Run(f.Name(), func(t *testing.T) {
			m := f.model(t)
			x, ts := f.Float32s(t, "x"), f.Ints(t, "t")
			h, w := f.Sides(t, "x")
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
				if !f.Has("inter."+name) || name == "conv_norm_out" { // ours ends with SiLU
					continue
				}
				n := lastOf(byName, name)
				if n == nil {
					t.Errorf("no operation makes the output of %s", name)
					continue
				}
				watched[name] = n
				outputs = append(outputs, n)
			}
			machine, err := engine.New(outputs, engine.Options{})
			if err != nil {
				t.Fatal(err)
			}
			m.Config.feed(in, x, ts, f.labels(t), h*w)
			if err := machine.RunAll(); err != nil {
				t.Fatal(err)
			}
			compared, worst, worstName := 0, 0.0, ""
			for name, n := range watched {
				got := append([]float32(nil), machine.Value(n)...)
				if s := n.Shape(); len(s) == 4 {
					nn.ToNCHW(got, machine.Value(n), s[0], s[3], s[1]*s[2])
				}
				e := golden.RelErr(got, f.Floats(t, "inter."+name))
				if limit := golden.Tolerance(1e-5, 5e-5); !(e <= limit) {
					t.Errorf("%s is off by %.2g of its largest value, more than %g", name, e, limit)
				}
				if compared++; !(e <= worst) {
					worst, worstName = e, name
				}
			}
			t.Logf("%d intermediate outputs: worst %.2g of the largest value (%s)", compared, worst, worstName)
			if compared == 0 {
				t.Error("no intermediate output was compared")
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
		t.Run(f.Name(), func(t *testing.T) {
			m := f.model(t)
			x, ts := f.Float32s(t, "x"), f.Ints(t, "t")
			h, w := f.Sides(t, "x")
			d, err := NewGradient(m.Config, m.Params, m.flat, GradientOptions{
				Slice: len(ts), H: h, W: w, InputGrad: true, NoDropout: true,
			})
			if err != nil {
				t.Fatal(err)
			}
			loss, err := d.Run(context.Background(), Example{X: x, Target: f.Float32s(t, "target"), T: ts, Labels: f.labels(t)}, nil)
			if err != nil {
				t.Fatal(err)
			}
			e := math.Abs(loss-f.LossF64) / f.LossF64
			t.Logf("loss: relative error %.2g", e)
			if !(e <= 1e-6) {
				t.Errorf("loss %g, want %g: relative error %.2g, more than 1e-6", loss, f.LossF64, e)
			}
			f.compareGradients(t, m, d)
		})
	}
}

func (f *fixture) compareGradients(t *testing.T, m *Model, d *Gradient) {
	t.Helper()
	worst, worstName, worstSumSq, compared := 0.0, "", 0.0, 0
	for _, p := range m.Params.Tensors(d.Grad()) {
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
		if !f.Has(name) {
			name = "gradsample." + p.Name
			k := len(f.Floats(t, name))
			sample := make([]float32, k)
			for i := range sample {
				sample[i] = got[i*size/k]
			}
			if want, ok := f.Checksums[p.Name]; ok {
				sum := 0.0
				for _, v := range got {
					sum += float64(v) * float64(v)
				}
				e := math.Abs(sum-want.SumSq) / want.SumSq
				worstSumSq = math.Max(worstSumSq, e)
				if limit := golden.Tolerance(3e-5, 1.2e-4); !(e <= limit) {
					t.Errorf("sum of squares of %s: relative error %.2g, more than %g", p.Name, e, limit)
				}
			}
			got = sample
		}
		e := golden.RelErr(got, f.Floats(t, name))
		if !(e <= worst) {
			worst, worstName = e, p.Name
		}
		compared++
	}
	pixels := d.h * d.w
	dx := d.InputGrad(0)
	got := make([]float32, len(dx))
	nn.ToNCHW(got, dx, len(dx)/(pixels*m.Config.InChannels), m.Config.InChannels, pixels)
	if m.Config.CenterInputSample {
		for i := range got {
			got[i] *= 2 // the graph's x is 2x - 1
		}
	}
	ex := golden.RelErr(got, f.Floats(t, "grad.x"))
	t.Logf("%d gradients: worst %.2g of the tensor's largest value (%s), sums of squares within %.2g; of x %.2g", compared, worst, worstName, worstSumSq, ex)
	if limit := golden.Tolerance(5e-5, 3e-4); !(worst <= limit) {
		t.Errorf("gradient of %s is off by %.2g of its largest value, more than %g", worstName, worst, limit)
	}
	if limit := golden.Tolerance(2e-5, 8e-5); !(ex <= limit) {
		t.Errorf("gradient of x is off by %.2g of its largest value, more than %g", ex, limit)
	}
}
