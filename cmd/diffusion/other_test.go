package main

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"testing"

	"unstir"
	"unstir/configs"
	"unstir/internal/npy"
)

// predict is the library's Predict, at one timestep for all images or one each, with the weights asked for.
func TestPredictIsTheLibrarysPredict(t *testing.T) {
	workspaceWithRun(t)
	x := npy.Array[float32]{Shape: []int{3, 1, tinySize, tinySize}, Data: make([]float32, 3*64)}
	for i := range x.Data {
		x.Data[i] = float32(i%17)/8 - 1
	}
	if err := npy.WriteFile("x.npy", x); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		t    string
		want []int
		ema  bool
	}{{"7", []int{7, 7, 7}, true}, {"0, 19,5", []int{0, 19, 5}, true}, {"7", []int{7, 7, 7}, false}} {
		var options []unstir.OpenOption
		args := []string{"predict", "--model", "runs/tiny", "--x", "x.npy", "--t", c.t, "--out", "eps.npy"}
		if !c.ema {
			options, args = append(options, unstir.WithRawWeights()), append(args, "--ema=false")
		}
		p, err := unstir.Open(t.Context(), "runs/tiny", options...)
		if err != nil {
			t.Fatal(err)
		}
		want, err := p.Predict(t.Context(), x.Data, c.want, nil)
		if err != nil {
			t.Fatal(err)
		}
		if out := must(t, args...); out != "eps.npy\n" {
			t.Errorf("the output is %q", out)
		}
		got := readArray(t, "eps.npy")
		isShape(t, got, 3, 1, tinySize, tinySize)
		if !slices.Equal(got.Data, want) {
			t.Errorf("--t %s, ema %v: the prediction is not the library's", c.t, c.ema)
		}
	}
}

// inspect shows what a run holds: where it stands, its data, and parameters that add up.
func TestInspect(t *testing.T) {
	workspaceWithRun(t)
	p, err := unstir.Open(t.Context(), "runs/tiny")
	if err != nil {
		t.Fatal(err)
	}
	out := must(t, "inspect")
	has(t, "inspect", out, native("runs/tiny/checkpoints/step-00000006"), "manifest   holds", "6 of 6 steps, 24 images", "4 in slices of 3, seed 3",
		"folder: 7 images of 1x8x8", "1x8x8, any rows and columns divisible by 2", "channels [8 16]", "linear, 20 timesteps, predicts epsilon",
		"down_blocks.1", "mid_block")
	if out != must(t, "inspect", "runs/tiny") {
		t.Error("inspect without a directory shows another run than the only one")
	}
	total := 0
	for _, b := range parametersByBlock(p.Model().Params) {
		total += b.values
	}
	if want := p.Model().Params.Count(); total != want {
		t.Errorf("the blocks have %d parameters together, the model has %d", total, want)
	}
	has(t, "inspect --plan", must(t, "inspect", "--plan", "--batch", "2"), "operations on 2 images", "GFLOP/s")
}

// bench --json is one object with exactly these keys, and numbers that are possible.
func TestBenchPrintsOneObject(t *testing.T) {
	workspace(t)
	common := []string{"mode", "params", "batch", "threads", "cpu", "level", "median_s", "images_per_s", "gflops", "peak_rss_bytes"}
	tiny := []string{"--config", "tiny.toml", "--set", "data.size=8", "--steps", "3", "--batch", "5", "--json"}
	for mode, want := range map[string][]string{"train": append([]string{"slice"}, common...), "sample": common} {
		out := must(t, append([]string{"bench", mode}, tiny...)...)
		var got map[string]any
		d := json.NewDecoder(strings.NewReader(out))
		if err := d.Decode(&got); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		if d.More() {
			t.Errorf("more than one object: %s", out)
		}
		slices.Sort(want)
		if keys := slices.Sorted(maps.Keys(got)); !slices.Equal(keys, want) {
			t.Errorf("bench %s: keys %v, want %v", mode, keys, want)
		}
		if got["mode"] != mode || got["batch"] != 5.0 {
			t.Errorf("bench %s: %s", mode, out)
		}
		for _, key := range []string{"params", "threads", "median_s", "images_per_s", "gflops"} {
			if v, ok := got[key].(float64); !ok || v <= 0 {
				t.Errorf("bench %s: %s is %v", mode, key, got[key])
			}
		}
	}
	text := must(t, append([]string{"bench", "sample"}, tiny[:len(tiny)-1]...)...)
	has(t, "bench", text, "sample: ", " parameters, batch 5", "median of 2 steps", "images/s")
	if len(files(t, ".")) != len([]string{"tiny.toml"})+7 {
		t.Error("bench leaves files behind")
	}
}

// A class-conditional model can be timed like any other.
func TestBenchTakesModelsWithClasses(t *testing.T) {
	workspace(t)
	for _, mode := range []string{"train", "sample"} {
		must(t, "bench", mode, "--config", "tiny.toml", "--set", "data.size=8", "--set", "model.num_class_embeds=3", "--steps", "2", "--batch", "4")
	}
}

// presets lists the configurations and prints one that trains as it is.
func TestPresets(t *testing.T) {
	t.Chdir(t.TempDir())
	if out := must(t, "presets"); out != strings.Join(configs.Presets(), "\n")+"\n" {
		t.Errorf("presets prints %q", out)
	}
	for _, name := range configs.Presets() {
		writeFile(t, "mine.toml", []byte(must(t, "presets", name)))
		mine, err := configs.Load("mine.toml", nil)
		if err != nil {
			t.Fatal(err)
		}
		preset, err := configs.Load(name, nil)
		if err != nil {
			t.Fatal(err)
		}
		if !mine.Equal(*preset) {
			t.Errorf("the text of preset %s is another configuration", name)
		}
	}
	if must(t, "presets", "mnist.toml") != must(t, "presets", "mnist") {
		t.Error("mnist.toml is not mnist")
	}
}

// Every command has a help text with an example or a flag, and --version tells the version.
func TestHelp(t *testing.T) {
	for _, c := range newRoot().Commands() {
		if c.Short == "" || !c.HasExample() && !c.HasAvailableLocalFlags() && c.Long == "" && !c.HasAvailableSubCommands() {
			t.Errorf("%s has no help to speak of", c.Name())
		}
		if out := must(t, "help", c.Name()); out != must(t, c.Name(), "--help") || !strings.Contains(out, "Usage:") {
			t.Errorf("help %s prints %q", c.Name(), out)
		}
	}
	has(t, "--version", must(t, "--version"), "diffusion version ")
	has(t, "no command", must(t), "train", "sample", "predict", "inspect", "bench", "presets")
}
