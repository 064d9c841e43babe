// Package bench holds the comparison with other frameworks; see README.md. The
// tests keep both sides of it on the same models.
package bench

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"unstir/configs"
	"unstir/data"
	"unstir/unet"
)

// models are the parameters of each model in models/, counted by PyTorch.
var models = map[string]int{"mnist": 1623169, "rgb32": 6472195, "ddpm-cifar10": 35746307}

// infos are what the configs' datasets tell the models.
var infos = map[string]data.Info{
	data.MNIST:   {Name: data.MNIST, Channels: 1, Height: 28, Width: 28, Count: 1},
	data.CIFAR10: {Name: data.CIFAR10, Channels: 3, Height: 32, Width: 32, Count: 1},
}

func TestBothSidesDescribeTheSameModel(t *testing.T) {
	for name, params := range models {
		t.Run(name, func(t *testing.T) {
			ours := readTOML(t, name)
			text, err := os.ReadFile(filepath.Join("models", name+".json"))
			if err != nil {
				t.Fatal(err)
			}
			peer, err := unet.ParseConfig(text)
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(ours.Model, peer); d != "" {
				t.Errorf("%s.toml and %s.json differ (-toml +json):\n%s", name, name, d)
			}
			m, err := unet.New(ours.Model, 0)
			if err != nil {
				t.Fatal(err)
			}
			if got := m.Params.Count(); got != params {
				t.Errorf("%d parameters; PyTorch counts %d", got, params)
			}
		})
	}
}

// The batch is the comparison's own: what the preset trains best with may change.
func TestTheFirstModelIsThePresetsOwn(t *testing.T) {
	preset, err := configs.Load("mnist", nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := preset.Fit(infos[data.MNIST]); err != nil {
		t.Fatal(err)
	}
	ours := readTOML(t, "mnist")
	if d := cmp.Diff(preset.Model, ours.Model); d != "" {
		t.Errorf("the preset mnist and mnist.toml differ (-preset +toml):\n%s", d)
	}
}

func TestEveryModelIsCompared(t *testing.T) {
	files, err := filepath.Glob(filepath.Join("models", "*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		name := strings.TrimSuffix(filepath.Base(f), filepath.Ext(f))
		if _, ok := models[name]; !ok {
			t.Errorf("%s: no test compares it with its other side", f)
		}
	}
	if len(files) != 2*len(models) {
		t.Errorf("%d files for %d models; each has a .toml and a .json", len(files), len(models))
	}
}

// readTOML reads our side of a model as diffusion bench does.
func readTOML(t *testing.T, name string) *configs.Config {
	t.Helper()
	c, err := configs.Load(filepath.Join("models", name+".toml"), nil)
	if err != nil {
		t.Fatal(err)
	}
	info, ok := infos[c.Data.Dataset]
	if !ok {
		t.Fatalf("dataset %q has no image size here", c.Data.Dataset)
	}
	if err := c.Fit(info); err != nil {
		t.Fatal(err)
	}
	return c
}
