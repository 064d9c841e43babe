package main

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"image/png"
	"io/fs"
	"maps"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"

	"unstir/internal/npy"
	"unstir/internal/rng"
)

// stripesSet are n images of 8x8 in IDX: class 0 has horizontal stripes, class 1 vertical ones, both with noise.
func stripesSet(n int, seed uint64) (images, labels []byte) {
	images = binary.BigEndian.AppendUint32(nil, 0x803)
	for _, v := range []int{n, tinySize, tinySize} {
		images = binary.BigEndian.AppendUint32(images, uint32(v))
	}
	labels = binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint32(nil, 0x801), uint32(n))
	for i := range n {
		labels = append(labels, byte(i%2))
		for p := range tinySize * tinySize {
			at := [2]int{p / tinySize, p % tinySize}[i%2]
			noise := rng.Intn(seed, rng.Subset, uint64(i), uint64(p), 0, 60)
			images = append(images, byte(180*((at+i)%3/2)+noise))
		}
	}
	return images, labels
}

// evaluated is a workspace with a classifier and a class-conditional model of stripes, made once.
var evaluated struct {
	sync.Once
	dir string
}

// evalWorkspace makes a workspace with the runs runs/classes and runs/model, and goes there.
func evalWorkspace(t *testing.T) {
	t.Helper()
	evaluated.Do(func() {
		made := workspace(t)
		if err := os.Mkdir("digits", 0o755); err != nil {
			t.Fatal(err)
		}
		for part, n := range map[string]int{"train": 90, "t10k": 60} {
			images, labels := stripesSet(n, uint64(n))
			writeFile(t, filepath.Join("digits", part+"-images-idx3-ubyte"), images)
			writeFile(t, filepath.Join("digits", part+"-labels-idx1-ubyte"), labels)
		}
		writeFile(t, "classes.toml", []byte(strings.NewReplacer("features = 12", "features = 6", "steps = 6\n", "steps = 40\n", "batch_size = 4", "batch_size = 16",
			"slice = 3", "slice = 8", "every = 2", "every = 0").Replace(classesConfig)))
		must(t, "train", "--config", "classes.toml")
		must(t, "train", "--config", "tiny.toml", "--set", "name=model", "--set", "data.dataset=mnist", "--set", "data.dir=digits", "--set", "data.flip=false",
			"--set", "model.num_class_embeds=10", "--set", "model.dropout=0", "--set", "train.label_dropout=0.2")
		keep, err := os.MkdirTemp("", "unstir-test-")
		if err != nil {
			t.Fatal(err)
		}
		evaluated.dir = keep
		if err := os.CopyFS(keep, os.DirFS(made)); err != nil {
			t.Fatal(err)
		}
	})
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS(evaluated.dir)); err != nil {
		t.Fatal(err)
	}
	t.Chdir(dir)
}

// resultKeys are the keys of a result, in order.
var resultKeys = []string{
	"dataset", "n", "sampler", "steps", "seed", "guidance", "settings", "model_step", "feature_net", "feature_net_accuracy", "frechet", "frechet_real", "frechet_noise",
	"kernel_mean", "kernel_std", "precision", "recall", "density", "coverage", "class_histogram", "class_entropy", "class_accuracy", "accuracy_score", "near_copies",
	"bits_per_dim", "bits_per_dim_stderr", "images_per_s",
}

// resultOf reads a result, which must have every key once, in order.
func resultOf(t *testing.T, text string) map[string]any {
	t.Helper()
	d := json.NewDecoder(strings.NewReader(text))
	var keys []string
	if _, err := d.Token(); err != nil {
		t.Fatal(err)
	}
	for d.More() {
		key, err := d.Token()
		if err != nil {
			t.Fatal(err)
		}
		keys = append(keys, key.(string))
		var value json.RawMessage
		if err := d.Decode(&value); err != nil {
			t.Fatal(err)
		}
	}
	if !reflect.DeepEqual(keys, resultKeys) {
		t.Errorf("the keys are %q", keys)
	}
	var m map[string]any
	if err := json.Unmarshal([]byte(text), &m); err != nil {
		t.Fatal(err)
	}
	return m
}

var evalModel = []string{"eval", "--model", "runs/model", "--classifier", "runs/classes", "--sampler", "ddim", "--steps", "3", "--n", "30", "--seed", "4",
	"--data-dir", "digits"} // the directory that the runs remember is gone

