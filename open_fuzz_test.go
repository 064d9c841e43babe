package unstir

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"unstir/checkpoints/safetensors"
	"unstir/internal/alloctest"
	"unstir/internal/errortest"
	"unstir/unet"
)

// fuzzModel is a tiny model with all kinds of layers, of class-conditional images of 4x4 pixels.
func fuzzModel(tb testing.TB) *Pipeline {
	c := testConfig()
	c.SampleSize, c.NumClassEmbeds, c.NormNumGroups = unet.Size{H: 4, W: 4}, 3, 2
	c.BlockOutChannels = []int{4, 8}
	return testPipeline(tb, c)
}

// FuzzOpen: a pipeline's directory in which any one file is replaced by any bytes opens, or does not, within the memory
// that the files allow, and the error is one line that names the directory; what opens predicts.
func FuzzOpen(f *testing.F) {
	dir := filepath.Join(f.TempDir(), "model")
	if err := fuzzModel(f).Export(context.Background(), dir, ExportOptions{}); err != nil {
		f.Fatal(err)
	}
	files := []string{"model_index.json", "scheduler/scheduler_config.json", "unet/config.json", "unet/diffusion_pytorch_model.safetensors"}
	originals, size := map[string][]byte{}, 0
	for i, name := range files {
		b, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			f.Fatal(err)
		}
		originals[name] = b
		size += len(b)
		f.Add(uint8(i), b)
		f.Add(uint8(i), b[:len(b)/3])
	}
	for _, change := range [][2]string{
		{`"num_class_embeds": 3`, `"num_class_embeds": 1000000`}, {`"in_channels": 1`, `"in_channels": 65536`}, {`"layers_per_block": 1`, `"layers_per_block": 16`},
		{`"sample_size": 4`, `"sample_size": 65536`}, {`"sample_size": 4`, `"sample_size": [6, 3]`}, {`"mid_block_type": "UNetMidBlock2D"`, `"mid_block_type": null`},
		{`"dropout": 0`, `"dropout": 0.5`}, {`"norm_eps": 0.00001`, `"norm_eps": 1e-300`}, {`"out_channels": 1`, `"out_channels": 2`},
	} {
		config := string(originals["unet/config.json"])
		if !strings.Contains(config, change[0]) {
			f.Fatalf("no %s in %s", change[0], config)
		}
		f.Add(uint8(2), []byte(strings.Replace(config, change[0], change[1], 1)))
	}
	f.Add(uint8(1), []byte(`{"num_train_timesteps": 1}`))
	f.Add(uint8(1), []byte(`{"num_train_timesteps": 5, "trained_betas": [1e-17, 0.1, 0.1, 0.1, 0.1]}`))
	f.Fuzz(func(t *testing.T, which uint8, b []byte) {
		name := files[int(which)%len(files)]
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, b, 0o666); err != nil {
			t.Fatal(err)
		}
		defer os.WriteFile(path, originals[name], 0o666)
		var p *Pipeline
		var err error
		alloctest.Parse(t, size-len(originals[name])+len(b), func() { p, err = Open(context.Background(), dir) })
		if err != nil {
			errortest.OneLine(t, err, dir)
			return
		}
		if _, h, w := p.Shape(); h*w > 64 {
			return
		}
		c, h, w := p.Shape()
		var labels []int
		if p.Model().Config.NumClassEmbeds > 0 {
			labels = []int{0}
		}
		if y, err := p.Predict(context.Background(), make([]float32, c*h*w), []int{0}, labels); err != nil {
			errortest.OneLine(t, err)
		} else if len(y) != p.Model().Config.OutChannels*h*w {
			t.Errorf("%d values for %d channels of %dx%d", len(y), p.Model().Config.OutChannels, h, w)
		}
	})
}

// A config that declares a model of gigabytes beside small weights is refused before there is memory for it.
func TestAModelThatIsNotThereTakesNoMemory(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "model")
	if err := fuzzModel(t).Export(context.Background(), dir, ExportOptions{}); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "unet", "config.json")
	config, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, change := range [][2]string{{`"in_channels": 1`, `"in_channels": 65536`}, {`"time_embedding_dim": null`, `"time_embedding_dim": 262144`}, {`"layers_per_block": 1`, `"layers_per_block": 16`}} {
		if err := os.WriteFile(path, bytes.Replace(config, []byte(change[0]), []byte(change[1]), 1), 0o666); err != nil {
			t.Fatal(err)
		}
		alloctest.Within(t, 8<<20, func() {
			_, err := Open(context.Background(), dir)
			if err == nil || !strings.Contains(err.Error(), "safetensors") {
				t.Errorf("%s: %v, want an error that names the weights", change[1], err)
			}
		})
	}
}

// Each of the model's tensors must be in the file.
func TestATensorThatIsMissingIsNamed(t *testing.T) {
	dir, p := filepath.Join(t.TempDir(), "model"), fuzzModel(t)
	config := p.Model().Config
	if err := p.Export(context.Background(), dir, ExportOptions{}); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "unet", "diffusion_pytorch_model.safetensors")
	r, err := safetensors.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	for _, name := range r.Names() {
		var rest []safetensors.Tensor
		for _, other := range r.Names() {
			if info, _ := r.Lookup(other); other != name {
				rest = append(rest, safetensors.Tensor{Name: other, Shape: info.Shape, Fill: func(dst []float32) { r.ReadFloat32(other, dst) }})
			}
		}
		var without bytes.Buffer
		if err := safetensors.Write(context.Background(), &without, rest, safetensors.Options{}); err != nil {
			t.Fatal(err)
		}
		q, err := safetensors.NewReader(bytes.NewReader(without.Bytes()), int64(without.Len()), "m.safetensors")
		if err != nil {
			t.Fatal(err)
		}
		_, err = readModel(config, q)
		if err == nil || !strings.Contains(err.Error(), name) || !strings.Contains(err.Error(), "m.safetensors") {
			t.Errorf("without %s: %v", name, err)
		}
	}
}
