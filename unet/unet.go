// Package unet builds the UNet of denoising diffusion models (Ho et al., 2020, appendix B) as a Gorgonia graph,
// from a configuration that is diffusers' UNet2DModel configuration, with the same parameter names.
//
// Model holds weights; Predictor runs them; Gradient differentiates L_simple for training.
package unet

import (
	G "gorgonia.org/gorgonia"

	"unstir/nn"
)

// inputs is the memory that data is written into before a run.
type inputs struct {
	x      []float32 // [N, H, W, in] images
	time   []float32 // [N, channels of the first block] sines and cosines of t
	labels []float32 // [N, num_class_embeds] one-hot labels; nil where the model is not conditional
	image  *G.Node   // the node of x
}

// network builds a UNet in a graph.
type network struct {
	Config
	temb *G.Node // SiLU of the time embedding, which every ResNet block reads
}

// forward builds the prediction [N, H, W, out] for n images of h x w pixels.
func (c Config) forward(g *nn.Graph, n, h, w int, wantInputGrad bool) (in inputs, out *G.Node, err error) {
	in.image = g.Input("x", n, h, w, c.InChannels)
	time := g.Input("time", n, c.BlockOutChannels[0])
	in.x, in.time = nn.Data(in.image), nn.Data(time)
	if wantInputGrad {
		g.WantGrad(in.image)
	}
	u := &network{Config: c}
	s := g.Root()

	temb := u.timeEmbedding(s.In("time_embedding"), time)
	if c.NumClassEmbeds > 0 {
		labels := g.Input("labels", n, c.NumClassEmbeds)
		in.labels = nn.Data(labels)
		temb = s.In("class_embedding").Add(temb, s.In("class_embedding").Embedding(labels, c.timeDim()))
	}
	u.temb = s.In("time_embedding.act").SiLU(temb)

	x := s.In("conv_in").Conv(in.image, c.BlockOutChannels[0], nn.ConvOptions{Size: 3, Pad: nn.Same})
	skips := []*G.Node{x}
	last := c.Levels() - 1
	for i := range c.BlockOutChannels {
		x, skips = u.down(s.In("down_blocks.%d", i), x, skips, i, i < last)
	}
	if c.MidBlockType != "" {
		x = u.mid(s.In("mid_block"), x)
	}
	for i := range c.BlockOutChannels {
		x, skips = u.up(s.In("up_blocks.%d", i), x, skips, i, i < last)
	}
	x = s.In("conv_norm_out").GroupNorm(x, nn.NormOptions{Groups: c.NormNumGroups, Eps: c.NormEps, SiLU: true})
	out = s.In("conv_out").Conv(x, c.OutChannels, nn.ConvOptions{Size: 3, Pad: nn.Same, ZeroInit: true})
	return in, out, g.Err()
}

// timeEmbedding is a two-layer perceptron on the sinusoidal position of t.
func (u *network) timeEmbedding(s nn.Scope, t *G.Node) *G.Node {
	h := s.In("linear_1").Linear(t, u.timeDim(), nil, false)
	h = s.In("act").SiLU(h)
	return s.In("linear_2").Linear(h, u.timeDim(), nil, false)
}
