package classifier

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strings"
	"testing"

	G "gorgonia.org/gorgonia"

	"unstir/internal/alloctest"
	"unstir/internal/rng"
	"unstir/internal/setting"
	"unstir/nn"
	"unstir/nn/engine"
	"unstir/nn/kernel"
)

// small is a classifier of two levels for images of odd sides.
func small(noisy bool) Config {
	return Config{Channels: []int{8, 16}, Features: 12, Noisy: noisy, InChannels: 2, Height: 9, Width: 6, Classes: 5}
}

func noise(n int, key uint64) []float32 {
	x := make([]float32, n)
	rng.Normal(x, key, rng.InitialNoise, 0, 0)
	return x
}

// random is a classifier whose weights are all random, so that no layer is without effect.
func random(t *testing.T, c Config) *Model {
	t.Helper()
	params, err := Layout(c)
	if err != nil {
		t.Fatal(err)
	}
	m, err := FromFlat(c, params, engine.AlignedFloats(params.Len()))
	if err != nil {
		t.Fatal(err)
	}
	params.Initialize(m.flat, 1)
	for i, p := range m.Params.List {
		if p.Init.Kind == nn.Zeros {
			for j, v := range noise(p.Size, uint64(i)) {
				m.Params.View(m.flat, i)[j] = 0.2 * v
			}
		}
	}
	return m
}

// example is a batch of n.
func example(c Config, n int) Example {
	e := Example{X: noise(n*c.dim(), 2), Labels: make([]int, n)}
	for i := range n {
		e.Labels[i] = i * 3 % c.Classes
		if c.Noisy {
			e.T = append(e.T, i*97%1000)
		}
	}
	return e
}

func predict(t *testing.T, m *Model, batch int, x []float32, ts []int) (logits, features []float32) {
	t.Helper()
	p, err := NewPredictor(m, batch)
	if err != nil {
		t.Fatal(err)
	}
	n := len(x) / m.Config.dim()
	logits, features = make([]float32, n*m.Config.Classes), make([]float32, n*m.Config.Features)
	if err := p.Predict(context.Background(), logits, features, x, ts); err != nil {
		t.Fatal(err)
	}
	return logits, features
}

// kinds runs a test for a classifier of images and one of noisy images.
func kinds(t *testing.T, f func(t *testing.T, c Config)) {
	for _, noisy := range []bool{false, true} {
		t.Run(fmt.Sprintf("noisy=%v", noisy), func(t *testing.T) { f(t, small(noisy)) })
	}
}

// The gradient is the slope of the loss along random directions, and the loss is the mean of the images' own, which are
// those of the predictor's logits.
func TestGradientIsTheSlopeOfTheLoss(t *testing.T) {
	kinds(t, func(t *testing.T, c Config) {
		m := random(t, c)
		d, err := NewGradient(c, m.Params, m.flat, 3)
		if err != nil {
			t.Fatal(err)
		}
		e := example(c, 7)
		per := make([]float64, 7)
		loss, right, err := d.Run(context.Background(), e, per)
		if err != nil {
			t.Fatal(err)
		}
		grad := append([]float32(nil), d.Grad()...)
		logits, _ := predict(t, m, 4, e.X, e.T)
		told := make([]int, 7)
		Argmax(told, logits)
		var mean float64
		wantRight := 0
		for i, l := range e.Labels {
			var sum float64
			for _, v := range logits[i*c.Classes : (i+1)*c.Classes] {
				sum += math.Exp(float64(v))
			}
			want := math.Log(sum) - float64(logits[i*c.Classes+l])
			if math.Abs(per[i]-want) > 1e-4 {
				t.Errorf("the loss of image %d is %v, not %v", i, per[i], want)
			}
			mean += want / 7
			if told[i] == l {
				wantRight++
			}
		}
		if math.Abs(loss-mean) > 1e-4 || right != wantRight {
			t.Errorf("loss %v with %d right, want %v with %d", loss, right, mean, wantRight)
		}
		for key := range uint64(4) {
			direction := make([]float32, len(m.flat))
			var slope float64
			for i, p := range m.Params.List {
				v := noise(p.Size, 100+key*1000+uint64(i))
				copy(m.Params.View(direction, i), v)
				for j, g := range m.Params.View(grad, i) {
					slope += float64(g) * float64(v[j])
				}
			}
			const h = 1e-3
			at := func(step float32) float64 {
				old := append([]float32(nil), m.flat...)
				defer copy(m.flat, old)
				for i, v := range direction {
					m.flat[i] += step * v
				}
				loss, _, err := d.Run(context.Background(), e, nil)
				if err != nil {
					t.Fatal(err)
				}
				return loss
			}
			if got := (at(h) - at(-h)) / (2 * h); math.Abs(got-slope) > 0.01*math.Abs(slope)+0.02 {
				t.Errorf("direction %d: the loss has slope %v, the gradient says %v", key, got, slope)
			}
		}
	})
}

