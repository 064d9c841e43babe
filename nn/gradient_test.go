package nn

import (
	"fmt"
	"math"
	"math/rand"
	"testing"

	G "gorgonia.org/gorgonia"

	"unstir/nn/engine"
)

// layerCase is a layer, or a few, whose gradients are checked. build returns the output; every input is
// differentiated too.
type layerCase struct {
	name   string
	inputs [][]int
	build  func(s Scope, in G.Nodes) *G.Node
	loss   func(s Scope, out, target, weight *G.Node, perImage []float32) *G.Node // nil: the weighted squared error
}

var layerCases = []layerCase{
	{"conv 3x3", [][]int{{2, 5, 6, 3}}, func(s Scope, in G.Nodes) *G.Node {
		return s.In("l").Conv(in[0], 4, ConvOptions{Size: 3, Pad: Same})
	}, nil},
	{"conv 1x1 with residual", [][]int{{2, 3, 4, 5}, {2, 3, 4, 2}}, func(s Scope, in G.Nodes) *G.Node {
		return s.In("l").Conv(in[0], 2, ConvOptions{Residual: in[1]})
	}, nil},
	{"conv with time embedding and residual", [][]int{{2, 4, 4, 3}, {2, 5}, {2, 4, 4, 5}}, func(s Scope, in G.Nodes) *G.Node {
		return s.In("l").Conv(in[0], 5, ConvOptions{Size: 3, Pad: Same, PerImage: in[1], Residual: in[2]})
	}, nil},
	{"conv stride 2, symmetric", [][]int{{2, 6, 6, 3}}, func(s Scope, in G.Nodes) *G.Node {
		return s.In("l").Conv(in[0], 2, ConvOptions{Size: 3, Stride: 2, Pad: Same})
	}, nil},
	{"conv stride 2, right and bottom", [][]int{{1, 6, 4, 3}}, func(s Scope, in G.Nodes) *G.Node {
		return s.In("l").Conv(in[0], 2, ConvOptions{Size: 3, Stride: 2, Pad: Padding{Bottom: 1, Right: 1}})
	}, nil},
	{"linear on rows", [][]int{{3, 4}}, func(s Scope, in G.Nodes) *G.Node { return s.In("l").Linear(in[0], 5, nil, false) }, nil},
	{"linear on pixels with residual", [][]int{{2, 3, 2, 4}, {2, 3, 2, 3}}, func(s Scope, in G.Nodes) *G.Node {
		return s.In("l").Linear(in[0], 3, in[1], false)
	}, nil},
	{"embedding", [][]int{{3, 4}}, func(s Scope, in G.Nodes) *G.Node { return s.In("l").Embedding(in[0], 5) }, nil},
	{"group norm", [][]int{{2, 3, 4, 6}}, func(s Scope, in G.Nodes) *G.Node {
		return s.In("l").GroupNorm(in[0], NormOptions{Groups: 3, Eps: 1e-5})
	}, nil},
	{"group norm and SiLU", [][]int{{2, 3, 4, 8}}, func(s Scope, in G.Nodes) *G.Node {
		return s.In("l").GroupNorm(in[0], NormOptions{Groups: 2, Eps: 1e-5, SiLU: true})
	}, nil},
	{"group norm, scale and shift", [][]int{{2, 3, 3, 4}, {2, 8}}, func(s Scope, in G.Nodes) *G.Node {
		return s.In("l").GroupNorm(in[0], NormOptions{Groups: 2, Eps: 1e-5, SiLU: true, ScaleShift: in[1]})
	}, nil},
	{"attention", [][]int{{2, 2, 3, 4}, {2, 2, 3, 4}, {2, 2, 3, 4}}, func(s Scope, in G.Nodes) *G.Node {
		return s.In("l").attention(in[0], in[1], in[2], 2)
	}, nil},
	{"self-attention, one head, weights folded", [][]int{{2, 2, 3, 4}, {2, 2, 3, 4}}, func(s Scope, in G.Nodes) *G.Node {
		return s.In("l").SelfAttention(in[0], in[1], 1)
	}, nil},
	{"self-attention, one head, few pixels", [][]int{{2, 1, 3, 4}, {2, 1, 3, 4}}, func(s Scope, in G.Nodes) *G.Node {
		return s.In("l").SelfAttention(in[0], in[1], 1)
	}, nil},
	{"silu", [][]int{{3, 7}}, func(s Scope, in G.Nodes) *G.Node { return s.In("l").SiLU(in[0]) }, nil},
	{"add", [][]int{{2, 3, 3, 2}, {2, 3, 3, 2}}, func(s Scope, in G.Nodes) *G.Node { return s.In("l").Add(in[0], in[1]) }, nil},
	{"conv behind an upsampling", [][]int{{2, 2, 3, 4}}, func(s Scope, in G.Nodes) *G.Node {
		return s.In("l").Conv(in[0], 3, ConvOptions{Size: 3, Pad: Same, Upsample: true})
	}, nil},
	{"conv behind an upsampling, by 2x2 filters", [][]int{{1, 3, 3, 12}, {1, 12}, {1, 6, 6, 12}}, func(s Scope, in G.Nodes) *G.Node {
		return s.In("l").Conv(in[0], 12, ConvOptions{Size: 3, Pad: Same, Upsample: true, PerImage: in[1], Residual: in[2]})
	}, nil},
	{"group norm of a pair", [][]int{{2, 3, 4, 4}, {2, 3, 4, 5}}, func(s Scope, in G.Nodes) *G.Node {
		return s.In("l").GroupNorm(in[0], NormOptions{Groups: 3, Eps: 1e-5, Skip: in[1]})
	}, nil},
	{"group norm of a pair, SiLU, scale and shift", [][]int{{2, 3, 3, 3}, {2, 3, 3, 1}, {2, 8}}, func(s Scope, in G.Nodes) *G.Node {
		return s.In("l").GroupNorm(in[0], NormOptions{Groups: 2, Eps: 1e-5, SiLU: true, ScaleShift: in[2], Skip: in[1]})
	}, nil},
	{"conv 1x1 of a pair", [][]int{{2, 3, 4, 5}, {2, 3, 4, 2}}, func(s Scope, in G.Nodes) *G.Node {
		return s.In("l").Conv(in[0], 3, ConvOptions{Skip: in[1]})
	}, nil},
	{"conv 1x1 of a pair, time embedding and residual", [][]int{{2, 3, 4, 1}, {2, 3, 4, 4}, {2, 6}, {2, 3, 4, 6}}, func(s Scope, in G.Nodes) *G.Node {
		return s.In("l").Conv(in[0], 6, ConvOptions{PerImage: in[2], Residual: in[3], Skip: in[1]})
	}, nil},
	{"dropout", [][]int{{2, 3, 3, 4}}, func(s Scope, in G.Nodes) *G.Node { return s.In("l").Dropout(in[0], 0.4) }, nil},
	{"a residual block", [][]int{{2, 4, 4, 4}, {2, 6}}, func(s Scope, in G.Nodes) *G.Node {
		x := in[0]
		h := s.In("n1").GroupNorm(x, NormOptions{Groups: 2, Eps: 1e-5, SiLU: true})
		h = s.In("c1").Conv(h, 4, ConvOptions{Size: 3, Pad: Same, PerImage: s.In("t").Linear(in[1], 4, nil, false)})
		h = s.In("n2").GroupNorm(h, NormOptions{Groups: 2, Eps: 1e-5, SiLU: true})
		h = s.Dropout(h, 0.2)
		return s.In("c2").Conv(h, 4, ConvOptions{Size: 3, Pad: Same, Residual: x})
	}, nil},
	{"a block that reads a skip connection", [][]int{{2, 4, 4, 4}}, func(s Scope, in G.Nodes) *G.Node {
		skip := s.In("c0").Conv(in[0], 2, ConvOptions{Size: 3, Pad: Same})
		x := s.In("c1").Conv(skip, 4, ConvOptions{Size: 3, Pad: Same})
		h := s.In("n").GroupNorm(x, NormOptions{Groups: 2, Eps: 1e-5, SiLU: true, Skip: skip})
		x = s.In("shortcut").Conv(x, 3, ConvOptions{Skip: skip})
		return s.In("c2").Conv(h, 3, ConvOptions{Size: 3, Pad: Same, Residual: x})
	}, nil},
	{"mean of pixels", [][]int{{2, 3, 4, 5}}, func(s Scope, in G.Nodes) *G.Node { return s.In("l").PixelMean(in[0]) }, nil},
	{"cross-entropy", [][]int{{3, 5}}, func(_ Scope, in G.Nodes) *G.Node { return in[0] }, Scope.CrossEntropy},
	{"the head of a classifier", [][]int{{2, 3, 3, 4}}, func(s Scope, in G.Nodes) *G.Node {
		h := s.In("n").GroupNorm(in[0], NormOptions{Groups: 2, Eps: 1e-5, SiLU: true})
		return s.In("out").Linear(s.In("pool").PixelMean(h), 3, nil, false)
	}, Scope.CrossEntropy},
}