// The samples of an evaluation are guided where that is asked for, and the result says so.
func TestEvalOfAGuidedModel(t *testing.T) {
	evalWorkspace(t)
	eval := func(args ...string) map[string]any {
		return resultOf(t, must(t, append(append(evalModel, "--json", "-"), args...)...))
	}
	plain, one, three := eval(), eval("--guidance", "1"), eval("--guidance", "3", "--guidance-rescale", "0.5")
	if plain["guidance"] != nil || one["guidance"] != nil || three["guidance"] != 3.0 {
		t.Errorf("guidance is %v without, %v of weight 1, %v of weight 3", plain["guidance"], one["guidance"], three["guidance"])
	}
	if plain["frechet"] != one["frechet"] || plain["frechet"] == three["frechet"] {
		t.Errorf("the distance is %v without guidance, %v with weight 1, %v with weight 3", plain["frechet"], one["frechet"], three["frechet"])
	}
}

// A model's samples are compared with the test images of its dataset; the result is printed, written and left with the run.
func TestEvalOfAModel(t *testing.T) {
	evalWorkspace(t)
	r := call(append(evalModel, "--json", "out.json", "--pairs", "near.png")...)
	if r.code != exitDone {
		t.Fatalf("exit code %d, %s", r.code, r.stderr)
	}
	has(t, "stderr", r.stderr, "sampling 100.0%", "features 100.0%, 210 of 210 images") // 30 samples, as much noise, 60 and 90 images
	has(t, "the table", r.out, "30, ddim, 3 steps, seed 4, model of step 6", "mnist's test images", "mnist classifier of step 40 ", "Fréchet distance", "real images ", ", noise ",
		"note: 30 samples are few")
	text := string(readFile(t, "out.json"))
	m := resultOf(t, text)
	for _, key := range resultKeys {
		if (m[key] == nil) != slices.Contains([]string{"guidance", "settings", "accuracy_score", "bits_per_dim", "bits_per_dim_stderr"}, key) {
			t.Errorf("%s is %v", key, m[key])
		}
	}
	for key, want := range map[string]any{"dataset": "mnist", "n": 30.0, "sampler": "ddim", "steps": 3.0, "seed": 4.0, "model_step": 6.0} {
		if m[key] != want {
			t.Errorf("%s is %v, want %v", key, m[key], want)
		}
	}
	if !(m["frechet"].(float64) > m["frechet_real"].(float64)) {
		t.Errorf("samples of an untrained model have the distance %v, real images %v", m["frechet"], m["frechet_real"])
	}
	if string(readFile(t, "runs/model/eval.json")) != text {
		t.Error("the run has another result")
	}
	must(t, append(evalModel, "--model", "runs/model/checkpoints/step-00000004", "--json", "older.json")...)
	if older := readFile(t, "older.json"); string(older) == text || string(readFile(t, "runs/model/eval.json")) != text {
		t.Error("a checkpoint's result is taken for the run's")
	}
	f, err := os.Open("near.png")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := png.DecodeConfig(f); err != nil {
		t.Error(err)
	}
	must(t, "report", "runs/model")
	page := string(readFile(t, "runs/model/report.html"))
	has(t, "the report", page, "Fréchet distance", "mnist classifier of step 40 ")
	if runtime.GOOS == "windows" {
		return // paths are in quotes
	}
	commands := commandsOf(page)
	i := slices.IndexFunc(commands, func(line string) bool { return strings.HasPrefix(line, "diffusion eval ") })
	if i < 0 {
		t.Fatalf("the report has the commands %q", commands)
	}
	line := strings.Fields(strings.Replace(commands[i], "CLASSIFIER", "runs/classes", 1))
	must(t, append(line[1:], "--steps", "2", "--n", "20", "--data-dir", "digits")...)
}

// without leaves out the keys that differ between equal evaluations.
func without(m map[string]any, keys ...string) map[string]any {
	m = maps.Clone(m)
	for _, key := range keys {
		delete(m, key)
	}
	return m
}

