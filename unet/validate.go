package unet

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"unstir/internal/setting"
)

// Limits of what a configuration may declare. They are far above every known model; they keep derived sizes from
// overflowing, and the list of parameters small compared with the weights.
const (
	maxLevels   = 13      // the sides of images are multiples of 2^(levels-1)
	maxLayers   = 16      // ResNet blocks by level
	maxChannels = 1 << 16 // of any layer
	maxTimeDim  = 1 << 18 // of the time embedding
	maxClasses  = 1 << 20
	maxSide     = 1 << 16 // rows or columns of an image
	maxSteps    = 1e6     // num_train_timesteps, as in package diffusion
)

// Levels is the number of resolutions; an image must be divisible by 2^(Levels-1).
func (c Config) Levels() int { return len(c.BlockOutChannels) }

// timeDim is the width of the time embedding.
func (c Config) timeDim() int {
	if c.TimeEmbeddingDim > 0 {
		return c.TimeEmbeddingDim
	}
	return 4 * c.BlockOutChannels[0]
}

// Validate checks that the configuration describes a model that this package can build. An error names the key,
// its value and what would be right.
func (c Config) Validate() error {
	if err := c.validateModel(); err != nil {
		return err
	}
	return c.validateSize()
}

// validateModel is Validate without sample_size, which is the size of the images that the model was trained on and not
// a part of the model.
func (c Config) validateModel() error {
	oneOf := []struct {
		key, value string
		supported  []string
	}{
		{"time_embedding_type", c.TimeEmbeddingType, []string{"positional"}},
		{"mid_block_type", c.MidBlockType, []string{"UNetMidBlock2D", ""}},
		{"downsample_type", c.DownsampleType, []string{"conv"}},
		{"upsample_type", c.UpsampleType, []string{"conv"}},
		{"act_fn", c.ActFn, []string{"silu", "swish"}},
		{"resnet_time_scale_shift", c.ResnetTimeScaleShift, []string{"default", "scale_shift"}},
		{"class_embed_type", c.ClassEmbedType, []string{""}},
	}
	for _, k := range oneOf {
		if !slices.Contains(k.supported, k.value) {
			return bad(k.key, fmt.Sprintf("%q", k.value), "supported: %s", quoted(k.supported))
		}
	}
	ranges := []struct {
		key                string
		value, least, most int
	}{
		{"in_channels", c.InChannels, 1, maxChannels}, {"out_channels", c.OutChannels, 1, maxChannels},
		{"layers_per_block", c.LayersPerBlock, 1, maxLayers}, {"norm_num_groups", c.NormNumGroups, 1, maxChannels},
		{"time_embedding_dim", c.TimeEmbeddingDim, 0, maxTimeDim}, {"attention_head_dim", c.AttentionHeadDim, 0, maxChannels},
		{"attn_norm_num_groups", c.AttnNormNumGroups, 0, maxChannels}, {"num_class_embeds", c.NumClassEmbeds, 0, maxClasses},
		{"num_train_timesteps", c.NumTrainTimesteps, 0, maxSteps},
	}
	for _, k := range ranges {
		if k.value < k.least || k.value > k.most {
			return bad(k.key, k.value, "it must be from %d to %d", k.least, k.most)
		}
	}
	switch {
	case c.DownsamplePadding != 0 && c.DownsamplePadding != 1:
		return bad("downsample_padding", c.DownsamplePadding, "it must be 0 or 1")
	case c.MidBlockScaleFactor != 1:
		return bad("mid_block_scale_factor", c.MidBlockScaleFactor, "only 1 is supported")
	case !(c.Dropout >= 0 && c.Dropout < 1):
		return bad("dropout", c.Dropout, "it must be in [0, 1)")
	case !(c.NormEps > 0) || math.IsInf(c.NormEps, 0):
		return bad("norm_eps", c.NormEps, "it must be positive and finite")
	case math.IsNaN(c.FreqShift) || math.IsInf(c.FreqShift, 0):
		return bad("freq_shift", c.FreqShift, "it must be finite")
	}
	return c.validateBlocks()
}

// bad is the error of a key whose value cannot be.
func bad(key string, value any, want string, args ...any) error {
	return &setting.Error{Key: key, Value: fmt.Sprint(value), Want: fmt.Sprintf(want, args...)}
}

func quoted(values []string) string {
	out := make([]string, len(values))
	for i, v := range values {
		if out[i] = fmt.Sprintf("%q", v); v == "" {
			out[i] = "null"
		}
	}
	return strings.Join(out, ", ")
}