// layerGraph is a case's graph with its loss, and random numbers everywhere.
type layerGraph struct {
	g      *Graph
	inputs G.Nodes
	loss   *G.Node
	grads  G.Nodes // of parameters, then of inputs
	flat   []float32
}

func (c layerCase) graph(t *testing.T, seed int64) *layerGraph {
	t.Helper()
	r := rand.New(rand.NewSource(seed))
	random := func(v []float32) {
		for i := range v {
			v[i] = float32(r.NormFloat64())
		}
	}
	make1 := func(g *Graph) (G.Nodes, *G.Node) {
		var in G.Nodes
		for i, shape := range c.inputs {
			n := g.Input(fmt.Sprintf("in%d", i), shape...)
			g.WantGrad(n)
			in = append(in, n)
		}
		out := c.build(g.Root(), in)
		if g.Err() != nil {
			t.Fatal(g.Err())
		}
		return in, out
	}
	collector := NewCollector()
	make1(collector)
	params := collector.Params()
	l := &layerGraph{flat: make([]float32, params.Len())}
	for i := range params.List {
		random(params.View(l.flat, i))
	}
	l.g = NewGraph(params, l.flat, true, 0)
	l.g.Run.Seed, l.g.Run.Step = 7, 3
	var out *G.Node
	l.inputs, out = make1(l.g)
	for _, n := range l.inputs {
		random(Data(n))
	}
	target := l.g.Input("target", out.Shape()...)
	weight := l.g.Input("weight", out.Shape()[0])
	if random(Data(target)); c.loss != nil { // probabilities, or what may be taken for them
		for i, v := range Data(target) {
			Data(target)[i] = max(v, 0)
		}
	}
	for i, w := 0, Data(weight); i < len(w); i++ {
		w[i] = 0.3 + 0.2*float32(i)
	}
	perImage := make([]float32, out.Shape()[0])
	loss := c.loss
	if loss == nil {
		loss = Scope.SquaredError
	}
	l.loss = loss(l.g.Root().In("loss"), out, target, weight, perImage)
	var err error
	if l.grads, err = l.g.Grad(l.loss, l.inputs...); err != nil {
		t.Fatal(err)
	}
	return l
}