// Gorgonia's own tape machine gives the bits of the planned engine on the graph of a whole classifier.
func TestTapeMachineAgrees(t *testing.T) {
	kinds(t, func(t *testing.T, c Config) {
		build := func() (*nn.Graph, G.Nodes) {
			m := random(t, c)
			d, graph := newGradient(c, m.Params, m.flat, 2)
			g := nn.NewGraph(m.Params, m.flat, true, 0)
			loss, err := graph.Build(g)
			if err != nil {
				t.Fatal(err)
			}
			e := example(c, 2)
			c.feed(d.in, e.X, e.T, 2)
			copy(d.weight, []float32{0.3, 0.7})
			d.target[1], d.target[c.Classes+4] = 1, 1
			grads, err := g.Grad(loss.Loss)
			if err != nil {
				t.Fatal(err)
			}
			return g, append(append(G.Nodes{loss.Loss}, grads...), d.logits)
		}
		_, ours := build()
		m, err := engine.New(ours, engine.Options{})
		if err != nil {
			t.Fatal(err)
		}
		if err := m.RunAll(); err != nil {
			t.Fatal(err)
		}
		g, theirs := build()
		tape := G.NewTapeMachine(g.G)
		defer tape.Close()
		if err := tape.RunAll(); err != nil {
			t.Fatal(err)
		}
		for i, n := range ours {
			want, ok := theirs[i].Value().Data().([]float32)
			if !ok {
				want = []float32{theirs[i].Value().Data().(float32)}
			}
			sameBits(t, fmt.Sprint(n.Op()), m.Value(n), want)
		}
	})
}

func sameBits(t *testing.T, what string, got, want []float32) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("%s: %d values, want %d", what, len(got), len(want))
	}
	for i := range want {
		if math.Float32bits(got[i]) != math.Float32bits(want[i]) {
			t.Fatalf("%s: element %d is %v, want %v", what, i, got[i], want[i])
		}
	}
}

// An image's logits and features have the same bits in any batch, on any number of threads and at both levels of assembly.
func TestPredictionsDependOnTheImageAlone(t *testing.T) {
	kinds(t, func(t *testing.T, c Config) {
		defer kernel.SetThreads(kernel.Threads())
		defer kernel.SetLevel(kernel.ThisCPU().Level)
		m, e := random(t, c), example(c, 5)
		logits, features := predict(t, m, 5, e.X, e.T)
		check := func(what string) {
			t.Helper()
			for _, batch := range []int{1, 2, 8} {
				l, f := predict(t, m, batch, e.X, e.T)
				sameBits(t, what+", logits", l, logits)
				sameBits(t, what+", features", f, features)
			}
		}
		kernel.SetThreads(1)
		check("one thread")
		if kernel.ThisCPU().Level == kernel.AVX512 && kernel.SetLevel(kernel.AVX2) == nil {
			m = random(t, c)
			check("AVX2")
		}
	})
}