func (c Config) validateBlocks() error {
	if c.Levels() < 1 || c.Levels() > maxLevels {
		return bad("block_out_channels", c.BlockOutChannels, "it must have one number of channels for each of 1 to %d levels", maxLevels)
	}
	types := []struct {
		key       string
		value     []string
		supported []string
	}{
		{"down_block_types", c.DownBlockTypes, []string{"DownBlock2D", "AttnDownBlock2D"}},
		{"up_block_types", c.UpBlockTypes, []string{"UpBlock2D", "AttnUpBlock2D"}},
	}
	for _, k := range types {
		if len(k.value) != c.Levels() {
			return bad(k.key, k.value, "it must have %d entries, as block_out_channels has", c.Levels())
		}
		for _, v := range k.value {
			if !slices.Contains(k.supported, v) {
				return bad(k.key, fmt.Sprintf("%q", v), "supported: %s", quoted(k.supported))
			}
		}
	}
	half := c.BlockOutChannels[0] / 2
	if c.BlockOutChannels[0]%2 != 0 || float64(half) <= c.FreqShift {
		return bad("block_out_channels", c.BlockOutChannels, "the first must be even and more than twice freq_shift, for the time embedding's sines and cosines")
	}
	for i, ch := range c.BlockOutChannels {
		if ch > maxChannels {
			return bad("block_out_channels", c.BlockOutChannels, "each must be at most %d", maxChannels)
		}
		if ch < 1 || ch%c.NormNumGroups != 0 {
			return bad("block_out_channels", c.BlockOutChannels, "each must be a multiple of norm_num_groups = %d", c.NormNumGroups)
		}
		mid := i == c.Levels()-1 && c.MidBlockType != "" && c.AddAttention
		attends := mid || c.DownBlockTypes[i] == "AttnDownBlock2D" || c.UpBlockTypes[c.Levels()-1-i] == "AttnUpBlock2D"
		if attends && c.AttentionHeadDim > 0 && ch%c.AttentionHeadDim != 0 {
			return bad("attention_head_dim", c.AttentionHeadDim, "it must divide the %d channels of level %d", ch, i)
		}
		if mid && c.AttnNormNumGroups > 0 && ch%c.AttnNormNumGroups != 0 {
			return bad("attn_norm_num_groups", c.AttnNormNumGroups, "it must divide the %d channels of the middle block", ch)
		}
	}
	// A norm on the way up reads x and its skip as one, so the sum of their channels must be divisible too; it is,
	// as each term is.
	return nil
}

// validateSize checks sample_size, which may be unset.
func (c Config) validateSize() error {
	if c.SampleSize == (Size{}) {
		return nil
	}
	if err := c.boundSize(); err != nil {
		return err
	}
	if s := c.SampleSize; !c.takes(s.H, s.W) {
		return bad("sample_size", fmt.Sprintf("%dx%d", s.H, s.W), "%s", c.wantedSize(s.H, s.W))
	}
	return nil
}

// boundSize checks that sample_size is within reason, whether the model takes it or not.
func (c Config) boundSize() error {
	if s := c.SampleSize; s.H > maxSide || s.W > maxSide {
		return bad("sample_size", fmt.Sprintf("%dx%d", s.H, s.W), "each side must be at most %d", maxSide)
	}
	return nil
}

// CheckSize tells whether the model takes images of h rows and w columns. The error names the nearest sizes
// that it takes.
func (c Config) CheckSize(h, w int) error {
	if c.takes(h, w) {
		return nil
	}
	return fmt.Errorf("images of %dx%d do not fit a model of %d levels: %s", h, w, c.Levels(), c.wantedSize(h, w))
}

// multiple is what the sides of images are multiples of.
func (c Config) multiple() int { return 1 << (c.Levels() - 1) }

func (c Config) takes(h, w int) bool {
	m := c.multiple()
	return h > 0 && w > 0 && h%m == 0 && w%m == 0
}

// wantedSize says what sizes the model takes, and which of them are nearest to one that it does not.
func (c Config) wantedSize(h, w int) string {
	m := c.multiple()
	nearest := func(n int) string {
		low := n / m * m
		switch {
		case n > 0 && n%m == 0:
			return fmt.Sprint(n)
		case low < m:
			return fmt.Sprint(m)
		}
		return fmt.Sprintf("%d or %d", low, low+m)
	}
	return fmt.Sprintf("both sides must be multiples of %d, as each level but the first halves them; the nearest sizes are %s rows and %s columns",
		m, nearest(h), nearest(w))
}