// variables are the memory of the parameters and the inputs, in the order of grads.
func (l *layerGraph) variables() [][]float32 {
	var out [][]float32
	for i := range l.g.Params().List {
		out = append(out, l.g.Params().View(l.flat, i))
	}
	for _, n := range l.inputs {
		out = append(out, Data(n))
	}
	return out
}

// Each layer's gradient is the slope of its loss, for every parameter and input.
func TestGradientsAreFiniteDifferences(t *testing.T) {
	for _, c := range layerCases {
		t.Run(c.name, func(t *testing.T) {
			l := c.graph(t, 1)
			m, err := engine.New(append(G.Nodes{l.loss}, l.grads...), engine.Options{})
			if err != nil {
				t.Fatal(err)
			}
			run := func() float64 {
				if err := m.RunAll(); err != nil {
					t.Fatal(err)
				}
				return float64(m.Value(l.loss)[0])
			}
			run()
			var analytic [][]float32
			for _, n := range l.grads {
				analytic = append(analytic, append([]float32(nil), m.Value(n)...))
			}
			for k, v := range l.variables() {
				var worst, largest float64
				for j := range v {
					const h = 1.0 / 128
					old := v[j]
					v[j] = old + h
					up := run()
					v[j] = old - h
					down := run()
					v[j] = old
					slope := (up - down) / (2 * h)
					worst = math.Max(worst, math.Abs(slope-float64(analytic[k][j])))
					largest = math.Max(largest, math.Abs(slope))
				}
				if !(worst <= 4e-3*largest+2e-4) {
					t.Errorf("%s: gradient %d is off by %.3g where the largest is %.3g", l.grads[k].Name(), k, worst, largest)
				}
			}
		})
	}
}

