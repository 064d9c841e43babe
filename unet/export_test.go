package unet

import (
	"errors"

	G "gorgonia.org/gorgonia"

	"unstir/nn"
	"unstir/nn/engine"
)

// Operations are those of a model's sampling or training on so many images. Nothing is planned, run or kept in memory: of the
// weights only the number matters.
func Operations(c Config, images, h, w int, train bool) ([]*engine.Op, error) {
	params, err := Layout(c)
	if err != nil {
		return nil, err
	}
	weights := make([]float32, params.Len())
	var outputs G.Nodes
	if train {
		var graph nn.TrainingGraph
		if _, graph, err = newGradient(c, params, weights, GradientOptions{Slice: images, H: h, W: w}); err != nil {
			return nil, err
		}
		for attempt, again := 0, true; again; attempt++ {
			g := nn.NewGraph(params, weights, true, attempt)
			loss, buildErr := graph.Build(g)
			if buildErr != nil {
				return nil, buildErr
			}
			outputs, err = g.Grad(loss.Loss)
			outputs = append(outputs, loss.Loss)
			again = errors.Is(err, nn.ErrHashCollision) && attempt < 3
		}
	} else {
		var out *G.Node
		_, out, _, err = (&Model{Config: c, Params: params, flat: weights}).build(images, h, w)
		outputs = G.Nodes{out}
	}
	var ops []*engine.Op
	seen := map[*G.Node]bool{}
	for len(outputs) > 0 && err == nil {
		n := outputs[0]
		outputs = outputs[1:]
		if seen[n] {
			continue
		}
		seen[n] = true
		if op, ok := n.Op().(*engine.Op); ok {
			ops = append(ops, op)
		}
		for it := n.Graph().From(n.ID()); it.Next(); {
			outputs = append(outputs, it.Node().(*G.Node))
		}
	}
	return ops, err
}
