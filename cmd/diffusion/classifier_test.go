package main

import (
	"encoding/binary"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"unstir"
	"unstir/checkpoints"
)

// classesConfig is a classifier of two levels.
const classesConfig = `
name = "classes"
seed = 3
[data]
dataset = "mnist"
dir = "digits"
[classifier]
channels = [8, 16]
features = 12
[train]
steps = 6
batch_size = 4
slice = 3
lr = 1e-2
warmup_steps = 2
[checkpoint]
every = 2
keep = 0
`

// fillClasses writes classes.toml and the data it names, with a test split, to a directory.
func fillClasses(t *testing.T, dir string) {
	t.Helper()
	writeFile(t, filepath.Join(dir, "classes.toml"), []byte(classesConfig))
	if err := os.MkdirAll(filepath.Join(dir, "digits"), 0o755); err != nil {
		t.Fatal(err)
	}
	for part, n := range map[string]int{"train": 13, "t10k": 7} {
		images := binary.BigEndian.AppendUint32(nil, 0x803)
		for _, v := range []int{n, tinySize, tinySize} {
			images = binary.BigEndian.AppendUint32(images, uint32(v))
		}
		labels := binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint32(nil, 0x801), uint32(n))
		for i := range n {
			labels = append(labels, byte(i%2))
			for p := range tinySize * tinySize {
				at := [2]int{p % tinySize, p / tinySize}[i%2]
				images = append(images, byte(255*((at+i)%3/2)))
			}
		}
		writeFile(t, filepath.Join(dir, "digits", part+"-images-idx3-ubyte"), images)
		writeFile(t, filepath.Join(dir, "digits", part+"-labels-idx1-ubyte"), labels)
	}
}

// A classifier's run leaves a classifier, which inspect shows with its accuracy, and which goes on with the numbers of an
// uninterrupted run.
func TestAClassifierIsTrainedAndInspected(t *testing.T) {
	workspace(t)
	fillClasses(t, ".")
	out := must(t, "train", "--config", "classes.toml")
	has(t, "the output", out, "step 6, loss ", ", test accuracy ", native("saved runs/classes/checkpoints/step-00000006"))
	for file := range files(t, "runs/classes") {
		if strings.Contains(file, "unet") || strings.Contains(file, "scheduler") || strings.Contains(file, "model_index") {
			t.Errorf("a classifier's run has %s", file)
		}
	}
	must(t, "train", "--config", "classes.toml", "--out", "cut", "--stop-at", "3", "--threads", "1")
	must(t, "train", "--out", "cut", "--resume", "auto", "--threads", "2")
	for _, name := range []string{"training/model.safetensors", "training/optimizer.safetensors", "classifier/model.safetensors", "classifier/config.json"} {
		last := "checkpoints/step-00000006/" + name
		if string(readFile(t, filepath.Join("runs/classes", last))) != string(readFile(t, filepath.Join("cut", last))) {
			t.Errorf("%s differs", name)
		}
	}
	whole, cut := logNumbers(t, "runs/classes/log.jsonl"), logNumbers(t, "cut/log.jsonl")
	if strings.Join(whole, "\n") != strings.Join(cut, "\n") || len(whole) != 6 {
		t.Errorf("the logs differ:\n%s\n\n%s", strings.Join(whole, "\n"), strings.Join(cut, "\n"))
	}
	for i, line := range whole {
		has(t, "the log", line, `"accuracy":`)
		if tested := strings.Contains(line, `"test_accuracy":`); tested != (i%2 == 1) {
			t.Errorf("line %d: %s", i+1, line)
		}
	}
	out = must(t, "inspect", "runs/classes")
	has(t, "inspect", out, "classifier of 10 classes", "6 of 6 steps", "test accuracy", " of 7 images, after step 6", "channels [8 16], 12 features",
		"1x8x8", "levels.1", "conv_in", "total")
	must(t, "report", "runs/classes")
	page := string(readFile(t, "runs/classes/report.html"))
	has(t, "the report", page, "classifier, channels [8 16], 12 features", "of 7 images, after step 6", `id="curve-1">Test accuracy</h3>`, `id="curve-2">Accuracy</h3>`,
		"% of the test images, by training step", "Test accuracy over steps 2 to 6: ", "Accuracy over steps 1 to 6: ", "cross-entropy, by training step")
	if list := commandsOf(page); len(list) != 3 || !strings.HasPrefix(list[0], "diffusion train ") || !strings.HasPrefix(list[1], "diffusion report ") || !strings.HasPrefix(list[2], "tensorboard ") {
		t.Errorf("the commands are %q", list)
	}
	for _, not := range []string{"Previews", "Samplers", "diffusion sample", "diffusion export", "predicts epsilon"} {
		if strings.Contains(page, not) {
			t.Errorf("the report of a classifier speaks of %s", not)
		}
	}
	m, err := unstir.OpenClassifier(t.Context(), "runs/classes")
	if err != nil {
		t.Fatal(err)
	}
	if m.Schedule != nil || m.Model.Config.Classes != 10 || m.Source.State.Test.Accuracy < 0 {
		t.Errorf("%+v, %+v", m.Model.Config, m.Source.State.Test)
	}

	out = must(t, "train", "--config", "classes.toml", "--out", "noisy", "--set", "classifier.noisy=true", "--set", "scheduler.num_train_timesteps=20")
	has(t, "the output of a noisy one", out, ", test accuracy ")
	has(t, "inspect of a noisy one", must(t, "inspect", "noisy/checkpoints/step-00000004"), "linear, 20 timesteps", "after step 4", "time_embedding")
	if m, err = unstir.OpenClassifier(t.Context(), "noisy"); err != nil || m.Schedule == nil || m.Schedule.T != 20 {
		t.Errorf("%+v, %v", m, err)
	}
}