// The logits are the last linear layer of the features, and those of a noisy classifier depend on t.
func TestFeaturesComeBeforeTheLastLayer(t *testing.T) {
	kinds(t, func(t *testing.T, c Config) {
		m, e := random(t, c), example(c, 3)
		logits, features := predict(t, m, 3, e.X, e.T)
		last := len(m.Params.List) - 1
		weight, bias := m.Params.View(m.flat, last-1), m.Params.View(m.flat, last)
		for i := range 3 {
			for k := range c.Classes {
				want := float64(bias[k])
				for j, f := range features[i*c.Features : (i+1)*c.Features] {
					want += float64(f) * float64(weight[j*c.Classes+k])
				}
				if got := logits[i*c.Classes+k]; math.Abs(float64(got)-want) > 1e-5 {
					t.Errorf("logit %d of image %d is %v, the features give %v", k, i, got, want)
				}
			}
		}
		other, _ := predict(t, m, 3, e.X, []int{500, 500, 500})
		if same := other[0] == logits[0]; same == c.Noisy {
			t.Errorf("another t gives the same logits: %v", same)
		}
	})
}

// A batch has the same loss and gradient in slices of any length, up to rounding, and a run of a gradient allocates nothing
// after its first.
func TestSlicesAgreeAndAllocateNothing(t *testing.T) {
	kinds(t, func(t *testing.T, c Config) {
		m, e := random(t, c), example(c, 7)
		var losses [2]float64
		var grads [2][]float32
		for i, slice := range []int{3, 7} {
			d, err := NewGradient(c, m.Params, m.flat, slice)
			if err != nil {
				t.Fatal(err)
			}
			run := func() {
				if losses[i], _, err = d.Run(context.Background(), e, nil); err != nil {
					t.Fatal(err)
				}
			}
			run()
			if n := alloctest.Count(3, run); n > 0 {
				t.Errorf("slices of %d: 3 runs made %d allocations", slice, n)
			}
			grads[i] = d.Grad()
		}
		if math.Abs(losses[0]-losses[1]) > 1e-5 {
			t.Errorf("losses %v", losses)
		}
		var worst, largest float64
		for j, v := range grads[1] {
			worst, largest = max(worst, math.Abs(float64(v-grads[0][j]))), max(largest, math.Abs(float64(v)))
		}
		if worst > 1e-5*largest {
			t.Errorf("the gradients differ by %v, where the largest value is %v", worst, largest)
		}
	})
}

// The memory that is computed is the memory that is allocated.
func TestForeseenMemoryIsWhatIsTaken(t *testing.T) {
	kinds(t, func(t *testing.T, c Config) {
		m := random(t, c)
		foreseen, err := GradientMemory(c, m.Params, m.flat, 3, 7)
		if err != nil {
			t.Fatal(err)
		}
		d, err := NewGradient(c, m.Params, m.flat, 3)
		if err != nil {
			t.Fatal(err)
		}
		taken := int64(d.Machine().Stats().Arena) + 4*int64(nn.GradientsHeld(7, 3)*m.Params.Len()+len(d.in.x)+len(d.target))
		if foreseen != taken {
			t.Errorf("a gradient: %d bytes were computed, %d allocated", foreseen, taken)
		}
		filters := int64(0)
		for _, batch := range []int{1, 5} {
			if foreseen, err = PredictorMemory(m, batch); err != nil {
				t.Fatal(err)
			}
			p, err := NewPredictor(m, batch)
			if err != nil {
				t.Fatal(err)
			}
			e := example(c, batch)
			if err := p.Predict(context.Background(), nil, nil, e.X, e.T); err != nil {
				t.Fatal(err)
			}
			taken := int64(p.machine.Stats().Arena) + 4*int64(len(p.in.x)) + m.filters.Bytes() - filters
			if foreseen != taken {
				t.Errorf("a batch of %d: %d bytes were computed, %d allocated", batch, foreseen, taken)
			}
			filters = m.filters.Bytes()
		}
	})
}