// A result depends neither on threads nor on batches, nor on whether the samples were written and read in between.
func TestEvalOfTheSameSamples(t *testing.T) {
	evalWorkspace(t)
	sampling := []string{"--model", "runs/model", "--sampler", "ddim", "--steps", "3", "--n", "30", "--seed", "4"}
	first := resultOf(t, must(t, append(evalModel, "--json", "-", "--threads", "1")...))
	second := resultOf(t, must(t, append(evalModel, "--json", "-", "--threads", "3", "--batch", "7")...))
	if a, b := without(first, "images_per_s"), without(second, "images_per_s"); !reflect.DeepEqual(a, b) {
		t.Errorf("results differ:\n%v\n%v", a, b)
	}
	must(t, append([]string{"sample", "--out", "set"}, sampling...)...)
	must(t, append([]string{"sample", "--out", "set.npy"}, sampling...)...)
	labels := npy.Array[int64]{Shape: []int{30}}
	for i := range 30 {
		labels.Data = append(labels.Data, int64(i%10))
	}
	if err := npy.WriteFile("labels.npy", labels); err != nil {
		t.Fatal(err)
	}
	given := func(args ...string) map[string]any {
		t.Helper()
		return resultOf(t, must(t, append([]string{"eval", "--classifier", "runs/classes", "--json", "-"}, args...)...))
	}
	dir := given("--samples", "set", "--set", "data.dataset=mnist", "--data-dir", "digits")
	if a, b := without(first, "images_per_s", "model_step"), without(dir, "images_per_s", "model_step"); !reflect.DeepEqual(a, b) {
		t.Errorf("the directory of pictures has another result:\n%v\n%v", a, b)
	}
	array := given("--samples", "set.npy", "--labels", "labels.npy", "--model", "runs/model", "--data-dir", "digits")
	made := []string{"images_per_s", "sampler", "steps", "seed"}
	if a, b := without(first, made...), without(array, made...); !reflect.DeepEqual(a, b) {
		t.Errorf("the array has another result:\n%v\n%v", a, b)
	}
	unlabelled := given("--samples", "set.npy", "--set", "data.dataset=mnist", "--set", "data.dir=digits", "--n", "20")
	for key, want := range map[string]any{"class_accuracy": nil, "model_step": nil, "sampler": nil, "steps": nil, "seed": nil, "images_per_s": nil, "n": 20.0} {
		if unlabelled[key] != want {
			t.Errorf("%s of given samples is %v, want %v", key, unlabelled[key], want)
		}
	}
}

// Real images are nearer to the test images than noise is, by the same command.
func TestEvalOrdersImages(t *testing.T) {
	evalWorkspace(t)
	write := func(name string, value func(i int) float32) {
		a := npy.Array[float32]{Shape: []int{90, 1, tinySize, tinySize}, Data: make([]float32, 90*tinySize*tinySize)}
		for i := range a.Data {
			a.Data[i] = value(i)
		}
		if err := npy.WriteFile(name, a); err != nil {
			t.Fatal(err)
		}
	}
	images, _ := stripesSet(90, 1)
	write("real.npy", func(i int) float32 { return float32(images[16+i])/127.5 - 1 })
	write("noise.npy", func(i int) float32 { return 2*float32(rng.Intn(5, rng.Subset, 0, 0, uint64(i), 1000))/999 - 1 })
	distance := func(name string) float64 {
		m := resultOf(t, must(t, "eval", "--samples", name, "--set", "data.dataset=mnist", "--data-dir", "digits", "--classifier", "runs/classes", "--json", "-"))
		return m["frechet"].(float64)
	}
	if real, noise := distance("real.npy"), distance("noise.npy"); !(10*real < noise) {
		t.Errorf("real images have the distance %.4f, noise %.4f", real, noise)
	}
}

