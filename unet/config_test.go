package unet

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

func containsAll(s string, parts ...string) bool {
	for _, p := range parts {
		if !strings.Contains(s, p) {
			return false
		}
	}
	return true
}

// A configuration of diffusers, old or new, survives being read, written and read again.
func TestConfigRoundTrip(t *testing.T) {
	data, err := os.ReadFile(filepath.Join("testdata", "unet_tiny", "unet", "config.json"))
	if err != nil {
		t.Fatal(err)
	}
	old := `{"_class_name": "UNet2DModel", "_diffusers_version": "0.0.4", "act_fn": "silu", "attention_head_dim": null,
		"block_out_channels": [128, 256], "down_block_types": ["DownBlock2D", "AttnDownBlock2D"],
		"up_block_types": ["AttnUpBlock2D", "UpBlock2D"], "freq_shift": 1, "flip_sin_to_cos": false, "norm_eps": 1e-06,
		"downsample_padding": 0, "sample_size": [32, 48]}`
	for _, text := range []string{string(data), old} {
		c, err := ParseConfig([]byte(text))
		if err != nil {
			t.Fatal(err)
		}
		out, err := c.JSON()
		if err != nil {
			t.Fatal(err)
		}
		again, err := ParseConfig(out)
		if err != nil {
			t.Fatalf("%v in %s", err, out)
		}
		if !reflect.DeepEqual(c, again) {
			t.Errorf("read %+v, after writing %+v", c, again)
		}
	}
	c, err := ParseConfig([]byte(old))
	if err != nil {
		t.Fatal(err)
	}
	if c.AttentionHeadDim != 0 || c.SampleSize != (Size{32, 48}) || c.LayersPerBlock != 2 || !c.AddAttention || c.InChannels != 3 {
		t.Errorf("%+v", c)
	}
}

// What cannot be built is refused with the key, the value and what would be right.
func TestConfigRefusals(t *testing.T) {
	ok := `"block_out_channels": [32, 64], "down_block_types": ["DownBlock2D", "DownBlock2D"], "up_block_types": ["UpBlock2D", "UpBlock2D"]`
	for _, x := range []struct{ text, want string }{
		{`{` + ok + `, "dual_cross_attention": true}`, `unknown field "dual_cross_attention"`},
		{`{` + ok + `, "_class_name": "UNet2DConditionModel"}`, `only "UNet2DModel"`},
		{`{` + ok + `, "time_embedding_type": "fourier"}`, `time_embedding_type is "fourier"`},
		{`{` + ok + `, "downsample_type": "resnet"}`, `downsample_type is "resnet"`},
		{`{` + ok + `, "act_fn": "gelu"}`, `act_fn is "gelu"`},
		{`{` + ok + `, "class_embed_type": "timestep"}`, `class_embed_type is "timestep"`},
		{`{` + ok + `, "norm_num_groups": 24}`, `each must be a multiple of norm_num_groups = 24`},
		{`{` + ok + `, "norm_num_groups": null}`, `norm_num_groups must not be null`},
		{`{` + ok + `, "mid_block_scale_factor": 2}`, `mid_block_scale_factor is 2`},
		{`{` + ok + `, "attention_head_dim": 7}`, `attention_head_dim is 7; it must divide the 64 channels`},
		{`{` + ok + `, "dropout": 1}`, `dropout is 1; it must be in [0, 1)`},
		{`{` + ok + `, "downsample_padding": 2}`, `downsample_padding is 2`},
		{`{` + ok + `, "sample_size": [1, 2, 3]}`, `sample_size is [1,2,3]`},
		{`{` + ok + `, "a_later_key": 1}`, `unknown field "a_later_key"`},
		{`{` + ok + `, "layers_per_block": 1000000}`, `layers_per_block is 1000000; it must be from 1 to 16`},
		{`{` + ok + `, "in_channels": 1099511627776}`, `in_channels is 1099511627776`},
		{`{` + ok + `, "norm_eps": NaN}`, `norm_eps`},
		{`{"block_out_channels": [32, 64], "down_block_types": ["SkipDownBlock2D", "DownBlock2D"], "up_block_types": ["UpBlock2D", "UpBlock2D"]}`, `"SkipDownBlock2D"; supported: "DownBlock2D", "AttnDownBlock2D"`},
		{`{"block_out_channels": [32], "down_block_types": ["DownBlock2D", "DownBlock2D"], "up_block_types": ["UpBlock2D"]}`, `it must have 1 entries`},
		{`{` + ok + `, "in_channels": 1000000000}`, `in_channels is 1000000000; it must be from 1 to 65536`},
		{`{` + ok + `, "out_channels": 0}`, `out_channels is 0; it must be from 1 to 65536`},
		{`{` + ok + `, "layers_per_block": 1000000000}`, `layers_per_block is 1000000000; it must be from 1 to 16`},
		{`{` + ok + `, "num_class_embeds": 1000000000}`, `num_class_embeds is 1000000000; it must be from 0 to 1048576`},
		{`{` + ok + `, "time_embedding_dim": 1000000000}`, `time_embedding_dim is 1000000000; it must be from 0 to 262144`},
		{`{` + ok + `, "sample_size": 1000000000}`, `sample_size is 1000000000x1000000000; each side must be at most 65536`},
		{`{"block_out_channels": [1000000000], "down_block_types": ["DownBlock2D"], "up_block_types": ["UpBlock2D"]}`, `each must be at most 65536`},
		{`{"block_out_channels": [` + strings.Repeat("32,", 1000) + `32]}`, `32 32]; it must have one number of channels for each of 1 to 13 levels`},
		{`{"a": "` + strings.Repeat("x", 1<<20) + `"}`, "more than the limit of 1048576"},
		{`[1]`, "configuration"},
	} {
		if _, err := ParseConfig([]byte(x.text)); err == nil || !strings.Contains(err.Error(), x.want) {
			t.Errorf("%s: %v, want %q", x.text, err, x.want)
		}
	}
}

