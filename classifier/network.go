package classifier

import (
	G "gorgonia.org/gorgonia"

	"unstir/nn"
)

const (
	sinusoids = 64   // sines and cosines of t
	timeDim   = 128  // width of the time embedding
	normEps   = 1e-5 // added to the variance
)

// inputs is the memory that data is written into before a run.
type inputs struct {
	x    []float32 // [N, H, W, in] images
	time []float32 // [N, sinusoids] sines and cosines of t; nil where the network does not read t
}

// forward builds the features [N, features] and the logits [N, classes] of n images: residual blocks, one a level, with a
// convolution of stride 2 before each but the first; then a last convolution, whose mean over the pixels is the features,
// and a linear layer.
func (c Config) forward(g *nn.Graph, n int) (in inputs, features, logits *G.Node, err error) {
	s := g.Root()
	images := g.Input("x", n, c.Height, c.Width, c.InChannels)
	in.x = nn.Data(images)
	var temb *G.Node
	if c.Noisy {
		time := g.Input("time", n, sinusoids)
		in.time = nn.Data(time)
		temb = timeEmbedding(s.In("time_embedding"), time)
	}
	x := s.In("conv_in").Conv(images, c.Channels[0], nn.ConvOptions{Size: 3, Pad: nn.Same})
	for i, channels := range c.Channels {
		level := s.In("levels.%d", i)
		if i > 0 {
			x = level.In("downsample").Conv(x, channels, nn.ConvOptions{Size: 3, Stride: 2, Pad: nn.Same})
		}
		x = block(level, x, temb)
	}
	norm := nn.NormOptions{Groups: groups, Eps: normEps, SiLU: true}
	x = s.In("norm_out").GroupNorm(x, norm)
	x = s.In("conv_out").Conv(x, c.Features, nn.ConvOptions{Size: 3, Pad: nn.Same})
	features = s.In("features").PixelMean(s.In("features").SiLU(x))
	logits = s.In("linear").Linear(features, c.Classes, nil, false)
	return in, features, logits, g.Err()
}

// block is x + conv(norm(conv(norm(x)) + time embedding)), each norm followed by SiLU. It starts as the identity.
func block(s nn.Scope, x, temb *G.Node) *G.Node {
	if s.Err() != nil {
		return nil
	}
	channels := x.Shape()[3]
	norm := nn.NormOptions{Groups: groups, Eps: normEps, SiLU: true}
	conv := nn.ConvOptions{Size: 3, Pad: nn.Same}
	h := s.In("norm1").GroupNorm(x, norm)
	if temb != nil {
		conv.PerImage = s.In("time_emb_proj").Linear(temb, channels, nil, false)
	}
	h = s.In("conv1").Conv(h, channels, conv)
	h = s.In("norm2").GroupNorm(h, norm)
	return s.In("conv2").Conv(h, channels, nn.ConvOptions{Size: 3, Pad: nn.Same, Residual: x, ZeroInit: true})
}

// timeEmbedding is SiLU of a two-layer perceptron on the sinusoidal position of t, which every block reads.
func timeEmbedding(s nn.Scope, t *G.Node) *G.Node {
	h := s.In("act").SiLU(s.In("linear_1").Linear(t, timeDim, nil, false))
	return s.In("act_out").SiLU(s.In("linear_2").Linear(h, timeDim, nil, false))
}

// feed writes n images x [n, C, H, W] and, for a noisy classifier, their timesteps to the first n places of a graph's inputs.
func (c Config) feed(in inputs, x []float32, t []int, n int) {
	nn.ToNHWC(in.x[:n*c.dim()], x, n, c.InChannels, c.Height*c.Width)
	if in.time == nil {
		return
	}
	for i, ti := range t[:n] {
		nn.Sinusoid(in.time[i*sinusoids:(i+1)*sinusoids], ti, false, 0)
	}
}

// dim is the number of values of an image.
func (c Config) dim() int { return c.InChannels * c.Height * c.Width }