// What needs training images is null without them, and says so.
func TestEvalWithoutTrainingImages(t *testing.T) {
	evalWorkspace(t)
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	args := append(evalModel, "--json", "-")
	if err := os.Remove("digits/train-images-idx3-ubyte"); err != nil {
		t.Fatal(err)
	}
	r := call(args...)
	if r.code != exitFailed || !strings.Contains(r.stderr, "no train-images-idx3-ubyte.gz") {
		t.Errorf("with a directory that is named: exit code %d, %s", r.code, r.stderr)
	}
	must(t, "sample", "--model", "runs/model", "--sampler", "ddim", "--steps", "2", "--n", "20", "--out", "s.npy")
	r = call("eval", "--samples", "s.npy", "--set", "data.dataset=mnist", "--set", "data.dir=digits", "--classifier", "runs/classes", "--json", "-")
	if r.code != exitDone {
		t.Fatalf("exit code %d, %s", r.code, r.stderr)
	}
	m := resultOf(t, r.out)
	if m["frechet"] == nil || m["frechet_real"] != nil || m["near_copies"] != nil {
		t.Errorf("frechet %v, frechet_real %v, near_copies %v", m["frechet"], m["frechet_real"], m["near_copies"])
	}
	has(t, "stderr", r.stderr, "note: there are no training images: ", "note: frechet_real is null", "note: near_copies is null")
	r = call("eval", "--samples", "s.npy", "--set", "data.dataset=mnist", "--set", "data.dir=digits", "--classifier", "runs/classes", "--pairs", "p.png")
	if r.code != exitFailed || !strings.Contains(r.stderr, "--pairs p.png: there were no training images that a sample could be near to") {
		t.Errorf("exit code %d, %s", r.code, r.stderr)
	}
}

// A folder of which training kept some pictures apart is evaluated by these, and one without by what it was trained on, with
// a note.
func TestEvalOfAFolder(t *testing.T) {
	evalWorkspace(t)
	for i := range 60 {
		must(t, "sample", "--model", "runs/model", "--sampler", "ddim", "--steps", "2", "--n", "1", "--seed", string(rune('0'+i%10))+string(rune('0'+i/10)), "--label", "1", "--out", filepath.Join("images", "s"+string(rune('0'+i%10))+string(rune('0'+i/10))+".png"))
	}
	for name, holdout := range map[string]string{"kept": "0.4", "all": "0"} {
		must(t, "train", "--config", "tiny.toml", "--out", "runs/"+name, "--set", "data.size=8", "--set", "data.holdout="+holdout)
	}
	eval := func(run string) (map[string]any, string) {
		t.Helper()
		r := call("eval", "--model", run, "--classifier", "runs/classes", "--sampler", "ddim", "--steps", "2", "--n", "20", "--json", "-")
		if r.code != exitDone {
			t.Fatalf("exit code %d, %s", r.code, r.stderr)
		}
		return resultOf(t, r.out), r.stderr
	}
	m, notes := eval("runs/kept")
	if m["near_copies"] == nil || m["frechet_real"] == nil || strings.Contains(notes, "it looks better than it is") {
		t.Errorf("with a part held out: %v\n%s", m, notes)
	}
	has(t, "stderr", notes, "data.holdout = 0.4: ", "pictures are in the test split", "pictures are in the train split")
	m, notes = eval("runs/all")
	if m["near_copies"] != nil || m["frechet_real"] != nil || m["frechet"] == nil {
		t.Errorf("without: %v", m)
	}
	has(t, "stderr", notes, "note: the references are all pictures of the folder, which a model of it was trained on: it looks better than it is; data.holdout = 0.1 in training keeps some apart")
	table := must(t, "eval", "--model", "runs/all", "--classifier", "runs/classes", "--sampler", "ddim", "--steps", "2", "--n", "20")
	has(t, "the table", table, "\nreferences         all pictures of the folder, training images among them\n")
	r := call("train", "--out", "runs/kept", "--resume", "auto", "--config", "tiny.toml", "--set", "data.size=8")
	if r.code != exitUsage || !strings.Contains(r.stderr, "the dataset was folder: ") {
		t.Errorf("going on without the part held out: exit code %d, %s", r.code, r.stderr)
	}
}

// Features of another network are compared as they are.
func TestEvalOfFeatures(t *testing.T) {
	t.Chdir(t.TempDir())
	write := func(name string, n, d int, shift float64) {
		a := npy.Array[float64]{Shape: []int{n, d}, Data: make([]float64, n*d)}
		for i := range a.Data {
			a.Data[i] = shift + float64(rng.Intn(uint64(n), rng.Subset, 0, 0, uint64(i), 1000))/1000
		}
		if err := npy.WriteFile(name, a); err != nil {
			t.Fatal(err)
		}
	}
	write("s.npy", 40, 3, 1)
	write("r.npy", 50, 3, 0)
	write("t.npy", 90, 3, 0)
	write("few.npy", 3, 3, 0)
	write("wide.npy", 50, 4, 0)
	m := resultOf(t, must(t, "eval", "--features", "s.npy", "--reference-features", "r.npy", "--training-features", "t.npy", "--json", "-"))
	if d := m["frechet"].(float64); math.Abs(d-3) > 0.5 || m["near_copies"] == nil || m["feature_net"] != nil || m["dataset"] != nil {
		t.Errorf("%v", m)
	}
	has(t, "the table", must(t, "eval", "--features", "s.npy", "--reference-features", "r.npy"), "Fréchet distance", "real images -, noise -")
	for args, want := range map[string]string{
		"few.npy r.npy":  "samples: 3 rows of 3 features",
		"s.npy wide.npy": "the samples have 3 features, the references 4: they must come from one network",
		"s.npy no.npy":   "--reference-features no.npy: ",
	} {
		files := strings.Fields(args)
		r := call("eval", "--features", files[0], "--reference-features", files[1])
		if r.code != exitUsage || r.out != "" || !strings.Contains(said(r.stderr), want) || strings.Count(r.stderr, "\n") != 1 {
			t.Errorf("%s: exit code %d, %s", args, r.code, r.stderr)
		}
	}
}