func TestOlderNames(t *testing.T) {
	for name, want := range map[string]string{
		"mid_block.attentions.0.to_q.weight":       "mid_block.attentions.0.query.weight",
		"up_blocks.1.attentions.2.to_out.0.bias":   "up_blocks.1.attentions.2.proj_attn.bias",
		"down_blocks.0.resnets.0.conv1.weight":     "",
		"mid_block.attentions.0.group_norm.weight": "",
	} {
		if got, ok := OlderName(name); got != want || ok != (want != "") {
			t.Errorf("OlderName(%q) = %q, %v; want %q", name, got, ok, want)
		}
	}
}

// A configuration of a later version of diffusers has keys that are off, the one of averaged weights has the
// average's own, and any of them may have a sample_size that the model cannot take: all describe the same model.
func TestConfigsOfOthersDescribeTheSameModel(t *testing.T) {
	model := `"block_out_channels": [32, 64], "down_block_types": ["DownBlock2D", "DownBlock2D"], "up_block_types": ["UpBlock2D", "UpBlock2D"]`
	want, err := ParseConfig([]byte("{" + model + "}"))
	if err != nil {
		t.Fatal(err)
	}
	for name, more := range map[string]string{
		"later keys":           `"a_later_key": null, "another": false, "_diffusers_version": "9.9.9", "_use_default_values": ["act_fn"]`,
		"an average":           `"decay": 0.9999, "inv_gamma": 1.0, "min_decay": 0.0, "optimization_step": 1000, "power": 0.75, "update_after_step": 0, "use_ema_warmup": true`,
		"sample_size null":     `"sample_size": null`,
		"sample_size of zero":  `"sample_size": [0, 0]`,
		"NaN in a note of its": `"_note": NaN`,
	} {
		got, err := ParseConfig([]byte("{" + model + ", " + more + "}"))
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
	}
	got, err := ParseConfig([]byte("{" + model + `, "sample_size": 33}`))
	if err != nil || got.SampleSize != (Size{33, 33}) {
		t.Errorf("sample_size 33: %+v, %v", got, err)
	}
	if err := got.Validate(); err == nil || !strings.Contains(err.Error(), "32 or 34 rows") {
		t.Errorf("a configuration to train with: %v, want the nearest sizes", err)
	}
}
