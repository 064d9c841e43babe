package unet

import (
	"fmt"
	"math"
	"testing"

	G "gorgonia.org/gorgonia"

	"unstir/nn"
	"unstir/nn/engine"
)

// trainingGraph builds and differentiates a whole small UNet on fixed data.
func trainingGraph(t *testing.T, c Config, attempt int) (*nn.Graph, *G.Node, G.Nodes) {
	t.Helper()
	const n = 2
	m := randomModel(t, c)
	h, w := c.SampleSize.H, c.SampleSize.W
	g := nn.NewGraph(m.Params, m.flat, true, attempt)
	g.Run.Seed, g.Run.Step = 8, 9
	in, out, err := c.forward(g, n, h, w, true)
	if err != nil {
		t.Fatal(err)
	}
	dim := c.InChannels * h * w
	c.feed(in, noise(n*dim, 1), []int{3, 700}, []int{1, 0}, h*w)
	target, weight := g.Input("target", out.Shape()...), g.Input("weight", n)
	copy(nn.Data(target), noise(n*dim, 2))
	copy(nn.Data(weight), []float32{0.1, 0.2})
	loss := g.Root().In("loss").SquaredError(out, target, weight, make([]float32, n))
	grads, err := g.Grad(loss, in.image)
	if err != nil {
		t.Fatal(err)
	}
	return g, loss, grads
}

// oracleConfigs reach every operation of the model.
func oracleConfigs() map[string]Config {
	plain := smallConfig()
	plain.SampleSize = Size{H: 8, W: 12}
	labelled := plain
	labelled.NumClassEmbeds, labelled.ResnetTimeScaleShift = 3, "scale_shift"
	return map[string]Config{"plain": plain, "scale_shift with classes": labelled}
}

// Gorgonia's own tape machine is the oracle of the planned engine: on the graph of a whole UNet, both give the
// same bits for the loss, for every gradient, and for the prediction of a sampling step.
func TestTapeMachineAgrees(t *testing.T) {
	for name, c := range oracleConfigs() {
		t.Run(name, func(t *testing.T) {
			g, loss, grads := trainingGraph(t, c, 0)
			outputs := append(G.Nodes{loss}, grads...)
			m, err := engine.New(outputs, engine.Options{})
			if err != nil {
				t.Fatal(err)
			}
			if err := m.RunAll(); err != nil {
				t.Fatal(err)
			}
			tg, tloss, tgrads := trainingGraph(t, c, 0)
			runTape(t, tg.G)
			compareWithTape(t, m, outputs, append(G.Nodes{tloss}, tgrads...))
			if len(grads) != len(g.Params().List)+1 {
				t.Errorf("%d gradients for %d parameters and the image", len(grads), len(g.Params().List))
			}

			predict := func() (*nn.Graph, *G.Node) {
				model := randomModel(t, c)
				h, w := c.SampleSize.H, c.SampleSize.W
				pg := nn.NewGraph(model.Params, model.flat, false, 0)
				in, out, err := c.forward(pg, 2, h, w, false)
				if err != nil {
					t.Fatal(err)
				}
				c.feed(in, noise(2*c.InChannels*h*w, 5), []int{0, 999}, []int{2, 1}, h*w)
				return pg, out
			}
			_, out := predict()
			pm, err := engine.New(G.Nodes{out}, engine.Options{})
			if err != nil {
				t.Fatal(err)
			}
			if err := pm.RunAll(); err != nil {
				t.Fatal(err)
			}
			pg, tout := predict()
			runTape(t, pg.G)
			compareWithTape(t, pm, G.Nodes{out}, G.Nodes{tout})
		})
	}
}

func runTape(t *testing.T, g *G.ExprGraph) {
	t.Helper()
	tape := G.NewTapeMachine(g)
	defer tape.Close()
	if err := tape.RunAll(); err != nil {
		t.Fatal(err)
	}
}

func compareWithTape(t *testing.T, m *engine.Machine, ours, theirs G.Nodes) {
	t.Helper()
	for i, n := range ours {
		var want []float32
		switch v := theirs[i].Value().Data().(type) {
		case []float32:
			want = v
		case float32:
			want = []float32{v}
		}
		got := m.Value(n)
		if len(got) != len(want) {
			t.Fatalf("output %d: %d values, the tape has %d", i, len(got), len(want))
		}
		for j := range want {
			if math.Float32bits(got[j]) != math.Float32bits(want[j]) {
				t.Fatalf("%v, element %d: %v, the tape has %v", fmt.Sprint(n.Op()), j, got[j], want[j])
			}
		}
	}
}
