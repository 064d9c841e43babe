package demo

import (
	"bufio"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"os"
	"path"
	"testing"

	"unstir/checkpoints"
	"unstir/configs"
	"unstir/data"
)

// weightsSHA256 is that of the weights: the pictures in the documents, and the figures, are of these.
const weightsSHA256 = "6b81886529c7525dddaa7d7058e04a287fbd6a1d690fcf864ec10bcf31bc9244"

// The weights are the ones that the documents are about, and small.
func TestWeights(t *testing.T) {
	name := path.Join(Pipeline, "unet", "diffusion_pytorch_model.safetensors")
	b, err := Files.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(b)
	if got := hex.EncodeToString(sum[:]); got != weightsSHA256 {
		t.Errorf("the SHA-256 of %s is %s, want %s", name, got, weightsSHA256)
	}
	if most := 4_000_000; len(b) > most {
		t.Errorf("%s has %d bytes, more than %d", name, len(b), most)
	}
}

// The configuration is that of the preset mnist-classes, and the log is that of the whole run.
func TestTraining(t *testing.T) {
	config, err := configs.Load("training/config.toml", nil)
	if err != nil {
		t.Fatal(err)
	}
	preset, err := configs.Load("mnist-classes", nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := preset.Fit(data.Info{Name: data.MNIST, Channels: 1, Height: 28, Width: 28, Count: 60000}); err != nil {
		t.Fatal(err)
	}
	if !config.Equal(*preset) {
		t.Error("training/config.toml is not the preset mnist-classes")
	}
	text, err := Files.ReadFile(State)
	if err != nil {
		t.Fatal(err)
	}
	state, err := checkpoints.ParseState(text, State)
	if err != nil {
		t.Fatal(err)
	}
	if state.Step != config.Train.Steps || state.Seed != config.Seed || state.Data.Name != data.MNIST || len(state.Data.Classes) != 10 {
		t.Errorf("the state is %+v", state)
	}
	f, err := os.Open("training/log.jsonl")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var last struct {
		Step   int
		Images int64
	}
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		if err := json.Unmarshal(lines.Bytes(), &last); err != nil {
			t.Fatal(err)
		}
	}
	if err := lines.Err(); err != nil || last.Step != state.Step || last.Images != state.ImagesSeen {
		t.Errorf("the log ends with %+v (%v), the state is of step %d", last, err, state.Step)
	}
}
