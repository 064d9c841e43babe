package unet

import (
	"bytes"
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"

	"unstir/internal/oneline"
	"unstir/internal/pyjson"
)

// Config describes a UNet with the keys of diffusers' UNet2DModel, so that unet/config.json is the same file in
// both. Zero values are not defaults: start from Defaults or ParseConfig.
type Config struct {
	SampleSize           Size     `toml:"sample_size" json:"sample_size"`                         // rows and columns of an image
	InChannels           int      `toml:"in_channels" json:"in_channels"`                         // of an image
	OutChannels          int      `toml:"out_channels" json:"out_channels"`                       // of the prediction
	CenterInputSample    bool     `toml:"center_input_sample" json:"center_input_sample"`         // the model sees 2x - 1
	TimeEmbeddingType    string   `toml:"time_embedding_type" json:"time_embedding_type"`         // "positional"
	TimeEmbeddingDim     int      `toml:"time_embedding_dim" json:"time_embedding_dim"`           // 0: four times the first block's channels
	FreqShift            float64  `toml:"freq_shift" json:"freq_shift"`                           // frequencies 10^(-4 i / (half - shift))
	FlipSinToCos         bool     `toml:"flip_sin_to_cos" json:"flip_sin_to_cos"`                 // [cos, sin] instead of [sin, cos]
	DownBlockTypes       []string `toml:"down_block_types" json:"down_block_types"`               // DownBlock2D or AttnDownBlock2D, by level
	MidBlockType         string   `toml:"mid_block_type" json:"mid_block_type"`                   // "UNetMidBlock2D", or "" for none
	UpBlockTypes         []string `toml:"up_block_types" json:"up_block_types"`                   // UpBlock2D or AttnUpBlock2D, from the deepest level
	BlockOutChannels     []int    `toml:"block_out_channels" json:"block_out_channels"`           // channels by level
	LayersPerBlock       int      `toml:"layers_per_block" json:"layers_per_block"`               // ResNet blocks by level; one more on the way up
	MidBlockScaleFactor  float64  `toml:"mid_block_scale_factor" json:"mid_block_scale_factor"`   // 1
	DownsamplePadding    int      `toml:"downsample_padding" json:"downsample_padding"`           // 1: symmetric; 0: right and bottom only
	DownsampleType       string   `toml:"downsample_type" json:"downsample_type"`                 // "conv"
	UpsampleType         string   `toml:"upsample_type" json:"upsample_type"`                     // "conv"
	Dropout              float64  `toml:"dropout" json:"dropout"`                                 // probability, in [0, 1)
	ActFn                string   `toml:"act_fn" json:"act_fn"`                                   // "silu"
	AttentionHeadDim     int      `toml:"attention_head_dim" json:"attention_head_dim"`           // channels of a head; 0: one head
	NormNumGroups        int      `toml:"norm_num_groups" json:"norm_num_groups"`                 // of group norm
	AttnNormNumGroups    int      `toml:"attn_norm_num_groups" json:"attn_norm_num_groups"`       // of the middle attention's norm; 0: as elsewhere
	NormEps              float64  `toml:"norm_eps" json:"norm_eps"`                               // added to the variance
	ResnetTimeScaleShift string   `toml:"resnet_time_scale_shift" json:"resnet_time_scale_shift"` // "default" or "scale_shift"
	AddAttention         bool     `toml:"add_attention" json:"add_attention"`                     // attention in the middle block
	ClassEmbedType       string   `toml:"class_embed_type" json:"class_embed_type"`               // ""
	NumClassEmbeds       int      `toml:"num_class_embeds" json:"num_class_embeds"`               // classes; 0: not conditional
	NumTrainTimesteps    int      `toml:"num_train_timesteps" json:"num_train_timesteps"`         // read by no supported time embedding
}

// nullable lists the keys that config.json writes as null where the field above is zero.
var nullable = []string{
	"sample_size", "time_embedding_dim", "mid_block_type", "attention_head_dim", "attn_norm_num_groups",
	"class_embed_type", "num_class_embeds", "num_train_timesteps",
}

// Defaults are the values that diffusers gives to keys that a configuration leaves out.
func Defaults() Config {
	return Config{
		InChannels: 3, OutChannels: 3, TimeEmbeddingType: "positional", FlipSinToCos: true,
		DownBlockTypes:   []string{"DownBlock2D", "AttnDownBlock2D", "AttnDownBlock2D", "AttnDownBlock2D"},
		MidBlockType:     "UNetMidBlock2D",
		UpBlockTypes:     []string{"AttnUpBlock2D", "AttnUpBlock2D", "AttnUpBlock2D", "UpBlock2D"},
		BlockOutChannels: []int{224, 448, 672, 896}, LayersPerBlock: 2, MidBlockScaleFactor: 1,
		DownsamplePadding: 1, DownsampleType: "conv", UpsampleType: "conv", ActFn: "silu", AttentionHeadDim: 8,
		NormNumGroups: 32, NormEps: 1e-5, ResnetTimeScaleShift: "default", AddAttention: true,
	}
}

// averageKeys are what diffusers' EMAModel adds to the config of the weights that it averages.
var averageKeys = []string{
	"decay", "inv_gamma", "min_decay", "optimization_step", "power", "update_after_step", "use_ema_warmup",
}

// maxConfig bounds a configuration's text, in bytes: diffusers' are a thousand.
const maxConfig = 1 << 20

