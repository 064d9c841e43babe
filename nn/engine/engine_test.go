package engine

import (
	"context"
	"errors"
	"math/rand"
	"strings"
	"testing"

	G "gorgonia.org/gorgonia"
	"gorgonia.org/tensor"

	"unstir/nn/kernel"
)

func input(g *G.ExprGraph, name string, v ...float32) *G.Node {
	return G.NewTensor(g, tensor.Float32, 1, G.WithShape(len(v)), G.WithName(name), G.WithValue(tensor.New(tensor.WithShape(len(v)), tensor.WithBacking(v))))
}

var scaleScratch = kernel.ScratchSize{Shared: 3, Own: 2, Workers: 2}

// scale is y = k x, with the sum of x as its by-product.
func scale(t *testing.T, x *G.Node, k float32, inPlace bool) *G.Node {
	t.Helper()
	op := &Op{
		Name: "scale", Dims: []int{1}, Shape: x.Shape(), Extras: []int{1}, Scratch: scaleScratch, Wrt: []bool{true},
		Kernel: func(c *Call) {
			var sum float32
			for i, v := range c.In[0] {
				sum += v
				c.Out[i] = k * v
			}
			for _, mem := range append(c.Scratch.Own, c.Scratch.Shared) {
				for i := range mem {
					mem[i] = -1 // scratch must not overlap anything alive
				}
			}
			if c.Extra[0] != nil {
				c.Extra[0][0] = sum
			}
		},
		Diff: func(in G.Nodes, _, dy *G.Node) (G.Nodes, error) { return G.Nodes{scale(t, dy, k, inPlace)}, nil },
	}
	if inPlace {
		op.InPlace = []int{0}
	}
	n, err := Apply(op, x)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// A worker's own memory is the same in all steps, and enough for the one that needs most.
func TestStepsShareTheWorkersMemory(t *testing.T) {
	g := G.NewGraph()
	var seen []kernel.Scratch
	n := input(g, "x", 1, 2, 3)
	for _, size := range []kernel.ScratchSize{{Shared: 4, Own: 5, Workers: 1}, {}, {Own: 2, Workers: 3}} {
		next, err := Apply(&Op{
			Name: "copy", Dims: []int{1}, Shape: n.Shape(), Scratch: size,
			Kernel: func(c *Call) {
				copy(c.Out, c.In[0])
				seen = append(seen, c.Scratch)
			},
		}, n)
		if err != nil {
			t.Fatal(err)
		}
		n = next
	}
	m, err := New(G.Nodes{n}, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if err := m.RunAll(); err != nil {
		t.Fatal(err)
	}
	if len(seen) != 3 || len(seen[0].Shared) != 4 || len(seen[2].Shared) != 0 {
		t.Fatalf("%d steps, %+v", len(seen), seen)
	}
	for i := range seen {
		if len(seen[i].Own) != 3 {
			t.Fatalf("step %d has the memory of %d workers", i, len(seen[i].Own))
		}
		for w, own := range seen[i].Own {
			if len(own) != 5 || &own[0] != &seen[0].Own[w][0] {
				t.Errorf("step %d: worker %d's memory has %d floats, or is another", i, w, len(own))
			}
		}
	}
}

func TestByproductsAndPinning(t *testing.T) {
	g := G.NewGraph()
	x := input(g, "x", 1, 2, 3)
	y := scale(t, x, 2, false)
	sum, err := Extra(y, 0, 1)
	if err != nil {
		t.Fatal(err)
	}
	z := scale(t, y, 10, true)
	pinnedZ, pinnedSum := make([]float32, 3), make([]float32, 1)
	m, err := New(G.Nodes{y, z, sum}, Options{Pin: map[*G.Node][]float32{z: pinnedZ, sum: pinnedSum}})
	if err != nil {
		t.Fatal(err)
	}
	for run := 1; run <= 3; run++ {
		if err := m.RunAll(); err != nil {
			t.Fatal(err)
		}
		if pinnedZ[2] != 60 || pinnedSum[0] != 6 {
			t.Errorf("run %d: pinned %v and %v", run, pinnedZ, pinnedSum)
		}
		if got := m.Value(y); got[1] != 4 {
			t.Errorf("an output was overwritten: %v", got)
		}
	}
}

// Gradients that meet in a node are added, in place, without touching what is still needed.
func TestFanIn(t *testing.T) {
	g := G.NewGraph()
	x := input(g, "x", 1, 2, 3)
	a := scale(t, x, 2, true)
	b := scale(t, x, 3, true)
	c := scale(t, x, 5, true)
	sum := G.Must(G.Add(G.Must(G.Add(a, b)), c))
	m, err := New(G.Nodes{sum, b}, Options{})
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := m.RunAll(); err != nil {
			t.Fatal(err)
		}
		if s, v := m.Value(sum), m.Value(b); s[2] != 30 || v[2] != 9 {
			t.Errorf("sum %v, b %v", s, v)
		}
		if got, _ := floats(x.Value()); got[0] != 1 || got[2] != 3 {
			t.Errorf("the input was overwritten: %v", got)
		}
	}
}

// adder is y = k x, and as its by-product -x, each added to what is there where the engine says so.
func adder(t *testing.T, x *G.Node, k float32, adds int) *G.Node {
	t.Helper()
	write := func(out []float32, k float32, x []float32, add bool) {
		for i, v := range x {
			if add {
				out[i] += k * v
			} else {
				out[i] = k * v
			}
		}
	}
	op := &Op{Name: "adder", Dims: []int{1}, Shape: x.Shape(), Extras: []int{x.Shape().TotalSize()}, Adds: adds}
	op.Kernel = func(c *Call) {
		write(c.Out, k, c.In[0], c.Add)
		if c.Extra[0] != nil {
			write(c.Extra[0], -1, c.In[0], c.AddExtra[0])
		}
	}
	n, err := Apply(op, x)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// A kernel that can adds its results to the gradients that they meet, but only where nobody looks at those alone.
func TestKernelsAdd(t *testing.T) {
	for _, c := range []struct {
		name      string
		adds      int
		seen      string // what is also an output
		additions int    // steps that are left
	}{
		{"none", 0, "", 2}, {"result", 1, "", 1}, {"both", 2, "", 0},
		{"other operand seen", 2, "a", 1}, {"own result seen", 2, "y", 1}, {"by-product seen", 2, "extra", 1},
		{"pinned sum", 2, "pinned", 1}, {"operand read twice", 2, "twice", 2},
	} {
		g := G.NewGraph()
		x := input(g, "x", 1, 2, 3)
		a, b := scale(t, x, 10, false), scale(t, x, 100, false)
		y := adder(t, x, 2, c.adds)
		extra, err := Extra(y, 0, 3)
		if err != nil {
			t.Fatal(err)
		}
		sum, other := G.Must(G.Add(a, y)), G.Must(G.Add(extra, b))
		outputs, opt := G.Nodes{sum, other}, Options{}
		pinned := make([]float32, 3)
		switch c.seen {
		case "a":
			outputs = append(outputs, a)
		case "y":
			outputs = append(outputs, y)
		case "extra":
			outputs = append(outputs, extra)
		case "pinned":
			opt.Pin = map[*G.Node][]float32{sum: pinned}
		case "twice":
			outputs = append(outputs, G.Must(G.Add(a, x)))
		}
		m, err := New(outputs, opt)
		if err != nil {
			t.Fatal(err)
		}
		for range 2 {
			if err := m.RunAll(); err != nil {
				t.Fatal(err)
			}
			first := m.Value(sum)
			if c.seen == "pinned" {
				first = pinned
			}
			if first[2] != 36 || m.Value(other)[2] != 297 {
				t.Errorf("%s: %v and %v", c.name, first, m.Value(other))
			}
		}
		additions := 0
		for _, s := range m.Plan() {
			if s.Op == "add gradients" {
				additions++
			}
		}
		if additions != c.additions {
			t.Errorf("%s: %d additions are steps of their own, not %d", c.name, additions, c.additions)
		}
		for name, want := range map[string]struct {
			n *G.Node
			v float32
		}{"a": {a, 30}, "y": {y, 6}, "extra": {extra, -3}} {
			if c.seen == name && m.Value(want.n)[2] != want.v {
				t.Errorf("%s: %v", c.name, m.Value(want.n))
			}
		}
	}
}

// Two gradients that meet are added at once, not where the graph got the sum: until then one of them would wait
// in memory.
func TestAdditionsComeEarly(t *testing.T) {
	g := G.NewGraph()
	x := input(g, "x", make([]float32, 1024)...)
	a, b := scale(t, x, 2, false), scale(t, x, 3, false)
	y := scale(t, x, 5, false)
	for range 5 {
		y = scale(t, y, 1.5, false)
	}
	inner := G.Must(G.Add(a, b))
	outer := G.Must(G.Add(inner, y))
	m, err := New(G.Nodes{outer}, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if plan := m.Plan(); plan[2].Op != "add gradients" || plan[len(plan)-1].Op != "add gradients" {
		t.Errorf("the plan is %v", plan)
	}
	if got, want := m.Stats().Arena, 4*(3*1024+align+scaleScratch.OwnLen()); got > want {
		t.Errorf("the arena has %d bytes, want at most %d: the sum and a chain's two", got, want)
	}
}

// What is pinned and also read by a later step is there for it in every run.
func TestPinnedAndRead(t *testing.T) {
	g := G.NewGraph()
	x := input(g, "x", 1, 2, 3)
	y := scale(t, x, 2, false)
	z := scale(t, y, 10, false)
	pinned := make([]float32, 3)
	m, err := New(G.Nodes{y, z}, Options{Pin: map[*G.Node][]float32{y: pinned}})
	if err != nil {
		t.Fatal(err)
	}
	for run := 1; run <= 3; run++ {
		if err := m.RunAll(); err != nil {
			t.Fatal(err)
		}
		if v := m.Value(z); v[2] != 60 || pinned[2] != 6 {
			t.Errorf("run %d: %v from %v", run, v, pinned)
		}
	}
}

// A long chain lives in two buffers.
func TestArenaIsReused(t *testing.T) {
	g := G.NewGraph()
	x := input(g, "x", make([]float32, 1024)...)
	y := x
	for range 20 {
		y = scale(t, y, 1.5, false)
	}
	m, err := New(G.Nodes{y}, Options{})
	if err != nil {
		t.Fatal(err)
	}
	s := m.Stats()
	if want := 4 * (2*1024 + align + scaleScratch.OwnLen()); s.Arena > want {
		t.Errorf("the arena has %d bytes, want at most %d", s.Arena, want)
	}
	if s.Naive < 20*4*1024 || s.LowerBound > s.Arena {
		t.Errorf("stats %+v", s)
	}
}

// Random lifetimes never overlap in memory, and the arena stays near the bound.
func TestPlacement(t *testing.T) {
	r := rand.New(rand.NewSource(1))
	for range 200 {
		var spans []*span
		for range 1 + r.Intn(60) {
			from := r.Intn(40)
			spans = append(spans, &span{from: from, to: from + r.Intn(10), size: 1 + r.Intn(500)})
		}
		total := place(spans)
		for i, a := range spans {
			if a.offset+a.size > total || a.offset%align != 0 {
				t.Fatalf("span %+v in an arena of %d", a, total)
			}
			for _, b := range spans[:i] {
				if a.from <= b.to && b.from <= a.to && a.offset < b.offset+b.size && b.offset < a.offset+a.size {
					t.Fatalf("%+v and %+v overlap", a, b)
				}
			}
		}
		if bound := peak(spans, 60); total < bound || total > 2*bound {
			t.Fatalf("an arena of %d for %d alive at once", total, bound)
		}
	}
}

func TestFailures(t *testing.T) {
	g := G.NewGraph()
	x := input(g, "x", 1)
	op := &Op{Name: "broken", Dims: []int{1}, Shape: tensor.Shape{1}, Kernel: func(*Call) { panic("no luck") }}
	y, err := Apply(op, x)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Apply(op, x); err == nil {
		t.Error("an operation was applied twice")
	}
	m, err := New(G.Nodes{y}, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if err := m.RunAll(); err == nil || !strings.Contains(err.Error(), "broken") || !strings.Contains(err.Error(), "no luck") {
		t.Errorf("a panic became %v", err)
	}
	if _, err := op.Do(x.Value()); err == nil || !strings.Contains(err.Error(), "no luck") {
		t.Errorf("under the tape a panic became %v", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := m.Run(ctx); !errors.Is(err, ErrStopped) || !errors.Is(err, context.Canceled) {
		t.Errorf("a cancelled run gave %v", err)
	}
	unbound := G.NewTensor(g, tensor.Float32, 1, G.WithShape(1), G.WithName("unbound"))
	if _, err := New(G.Nodes{scale(t, unbound, 1, false)}, Options{}); err == nil || !strings.Contains(err.Error(), "unbound") {
		t.Errorf("an input without a value gave %v", err)
	}
	stock := G.Must(G.Square(x))
	if _, err := New(G.Nodes{stock}, Options{}); err == nil {
		t.Error("a stock operation was planned")
	}
}

func TestCheckHashesFindsMergedNodes(t *testing.T) {
	g := G.NewGraph()
	x := input(g, "x", 1, 2)
	scale(t, x, 2, false)
	if err := CheckHashes(g); err != nil {
		t.Error(err)
	}
	// Found by search: two names with one 32-bit hash.
	named := func(name string) *G.Node {
		return G.NewTensor(g, tensor.Float32, 1, G.WithShape(1), G.WithName(name))
	}
	a := named("446428")
	if err := CheckHashes(g); err != nil {
		t.Errorf("one of the two alone: %v", err)
	}
	b := named("1388406")
	if a == b || a.Hashcode() != b.Hashcode() {
		t.Fatalf("%v and %v do not collide", a, b)
	}
	if CheckHashes(g) == nil {
		t.Error("two nodes with one hash were not found")
	}
}
