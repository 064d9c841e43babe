package unet

import (
	G "gorgonia.org/gorgonia"

	"unstir/nn"
)

// down is one level on the way down: ResNet blocks, with attention after each where the level has it, then a
// convolution of stride 2. Every result is also a skip connection.
func (u *network) down(s nn.Scope, x *G.Node, skips []*G.Node, level int, downsample bool) (*G.Node, []*G.Node) {
	channels := u.BlockOutChannels[level]
	for i := 0; i < u.LayersPerBlock; i++ {
		x = u.resnet(s.In("resnets.%d", i), x, nil, channels)
		if u.DownBlockTypes[level] == "AttnDownBlock2D" {
			x = u.attention(s.In("attentions.%d", i), x, u.NormNumGroups)
		}
		skips = append(skips, x)
	}
	if downsample {
		pad := nn.Same
		if u.DownsamplePadding == 0 {
			pad = nn.Padding{Bottom: 1, Right: 1}
		}
		x = s.In("downsamplers.0.conv").Conv(x, channels, nn.ConvOptions{Size: 3, Stride: 2, Pad: pad})
		skips = append(skips, x)
	}
	return x, skips
}

// mid is the deepest part: attention between two ResNet blocks.
func (u *network) mid(s nn.Scope, x *G.Node) *G.Node {
	channels := u.BlockOutChannels[u.Levels()-1]
	x = u.resnet(s.In("resnets.0"), x, nil, channels)
	if u.AddAttention {
		groups := u.AttnNormNumGroups
		if groups == 0 && u.ResnetTimeScaleShift == "default" {
			groups = u.NormNumGroups // with scale_shift, diffusers leaves this norm out
		}
		x = u.attention(s.In("attentions.0"), x, groups)
	}
	return u.resnet(s.In("resnets.1"), x, nil, channels)
}

// up is one level on the way up: ResNet blocks that each read a skip connection beside the level's own result,
// then nearest-neighbour upsampling and a convolution. Level 0 is the deepest.
func (u *network) up(s nn.Scope, x *G.Node, skips []*G.Node, level int, upsample bool) (*G.Node, []*G.Node) {
	channels := u.BlockOutChannels[u.Levels()-1-level]
	for i := 0; i <= u.LayersPerBlock; i++ {
		last := len(skips) - 1
		x = u.resnet(s.In("resnets.%d", i), x, skips[last], channels)
		skips = skips[:last]
		if u.UpBlockTypes[level] == "AttnUpBlock2D" {
			x = u.attention(s.In("attentions.%d", i), x, u.NormNumGroups)
		}
	}
	if upsample {
		x = s.In("upsamplers.0.conv").Conv(x, channels, nn.ConvOptions{Size: 3, Pad: nn.Same, Upsample: true})
	}
	return x, skips
}

// resnet is x + conv(norm(conv(norm(x)) + time embedding)), each norm followed by SiLU; a 1x1 convolution
// brings x to the new number of channels where it differs. The second convolution starts at zero, so that the
// block starts as the identity. With a skip connection, here x means the channels of both, [x, skip]: its two
// readers take them as they are, without joining them.
func (u *network) resnet(s nn.Scope, x, skip *G.Node, channels int) *G.Node {
	if s.Err() != nil {
		return nil
	}
	norm1 := nn.NormOptions{Groups: u.NormNumGroups, Eps: u.NormEps, SiLU: true, Skip: skip}
	norm2 := nn.NormOptions{Groups: u.NormNumGroups, Eps: u.NormEps, SiLU: true}
	conv := nn.ConvOptions{Size: 3, Pad: nn.Same}

	h := s.In("norm1").GroupNorm(x, norm1)
	if u.ResnetTimeScaleShift == "scale_shift" {
		norm2.ScaleShift = s.In("time_emb_proj").Linear(u.temb, 2*channels, nil, false)
	} else {
		conv.PerImage = s.In("time_emb_proj").Linear(u.temb, channels, nil, false)
	}
	h = s.In("conv1").Conv(h, channels, conv)
	h = s.In("norm2").GroupNorm(h, norm2)
	h = s.Dropout(h, u.Dropout)
	if skip != nil || x.Shape()[3] != channels { // [x, skip] is always wider than the result
		x = s.In("conv_shortcut").Conv(x, channels, nn.ConvOptions{Skip: skip})
	}
	return s.In("conv2").Conv(h, channels, nn.ConvOptions{Size: 3, Pad: nn.Same, Residual: x, ZeroInit: true})
}

// attention is x + out(softmax(q k^T / sqrt(d)) v), with q, k and v linear in the normalised x.
func (u *network) attention(s nn.Scope, x *G.Node, groups int) *G.Node {
	if s.Err() != nil {
		return nil
	}
	channels := x.Shape()[3]
	heads := 1
	if u.AttentionHeadDim > 0 {
		heads = channels / u.AttentionHeadDim
	}
	h := x
	if groups > 0 {
		h = s.In("group_norm").GroupNorm(x, nn.NormOptions{Groups: groups, Eps: u.NormEps})
	}
	return s.SelfAttention(h, x, heads)
}