// ParseConfig reads a diffusers unet/config.json. Keys that it leaves out take diffusers' defaults. A key that
// UNet2DModel does not have is skipped where it is null or false, like the switches that a later version of diffusers
// adds; any other unknown key, and an unsupported value, is an error that names it. sample_size is read but not checked:
// the model takes any size that CheckSize accepts, whatever size it was saved with.
func ParseConfig(data []byte) (Config, error) {
	c, err := parseConfig(data)
	return c, oneline.Error(err)
}

func parseConfig(data []byte) (Config, error) {
	c := Defaults()
	if len(data) > maxConfig {
		return c, fmt.Errorf("unet: configuration: %d bytes are more than the limit of %d", len(data), maxConfig)
	}
	var keys map[string]json.RawMessage
	if err := json.Unmarshal(pyjson.Standard(data), &keys); err != nil {
		return c, fmt.Errorf("unet: configuration: %w", err)
	}
	var class string
	if raw, ok := keys["_class_name"]; ok {
		if err := json.Unmarshal(raw, &class); err != nil || class != "UNet2DModel" {
			return c, fmt.Errorf("unet: configuration: _class_name is %s; only \"UNet2DModel\" can be read", raw)
		}
	}
	for k, v := range keys {
		switch {
		case strings.HasPrefix(k, "_"), slices.Contains(averageKeys, k), !slices.Contains(configKeys, k) && (string(v) == "null" || string(v) == "false"):
			delete(keys, k)
		case string(v) == "null" && !slices.Contains(nullable, k):
			return c, fmt.Errorf("unet: configuration: %s must not be null", k)
		case string(v) == "null":
			delete(keys, k)
			c.clear(k)
		}
	}
	rest, err := json.Marshal(keys)
	if err != nil {
		return c, fmt.Errorf("unet: configuration: %w", err)
	}
	d := json.NewDecoder(bytes.NewReader(rest))
	d.DisallowUnknownFields()
	if err := d.Decode(&c); err != nil {
		return c, fmt.Errorf("unet: configuration: %s", strings.TrimPrefix(err.Error(), "json: "))
	}
	err = c.validateModel()
	if err == nil {
		err = c.boundSize()
	}
	if err != nil {
		return c, fmt.Errorf("unet: configuration: %w", err)
	}
	return c, nil
}

// configKeys are the keys of Config in files.
var configKeys = func() (keys []string) {
	t := reflect.TypeFor[Config]()
	for i := range t.NumField() {
		keys = append(keys, t.Field(i).Tag.Get("json"))
	}
	return keys
}()

// clear sets a nullable key to its zero value, which stands for null.
func (c *Config) clear(key string) {
	switch key {
	case "mid_block_type":
		c.MidBlockType = ""
	case "attention_head_dim":
		c.AttentionHeadDim = 0
	}
}

// JSON writes the configuration as a diffusers unet/config.json.
func (c Config) JSON() ([]byte, error) {
	plain, err := json.Marshal(c)
	if err != nil {
		return nil, fmt.Errorf("unet: write the configuration: %w", err)
	}
	var keys map[string]any
	if err := json.Unmarshal(plain, &keys); err != nil {
		return nil, fmt.Errorf("unet: write the configuration: %w", err)
	}
	for _, k := range nullable {
		if keys[k] == "" || keys[k] == 0.0 {
			keys[k] = nil
		}
	}
	keys["_class_name"] = "UNet2DModel"
	keys["_diffusers_version"] = "0.26.3"
	out, err := json.MarshalIndent(keys, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("unet: write the configuration: %w", err)
	}
	return append(out, '\n'), nil
}

// Size is the size of an image: rows and columns. In files it is one number where both are equal.
type Size struct{ H, W int }

// MarshalJSON writes 28 or [28, 32].
func (s Size) MarshalJSON() ([]byte, error) {
	if s.H == s.W {
		return json.Marshal(s.H)
	}
	return json.Marshal([]int{s.H, s.W})
}

// UnmarshalJSON reads what MarshalJSON writes.
func (s *Size) UnmarshalJSON(data []byte) error {
	if err := json.Unmarshal(data, &s.H); err == nil {
		s.W = s.H
		return nil
	}
	var hw []int
	if err := json.Unmarshal(data, &hw); err != nil || len(hw) != 2 {
		return fmt.Errorf("sample_size is %s; it must be a number or [rows, columns]", data)
	}
	s.H, s.W = hw[0], hw[1]
	return nil
}

// UnmarshalTOML reads 28 or [28, 32].
func (s *Size) UnmarshalTOML(v any) error {
	switch v := v.(type) {
	case int64:
		s.H, s.W = int(v), int(v)
		return nil
	case []any:
		if len(v) == 2 {
			h, ok1 := v[0].(int64)
			w, ok2 := v[1].(int64)
			if ok1 && ok2 {
				s.H, s.W = int(h), int(w)
				return nil
			}
		}
	}
	return fmt.Errorf("must be a number or [rows, columns], not %v", v)
}

// MarshalTOML writes what UnmarshalTOML reads.
func (s Size) MarshalTOML() ([]byte, error) {
	if s.H == s.W {
		return []byte(fmt.Sprint(s.H)), nil
	}
	return []byte(fmt.Sprintf("[%d, %d]", s.H, s.W)), nil
}
