package unet

import (
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"unstir/internal/alloctest"
	"unstir/internal/errortest"
)

// FuzzParseConfig: whatever a config.json is, it fails in one line or gives a configuration that is written and read
// back the same, and whose parameters can be listed without memory for them: however many weights it declares, they
// are compared with a file before they are allocated.
func FuzzParseConfig(f *testing.F) {
	text, err := os.ReadFile(filepath.Join("testdata", "unet_tiny", "unet", "config.json"))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(text)
	blocks := `"down_block_types": ["DownBlock2D", "AttnDownBlock2D"], "up_block_types": ["AttnUpBlock2D", "UpBlock2D"]`
	f.Add([]byte(`{"block_out_channels": [65536, 65536], "in_channels": 65536, "out_channels": 65536, "num_class_embeds": 1048576, "layers_per_block": 16, ` + blocks + `}`))
	f.Add([]byte(`{"block_out_channels": [32, 9223372036854775807], "sample_size": [1, 2], ` + blocks + `}`))
	f.Add([]byte(`{"block_out_channels": [32, 64], "sample_size": null, "attention_head_dim": null, "mid_block_type": null, "time_embedding_dim": 1, ` + blocks + `}`))
	f.Add([]byte(`{"_class_name": ["a\n"]}`))
	f.Add([]byte(`{"\n": null}`))
	f.Add([]byte(`{"resnet_time_scale_shift": "scale_shift", "attn_norm_num_groups": 4, "add_attention": false, "dropout": 0.1, "freq_shift": -1e300}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		var c Config
		var err error
		alloctest.Parse(t, len(text), func() {
			if c, err = ParseConfig(text); err == nil {
				_, err = Layout(c)
			}
		})
		if err != nil {
			errortest.OneLine(t, err)
			return
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
	})
}

// The largest model that can be declared is listed within the memory that a parser may take, and so are the
// keys of a configuration that is as long as it may be.
func TestTheLargestConfigsTakeLittleMemory(t *testing.T) {
	c := Defaults()
	c.BlockOutChannels, c.DownBlockTypes, c.UpBlockTypes = nil, nil, nil
	for range maxLevels {
		c.BlockOutChannels = append(c.BlockOutChannels, maxChannels)
		c.DownBlockTypes, c.UpBlockTypes = append(c.DownBlockTypes, "AttnDownBlock2D"), append(c.UpBlockTypes, "AttnUpBlock2D")
	}
	c.LayersPerBlock, c.InChannels, c.OutChannels = maxLayers, maxChannels, maxChannels
	c.NumClassEmbeds, c.TimeEmbeddingDim, c.SampleSize = maxClasses, maxTimeDim, Size{4096, 8192}
	alloctest.Parse(t, 0, func() {
		p, err := Layout(c)
		if err != nil {
			t.Fatal(err)
		}
		if p.Len() < 1e13 || p.Count() > p.Len() {
			t.Errorf("%d weights, %d with padding", p.Count(), p.Len())
		}
	})
	var keys strings.Builder
	for i := 0; keys.Len() < maxConfig-20; i++ {
		fmt.Fprintf(&keys, `"%x":0,`, i)
	}
	text := "{" + keys.String() + `"":0}`
	alloctest.Parse(t, len(text), func() {
		_, err := ParseConfig([]byte(text))
		if err == nil || len(text) > maxConfig {
			t.Errorf("%d bytes: %v", len(text), err)
		}
	})
}