// Samples that cannot be compared are wrong usage, told in one line; nothing is written.
func TestEvalOfWrongSamples(t *testing.T) {
	evalWorkspace(t)
	write := func(name string, value float32, shape ...int) {
		n := 1
		for _, d := range shape {
			n *= d
		}
		a := npy.Array[float32]{Shape: shape, Data: make([]float32, n)}
		a.Data[n-1] = value
		if err := npy.WriteFile(name, a); err != nil {
			t.Fatal(err)
		}
	}
	write("s.npy", 1.0009, 20, 1, 8, 8)
	write("nan.npy", float32(math.NaN()), 20, 1, 8, 8)
	write("large.npy", -1.002, 20, 1, 8, 8)
	write("few.npy", 0, 6, 1, 8, 8)
	write("flat.npy", 0, 20, 64)
	write("rgb.npy", 0, 20, 3, 8, 8)
	write("wide.npy", 0, 20, 1, 8, 9)
	for name, labels := range map[string][]int64{"ten.npy": make([]int64, 10), "labels.npy": {19: 10}, "minus.npy": {19: -1}} {
		if err := npy.WriteFile(name, npy.Array[int64]{Shape: []int{len(labels)}, Data: labels}); err != nil {
			t.Fatal(err)
		}
	}
	for _, dir := range []string{"none", "mixed"} {
		if err := os.Mkdir(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	writeFile(t, "none/readme.txt", []byte("text"))
	writeFile(t, "mixed/a.png", []byte("text"))
	before := files(t, ".")
	const net = " --classifier runs/classes"
	const mnist = " --set data.dataset=mnist --set data.dir=digits"
	for _, c := range []struct{ args, want string }{
		{"--samples nan.npy" + mnist + net, "--samples nan.npy: sample 19 has a value NaN: values must be in [-1, 1]"},
		{"--samples large.npy" + mnist + net, "--samples large.npy: sample 19 has a value -1.002: values must be in [-1, 1]"},
		{"--samples few.npy" + mnist + net, "--samples few.npy: 6 samples for 6 features: there must be more samples than features, and hundreds for a result that says something"},
		{"--samples flat.npy" + mnist + net, "--samples flat.npy: the array has shape (20, 64), want (*, *, *, *)"},
		{"--samples rgb.npy" + mnist + net, "--samples rgb.npy: images of 3x8x8, and the feature network mnist classifier of step 40 ..."},
		{"--samples wide.npy" + mnist + net, "--samples wide.npy: images of 1x8x9, and the feature network ..."},
		{"--samples s.npy" + mnist, "--samples s.npy: images of 1x8x8, and the feature network mnist-classifier ..."},
		{"--samples s.npy --set data.dataset=cifar10", "--samples s.npy: the program has no feature network for cifar10: give a classifier, such as a configuration with [classifier] trains"},
		{"--samples s.npy --set data.dataset=imagenet", `--set data.dataset=imagenet: data.dataset is "imagenet"; it must be one of ` + datasets},
		{"--samples s.npy", "--samples s.npy: name the dataset to compare with, as in --set data.dataset=mnist, or the model that made them with --model"},
		{"--samples none" + mnist + net, "--samples none: data: opening \"folder\": ..."},
		{"--samples mixed" + mnist + net, "--samples mixed: data: opening \"folder\": ..."},
		{"--samples nowhere" + mnist + net, "--samples nowhere: " + fs.ErrNotExist.Error()},
		{"--samples classes.toml" + mnist + net, "--samples classes.toml: it must be a .npy file [N, C, H, W], or a directory of pictures"},
		{"--samples s.npy --n 21" + mnist + net, "--n 21: s.npy has 20 samples"},
		{"--samples s.npy --n 5" + mnist + net, "--samples s.npy: 5 samples for 6 features: ..."},
		{"--samples s.npy --labels ten.npy" + mnist + net, "--labels ten.npy: the array has shape (10,), want (20,)"},
		{"--samples s.npy --labels labels.npy" + mnist + net, "--samples s.npy: label 10 of sample 19: the classes of the feature network are 0 to 9"},
		{"--samples s.npy --labels minus.npy" + mnist + net, "--samples s.npy: label -1 of sample 19: ..."},
		{"--samples s.npy --labels nan.npy" + mnist + net, "--labels nan.npy: the elements are \"<f4\", want <i8 (int64): convert with .astype('<i8')"},
		{"--samples s.npy --steps 3" + mnist + net, "--steps says how samples are made, and --samples names some that are: leave one out"},
		{"--samples=" + mnist + net, "--samples is empty: name a .npy file or a directory of pictures"},
		{"--samples s.npy --set train.lr=1", "--set train.lr=1: only keys of [data] have a meaning here, such as data.dataset=mnist"},
		{"--labels labels.npy --model runs/model", "--labels are those of --samples; the classes of new ones are chosen by --label"},
		{"--model runs/model --n 6" + net, "--model runs/model/checkpoints/step-00000006: 6 samples for 6 features: ..."},
		{"--model runs/model", "--model runs/model/checkpoints/step-00000006: images of 1x8x8, and the feature network mnist-classifier ..."},
		{"--model runs/model --n 0" + net, "--n 0: it must be at least 1"},
		{"--model runs/model --steps 30" + net, "--steps 30: it must be at most 20, the number of timesteps that the model was trained on"},
		{"--model runs/model --sampler ddim-inverse" + net, "--sampler ddim-inverse: it turns images into noise, and there is nothing to compare noise with"},
		{"--model runs/model --sampler dppm" + net, `--sampler: there is no sampler "dppm"; the samplers are ` + samplers},
		{"--model runs/model --label 10" + net, `--label "10": the classes are 0, 1, 2, 3, 4, 5, 6, 7, 8, 9`},
		{"--model runs/model --classifier nowhere", "--classifier nowhere: there is no such directory; it must be that of a classifier's run or checkpoint"},
		{"--model runs/model --json no/e.json" + net, "--json no/e.json: there is no directory no"},
		{"--model runs/model --json=" + net, "--json is empty: name a file"},
		{"--model runs/model --json digits" + net, "--json digits: it is a directory"},
		{"--model runs/model --pairs p.jpg" + net, "--pairs p.jpg: the name must end in .png"},
		{"--model runs/model --bpd 61" + net + " --data-dir digits", "--model runs/model/checkpoints/step-00000006: bits per dimension of 61 images: mnist has 60 test images"},
		{"--model runs/model --bpd -1", "--bpd -1: it must be at least 1 test image"},
		{"--model runs/model --bpd 0", "--bpd 0: it must be at least 1 test image"},
		{"--model runs/model --bpd all", `--bpd "all": it must be a whole number; see diffusion eval --help`},
		{"--model runs/model --bpd-plot p.png", "--bpd-plot is of --bpd: say of how many test images, as in --bpd 256"},
		{"--model runs/model --bpd 4 --bpd-plot p.gif", "--bpd-plot p.gif: the name must end in .png"},
		{"--samples s.npy --bpd 4" + mnist + net, "--bpd 4: bits per dimension are a model's, and not those of samples: name one with --model"},
		{"--features s.npy", "--reference-features is missing: the features of test images, a .npy file [m, d]"},
		{"--features s.npy --reference-features s.npy --n 3", "--n has no meaning with --features: leave one out"},
		{"--reference-features s.npy", "--features is missing: the features of samples, a .npy file [n, d]"},
		{"--features=", "--features is empty: name a .npy file"},
		{"--compare ddim,ddpm", "unknown flag: --compare; see diffusion eval --help"},
		{"runs/model", `unexpected argument "runs/model"; see diffusion eval --help`},
	} {
		r := call(append([]string{"eval"}, strings.Fields(c.args)...)...)
		got := said(r.stderr)
		want, open := strings.CutSuffix(c.want, "...")
		if r.code != exitUsage || r.out != "" || got != want && !(open && strings.HasPrefix(got, want) && !strings.Contains(got, "\n")) {
			t.Errorf("eval %s: exit code %d, output %q, says\n\t%s\nwant\n\t%s", c.args, r.code, r.out, got, c.want)
		}
	}
	if after := files(t, "."); !maps.Equal(before, after) {
		t.Errorf("files have changed: %v", changes(before, after))
	}
}

// The bits per dimension are in the result, whose plot is left with the run; they depend neither on threads nor on batches, nor
// on what the samples are.
func TestEvalBitsPerDim(t *testing.T) {
	evalWorkspace(t)
	r := call(append(evalModel, "--bpd", "5", "--bpd-plot", "terms.png", "--json", "out.json", "--threads", "1")...)
	if r.code != exitDone {
		t.Fatalf("exit code %d, %s", r.code, r.stderr)
	}
	has(t, "stderr", r.stderr, "bits per dimension 100.0%, 100 of 100 timesteps")
	has(t, "the table", r.out, "\nbits per dim       ", "a bound on the code length of test images")
	first := resultOf(t, string(readFile(t, "out.json")))
	if bits, err := first["bits_per_dim"].(float64), first["bits_per_dim_stderr"].(float64); !(bits > 1 && err > 0 && err < bits) {
		t.Errorf("%v ± %v bits per dimension", bits, err)
	}
	plot := readFile(t, "terms.png")
	if string(readFile(t, "runs/model/bpd.png")) != string(plot) {
		t.Error("the run has another plot")
	}
	must(t, "report", "runs/model")
	has(t, "the report", string(readFile(t, "runs/model/report.html")), "Bits per dimension", "Terms of the variational bound by timestep")

	second := resultOf(t, must(t, append(evalModel, "--bpd", "5", "--json", "-", "--threads", "3", "--batch", "7")...))
	if a, b := without(first, "images_per_s"), without(second, "images_per_s"); !reflect.DeepEqual(a, b) {
		t.Errorf("results differ:\n%v\n%v", a, b)
	}
	must(t, "sample", "--model", "runs/model", "--sampler", "ddim", "--steps", "2", "--n", "30", "--out", "set.npy")
	given := resultOf(t, must(t, "eval", "--model", "runs/model", "--samples", "set.npy", "--classifier", "runs/classes", "--data-dir", "digits", "--bpd", "2", "--json", "-"))
	if given["bits_per_dim"] == nil || given["bits_per_dim"] == first["bits_per_dim"] {
		t.Errorf("two images have %v bits per dimension, five %v", given["bits_per_dim"], first["bits_per_dim"])
	}

	must(t, append(evalModel, "--json", "-")...) // without --bpd
	must(t, "report", "runs/model")
	if page := string(readFile(t, "runs/model/report.html")); strings.Contains(page, "Terms of the variational bound") {
		t.Error("the report shows the plot of an earlier evaluation")
	}
}

// An evaluation that is told to stop does so while it samples and while it measures, and leaves nothing.
func TestEvalStops(t *testing.T) {
	evalWorkspace(t)
	for _, at := range []string{"sampling", "features", "bits per dimension"} {
		before := files(t, ".")
		ctx, cancel := context.WithCancel(t.Context())
		stderr := &stopAt{what: at, stop: cancel}
		var out strings.Builder
		code := run(ctx, append(evalModel, "--n", "2000", "--steps", "1", "--bpd", "60"), &out, stderr)
		if code != exitFailed || out.Len() > 0 || !strings.HasSuffix(stderr.String(), "diffusion: interrupted\n") {
			t.Errorf("%s: exit code %d, %q, %s", at, code, out.String(), stderr.String())
		}
		if after := files(t, "."); !maps.Equal(before, after) {
			t.Errorf("%s: files have changed: %v", at, changes(before, after))
		}
	}
}

// stopAt is standard error of a program that is told to stop when it speaks of something.
type stopAt struct {
	strings.Builder
	what string
	stop func()
}

func (s *stopAt) Write(p []byte) (int, error) {
	if strings.HasPrefix(string(p), s.what) {
		s.stop()
	}
	return s.Builder.Write(p)
}