// What needs a diffusion model says that a classifier is none, and the newest run is looked for among those that are.
func TestAClassifierIsNoDiffusionModel(t *testing.T) {
	workspaceWithRun(t)
	fillClasses(t, ".")
	must(t, "train", "--config", "classes.toml")
	writeFile(t, "x.npy", readFile(t, "digits/t10k-labels-idx1-ubyte"))
	for _, args := range [][]string{
		{"sample"}, {"predict", "--x", "x.npy", "--t", "1", "--out", "y.npy"}, {"export", "--out", "exported"}, {"eval"}, {"interpolate", "--from", "1", "--to", "2"},
		{"encode", "--images", "images", "--out", "z.npy"}, {"inpaint", "--image", "images/0.png", "--mask", "images/1.png"}, {"inspect", "--plan"},
	} {
		model := []string{"--model", "runs/classes"}
		want := "it is a classifier, which tells the classes of images, and no diffusion model"
		if args[0] == "inspect" {
			model, want = model[1:], "is a classifier; only the plans of diffusion models are listed"
		}
		if r := call(append(args, model...)...); r.code == exitDone || !strings.Contains(r.stderr, want) {
			t.Errorf("%q: exit code %d, %s", args, r.code, r.stderr)
		}
	}
	if _, err := os.Stat("exported"); err == nil {
		t.Error("export left something")
	}
	if _, err := unstir.OpenClassifier(t.Context(), "runs/tiny"); err == nil || !strings.Contains(err.Error(), "it is a diffusion model and no classifier") {
		t.Errorf("error %v", err)
	}
	has(t, "inspect", must(t, "inspect"), native("runs/tiny/checkpoints")) // though the classifier is newer
	if err := os.RemoveAll("runs/tiny"); err != nil {
		t.Fatal(err)
	}
	r := call("sample")
	has(t, "a directory with runs of classifiers only", r.stderr, "no checkpoint of a diffusion model in any run of runs, only of classifiers ("+native("runs/classes")+")")
	r = call("sample", "--model", "runs/classes/checkpoints/step-00000006/classifier")
	has(t, "the classifier's own directory", r.stderr, "it describes a Classifier; only UNet2DModel is supported")
}

// Damage to a classifier's checkpoint is found, and the one before is taken.
func TestADamagedClassifierIsSkipped(t *testing.T) {
	workspace(t)
	fillClasses(t, ".")
	must(t, "train", "--config", "classes.toml")
	for step, damage := range map[string]func(dir string) error{
		"step-00000006": func(dir string) error { return os.Truncate(filepath.Join(dir, "classifier/model.safetensors"), 100) },
		"step-00000004": func(dir string) error { return os.RemoveAll(filepath.Join(dir, "classifier")) },
	} {
		if err := damage(filepath.Join(checkpoints.Dir("runs/classes"), step)); err != nil {
			t.Fatal(err)
		}
	}
	m, err := unstir.OpenClassifier(t.Context(), "runs/classes")
	if err != nil {
		t.Fatal(err)
	}
	if m.Source.State.Step != 2 || len(m.Source.Skipped) != 2 {
		t.Errorf("step %d, skipped %v", m.Source.State.Step, m.Source.Skipped)
	}
}

// A classifier of a dataset without a test split is trained, and says that it was not tested.
func TestAClassifierWithoutATestSplit(t *testing.T) {
	workspace(t)
	fillClasses(t, ".")
	for _, class := range []string{"a", "b"} {
		if err := os.MkdirAll(filepath.Join("pets", class), 0o755); err != nil {
			t.Fatal(err)
		}
		for _, name := range []string{"0.png", "1.png"} {
			writeFile(t, filepath.Join("pets", class, name), readFile(t, filepath.Join("images", name)))
		}
	}
	args := []string{"train", "--config", "classes.toml", "--set", "data.dataset=folder", "--set", "data.dir=pets", "--steps", "2"}
	r := call(args...)
	if r.code != exitDone || !strings.Contains(r.stderr, `the test accuracy is not measured: data: opening "folder": it has no test split`) {
		t.Fatalf("exit code %d, %s", r.code, r.stderr)
	}
	has(t, "inspect", must(t, "inspect", "runs/classes"), "classifier of 2 classes", "not measured")
	var state map[string]any
	if err := json.Unmarshal(readFile(t, "runs/classes/checkpoints/step-00000002/training/state.json"), &state); err != nil {
		t.Fatal(err)
	}
	if _, ok := state["test"]; ok {
		t.Error("the state has a test")
	}
	r = call(append(args, "--set", "data.dir=images", "--out", "none")...)
	if r.code != exitUsage || !strings.Contains(r.stderr, "a classifier learns classes, but image 0 of folder has none") {
		t.Errorf("exit code %d, %s", r.code, r.stderr)
	}
}

// bench times a classifier's steps, and has nothing to sample.
func TestBenchOfAClassifier(t *testing.T) {
	workspace(t)
	fillClasses(t, ".")
	must(t, "bench", "train", "--config", "classes.toml", "--steps", "2")
	if r := call("bench", "sample", "--config", "classes.toml"); r.code != exitUsage || !strings.Contains(r.stderr, "it trains a classifier, which is not sampled") {
		t.Errorf("exit code %d, %s", r.code, r.stderr)
	}
}
