package nn

import (
	"fmt"
	"math"
	"math/rand"
	"testing"

	G "gorgonia.org/gorgonia"

	"unstir/nn/engine"
)

// Self-attention of a graph whose weights do not change, with one head (folded) and with several, is what its
// definition gives in float64; all graphs that share the folded weights, with any limit, and the stock tape machine
// have the same bits.
func TestSelfAttentionWithFixedWeights(t *testing.T) {
	for _, c := range []struct{ n, h, w, channels, heads int }{
		{2, 3, 5, 4, 1}, {1, 4, 4, 20, 1}, {2, 4, 5, 48, 1}, {3, 8, 8, 64, 1}, {1, 1, 1, 33, 1}, {2, 4, 4, 64, 2},
	} {
		t.Run(fmt.Sprintf("%+v", c), func(t *testing.T) {
			r := rand.New(rand.NewSource(int64(c.channels)))
			shape := []int{c.n, c.h, c.w, c.channels}
			x, residual := make([]float32, c.n*c.h*c.w*c.channels), make([]float32, c.n*c.h*c.w*c.channels)
			for i := range x {
				x[i], residual[i] = float32(r.NormFloat64()), float32(r.NormFloat64())
			}
			build := func(g *Graph) *G.Node {
				in, res := g.Input("x", shape...), g.Input("residual", shape...)
				copy(Data(in), x)
				copy(Data(res), residual)
				out := g.Root().In("l").SelfAttention(in, res, c.heads)
				if g.Err() != nil {
					t.Fatal(g.Err())
				}
				return out
			}
			collector := NewCollector()
			build(collector)
			params := collector.Params()
			flat := make([]float32, params.Len())
			for i := range params.List {
				for j, v := 0, params.View(flat, i); j < len(v); j++ {
					v[j] = float32(r.NormFloat64() / math.Sqrt(float64(c.channels)))
				}
			}
			view := func(name string) []float32 {
				i, ok := params.index("l." + name)
				if !ok {
					t.Fatalf("no parameter %s", name)
				}
				return params.View(flat, i)
			}
			want := selfAttention64(x, residual, view, c.n, c.h*c.w, c.channels, c.heads)

			run := func(f *Filters) []float32 {
				g := NewGraph(params, flat, false, 0)
				g.Filters = f
				out := build(g)
				m, err := engine.New(G.Nodes{out}, engine.Options{})
				if err != nil {
					t.Fatal(err)
				}
				for range 2 { // the second run takes what the first has folded
					if err := m.RunAll(); err != nil {
						t.Fatal(err)
					}
				}
				return append([]float32(nil), m.Value(out)...)
			}
			shared := NewFilters(1 << 20)
			got := run(shared)
			for i := range want {
				if d := math.Abs(float64(got[i]) - want[i]); !(d <= 1e-5*(1+math.Abs(want[i]))) {
					t.Fatalf("element %d: %v, in float64 %v", i, got[i], want[i])
				}
			}
			sameBits(t, "a second graph", run(shared), got)
			sameBits(t, "without room for filters", run(NewFilters(0)), got)

			g := NewGraph(params, flat, false, 0)
			g.Filters = NewFilters(1 << 20)
			out := build(g)
			tape := G.NewTapeMachine(g.G)
			defer tape.Close()
			if err := tape.RunAll(); err != nil {
				t.Fatal(err)
			}
			sameBits(t, "the tape machine", out.Value().Data().([]float32), got)
		})
	}
}

func sameBits(t *testing.T, what string, got, want []float32) {
	t.Helper()
	for i := range want {
		if math.Float32bits(got[i]) != math.Float32bits(want[i]) {
			t.Fatalf("%s: element %d is %v, not %v", what, i, got[i], want[i])
		}
	}
}

// selfAttention64 is the definition: residual + (softmax(q k^T / sqrt(d)) v) Wo + bo.
func selfAttention64(x, residual []float32, param func(name string) []float32, n, s, c, heads int) []float64 {
	linear := func(x []float64, name string) []float64 {
		w, b := param(name+".weight"), param(name+".bias")
		y := make([]float64, len(x))
		for p := range n * s {
			for j := range c {
				sum := float64(b[j])
				for i := range c {
					sum += x[p*c+i] * float64(w[i*c+j])
				}
				y[p*c+j] = sum
			}
		}
		return y
	}
	wide := make([]float64, len(x))
	for i, v := range x {
		wide[i] = float64(v)
	}
	q, k, v := linear(wide, "to_q"), linear(wide, "to_k"), linear(wide, "to_v")
	o, d := make([]float64, len(x)), c/heads
	for image := range n {
		for head := range heads {
			at := func(p int) int { return (image*s+p)*c + head*d }
			for i := range s {
				p, sum := make([]float64, s), 0.0
				for j := range s {
					score := 0.0
					for e := range d {
						score += q[at(i)+e] * k[at(j)+e]
					}
					p[j] = math.Exp(score / math.Sqrt(float64(d)))
					sum += p[j]
				}
				for j := range s {
					for e := range d {
						o[at(i)+e] += p[j] / sum * v[at(j)+e]
					}
				}
			}
		}
	}
	y := linear(o, "to_out.0")
	for i := range y {
		y[i] += float64(residual[i])
	}
	return y
}