// Weights written as files have them and read again are the same.
func TestWeightsRoundTrip(t *testing.T) {
	m := random(t, small(true))
	tensors := map[string]nn.Tensor{}
	for _, x := range m.Params.Tensors(m.flat) {
		tensors[x.Name] = x
	}
	again, err := Load(m.Config, func(name string, shape []int, dst []float32) error {
		if fmt.Sprint(shape) != fmt.Sprint(tensors[name].Shape) {
			t.Errorf("%s has shape %v, written as %v", name, shape, tensors[name].Shape)
		}
		tensors[name].Fill(dst)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	sameBits(t, "weights", again.flat, m.flat)
	broken := errors.New("broken")
	if _, err := Load(m.Config, func(string, []int, []float32) error { return broken }); !errors.Is(err, broken) || !strings.Contains(err.Error(), `"time_embedding.linear_1.weight"`) {
		t.Errorf("error %v, want one that names the tensor", err)
	}
	if _, err := FromFlat(m.Config, m.Params, m.flat[1:]); err == nil {
		t.Error("too few weights are taken")
	}
}

func TestWrongCallsAreErrors(t *testing.T) {
	c := small(true)
	m, e := random(t, c), example(c, 2)
	d, err := NewGradient(c, m.Params, m.flat, 2)
	if err != nil {
		t.Fatal(err)
	}
	for want, change := range map[string]func(e *Example){
		"2 labels with 215 values":         func(e *Example) { e.X = e.X[1:] },
		"0 labels":                         func(e *Example) { e.Labels = nil },
		"1 timesteps for 2 images":         func(e *Example) { e.T = e.T[1:] },
		"label 5; the classes are 0 to 4":  func(e *Example) { e.Labels = []int{0, 5} },
		"label -1; the classes are 0 to 4": func(e *Example) { e.Labels = []int{-1, 0} },
	} {
		wrong := e
		change(&wrong)
		if _, _, err := d.Run(context.Background(), wrong, nil); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want one with %q", err, want)
		}
	}
	p, err := NewPredictor(m, 2)
	if err != nil {
		t.Fatal(err)
	}
	for want, call := range map[string]func() error{
		"are no whole number of images": func() error { return p.Predict(context.Background(), nil, nil, e.X[1:], e.T) },
		"room for 3 logits":             func() error { return p.Predict(context.Background(), make([]float32, 3), nil, e.X, e.T) },
		"0 timesteps for 2 images":      func() error { return p.Predict(context.Background(), nil, nil, e.X, nil) },
		"a batch of 0 images":           func() error { _, err := NewPredictor(m, 0); return err },
		"slices of 0 images":            func() error { _, err := NewGradient(c, m.Params, m.flat, 0); return err },
		"canceled": func() error {
			ctx, cancel := context.WithCancel(context.Background())
			cancel()
			return p.Predict(ctx, nil, nil, e.X, e.T)
		},
	} {
		if err := call(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want one with %q", err, want)
		}
	}
}

func TestArgmaxTakesTheFirstOfEqualLogits(t *testing.T) {
	told := make([]int, 3)
	Argmax(told, []float32{1, 2, 0, 3, 3, 1, -5, -4, -4})
	if fmt.Sprint(told) != "[1 0 1]" {
		t.Errorf("%v", told)
	}
}

func TestValidateNamesTheKey(t *testing.T) {
	for key, change := range map[string]func(c *Config){
		"channels":    func(c *Config) { c.Channels = []int{8, 12} },
		"features":    func(c *Config) { c.Features = 0 },
		"in_channels": func(c *Config) { c.InChannels = 0 },
		"height":      func(c *Config) { c.Height = -1 },
		"width":       func(c *Config) { c.Width = 1 << 20 },
		"num_classes": func(c *Config) { c.Classes = 0 },
	} {
		c := small(false)
		change(&c)
		var e *setting.Error
		if _, err := Layout(c); !errors.As(err, &e) || e.Key != key {
			t.Errorf("%s: error %v", key, err)
		}
	}
}

// DefaultSlice keeps a layer's activations to 8 MB.
func TestDefaultSlice(t *testing.T) {
	c := small(false)
	if n := DefaultSlice(c); n != 64 {
		t.Errorf("small images: slices of %d", n)
	}
	c.Height, c.Width = 512, 512
	if n := DefaultSlice(c); n != 1 {
		t.Errorf("images of 512x512: slices of %d", n)
	}
}