// The stock TapeMachine is the engine's oracle: the same graph, the same bits.
func TestEngineAgreesWithTapeMachine(t *testing.T) {
	for _, c := range layerCases {
		t.Run(c.name, func(t *testing.T) {
			ours, theirs := c.graph(t, 2), c.graph(t, 2)
			m, err := engine.New(append(G.Nodes{ours.loss}, ours.grads...), engine.Options{})
			if err != nil {
				t.Fatal(err)
			}
			if err := m.RunAll(); err != nil {
				t.Fatal(err)
			}
			tape := G.NewTapeMachine(theirs.g.G)
			defer tape.Close()
			if err := tape.RunAll(); err != nil {
				t.Fatal(err)
			}
			for i, n := range append(G.Nodes{ours.loss}, ours.grads...) {
				o := append(G.Nodes{theirs.loss}, theirs.grads...)[i]
				got := m.Value(n)
				var want []float32
				switch v := o.Value().Data().(type) {
				case []float32:
					want = v
				case float32:
					want = []float32{v}
				}
				if len(got) != len(want) {
					t.Fatalf("output %d: %d values, the tape has %d", i, len(got), len(want))
				}
				for j := range want {
					if math.Float32bits(got[j]) != math.Float32bits(want[j]) {
						t.Fatalf("output %d, element %d: %v, the tape has %v", i, j, got[j], want[j])
					}
				}
			}
		})
	}
}

// A layer that reads two tensors is the layer that reads the two joined, with the same parameters.
func TestAPairIsTheTwoJoined(t *testing.T) {
	const rows, ca, cb = 2 * 3 * 4, 5, 3
	layers := map[string]func(s Scope, x, skip *G.Node) *G.Node{
		"group norm": func(s Scope, x, skip *G.Node) *G.Node {
			return s.GroupNorm(x, NormOptions{Groups: 2, Eps: 1e-5, SiLU: true, Skip: skip})
		},
		"conv": func(s Scope, x, skip *G.Node) *G.Node { return s.Conv(x, 6, ConvOptions{Skip: skip}) },
	}
	for name, layer := range layers {
		r := rand.New(rand.NewSource(3))
		a, b := make([]float32, rows*ca), make([]float32, rows*cb)
		for _, v := range [][]float32{a, b} {
			for i := range v {
				v[i] = float32(r.NormFloat64())
			}
		}
		var joined []float32
		for i := 0; i < rows; i++ {
			joined = append(append(joined, a[i*ca:(i+1)*ca]...), b[i*cb:(i+1)*cb]...)
		}
		collector := NewCollector()
		layer(collector.Root().In("l"), collector.Input("x", 2, 3, 4, ca+cb), nil)
		flat := make([]float32, collector.Params().Len())
		for i := range flat {
			flat[i] = float32(r.NormFloat64())
		}
		for _, train := range []bool{true, false} { // sampling packs filters once
			var out [2][]float32
			for i, pair := range []bool{false, true} {
				g := NewGraph(collector.Params(), flat, train, 0)
				x, skip := g.Input("x", 2, 3, 4, ca+cb), (*G.Node)(nil)
				if pair {
					x, skip = g.Input("x", 2, 3, 4, ca), g.Input("skip", 2, 3, 4, cb)
					copy(Data(x), a)
					copy(Data(skip), b)
				} else {
					copy(Data(x), joined)
				}
				y := layer(g.Root().In("l"), x, skip)
				if g.Err() != nil {
					t.Fatal(g.Err())
				}
				m, err := engine.New(G.Nodes{y}, engine.Options{})
				if err != nil {
					t.Fatal(err)
				}
				if err := m.RunAll(); err != nil {
					t.Fatal(err)
				}
				out[i] = m.Value(y)
			}
			for i, want := range out[0] {
				if got := out[1][i]; !(math.Abs(float64(got-want)) <= 1e-5) {
					t.Fatalf("%s, element %d: %v, joined %v", name, i, got, want)
				}
			}
		}
	}
}

func TestAFilterOfSize3ReadsOneTensor(t *testing.T) {
	g := NewCollector()
	g.Root().In("l").Conv(g.Input("x", 1, 4, 4, 2), 3, ConvOptions{Size: 3, Pad: Same, Skip: g.Input("skip", 1, 4, 4, 2)})
	if g.Err() == nil {
		t.Error("no error")
	}
}
