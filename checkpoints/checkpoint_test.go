package checkpoints

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"unstir/checkpoints/safetensors"
)

var background = context.Background()

func wantError(t *testing.T, err error, says ...string) {
	t.Helper()
	if err == nil {
		t.Errorf("no error; want one that says %q", says)
		return
	}
	for _, s := range says {
		if !strings.Contains(err.Error(), s) {
			t.Errorf("error %q does not say %q", err, s)
		}
	}
}

// toy is a checkpoint of a model with two parameters whose values tell the step
// and the list.
func toy(step int) *Checkpoint {
	list := func(v float32) []Tensor {
		fill := func(dst []float32) {
			for i := range dst {
				dst[i] = v + float32(i)/16
			}
		}
		return []Tensor{{Name: "conv_in.weight", Shape: []int{4, 1, 3, 3}, Fill: fill}, {Name: "conv_in.bias", Shape: []int{4}, Fill: fill}}
	}
	s := float32(10 * step)
	return &Checkpoint{
		State: State{Program: "unstir test", Step: step, Steps: 100, ImagesSeen: int64(128 * step), Seed: 1<<63 + 7, BatchSize: 128, Slice: 16,
			OptimizerStep: step, EMAUpdates: step, Loss: 0.125, TrainSeconds: 1.5, CPU: "generic",
			Data: Data{Name: "mnist", Source: "idx", Hash: "ab12", Count: 60000, Channels: 1, Height: 28, Width: 28, Flip: true, Classes: []string{"zero", "one"}}},
		UNet:      json.RawMessage(`{"_class_name":"UNet2DModel","_diffusers_version":"0.26.3","sample_size":28,"norm_eps":1e-05,"block_out_channels":[4,8],"x":[]}`),
		Scheduler: json.RawMessage(`{"_class_name": "DDPMScheduler", "beta_end": 0.02}`),
		Config:    []byte("name = \"mnist\"\n"),
		EMA:       list(s), Raw: list(s + 1), ExpAvg: list(s + 2), ExpAvgSq: list(s + 3),
	}
}

func mustSave(t *testing.T, run string, step int) string {
	t.Helper()
	dir, err := Save(background, run, toy(step))
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

func read(t *testing.T, r *safetensors.Reader, name string) []float32 {
	t.Helper()
	info, ok := r.Lookup(name)
	if !ok {
		t.Fatalf("%s has no tensor %q", r.Name(), name)
	}
	v := make([]float32, info.Len())
	if err := r.ReadFloat32(name, v); err != nil {
		t.Fatal(err)
	}
	return v
}

// names lists a directory.
func names(t *testing.T, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var list []string
	for _, e := range entries {
		list = append(list, e.Name())
	}
	return list
}

// flip changes one bit of a file.
func flip(t *testing.T, path string, at int) {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	b[at] ^= 1
	if err := os.WriteFile(path, b, 0o666); err != nil {
		t.Fatal(err)
	}
}

func TestWhatIsSavedIsLoaded(t *testing.T) {
	run := t.TempDir()
	dir := mustSave(t, run, 20)
	if want := filepath.Join(run, "checkpoints", "step-00000020"); dir != want {
		t.Errorf("saved to %s, want %s", dir, want)
	}
	m, err := Load(background, run)
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	want := toy(20).State
	want.Version = StateVersion
	if !reflect.DeepEqual(*m.State, want) {
		t.Errorf("state %+v, want %+v", *m.State, want)
	}
	if string(m.Config) != "name = \"mnist\"\n" || m.Dir != dir || len(m.Skipped) != 0 {
		t.Errorf("config %q, directory %s, skipped %v", m.Config, m.Dir, m.Skipped)
	}
	for name, c := range map[string]struct {
		r    *safetensors.Reader
		name string
		want float32
	}{
		"EMA":      {m.Weights, "conv_in.weight", 200},
		"Raw":      {m.Raw, "conv_in.weight", 201},
		"ExpAvg":   {m.Optimizer, ExpAvg + "conv_in.weight", 202},
		"ExpAvgSq": {m.Optimizer, ExpAvgSq + "conv_in.weight", 203},
	} {
		v := read(t, c.r, c.name)
		if len(v) != 36 || v[0] != c.want || v[35] != c.want+35.0/16 {
			t.Errorf("%s: %v", name, v)
		}
	}
	if len(m.Optimizer.Names()) != 4 {
		t.Errorf("the optimizer's tensors are %q", m.Optimizer.Names())
	}
}

func TestTheLayoutIsDiffusers(t *testing.T) {
	dir := mustSave(t, t.TempDir(), 2)
	for path, want := range map[string]string{
		"model_index.json": "{\n  \"_class_name\": \"DDPMPipeline\",\n  \"_diffusers_version\": \"0.26.3\",\n" +
			"  \"scheduler\": [\n    \"diffusers\",\n    \"DDPMScheduler\"\n  ],\n  \"unet\": [\n    \"diffusers\",\n    \"UNet2DModel\"\n  ]\n}\n",
		"unet/config.json": "{\n  \"_class_name\": \"UNet2DModel\",\n  \"_diffusers_version\": \"0.26.3\",\n  \"sample_size\": 28,\n" +
			"  \"norm_eps\": 1e-05,\n  \"block_out_channels\": [\n    4,\n    8\n  ],\n  \"x\": []\n}\n",
		"scheduler/scheduler_config.json": "{\n  \"_class_name\": \"DDPMScheduler\",\n  \"beta_end\": 0.02\n}\n",
	} {
		if got, err := os.ReadFile(in(dir, path)); err != nil || string(got) != want {
			t.Errorf("%s holds\n%s(%v), want\n%s", path, got, err, want)
		}
	}
	for sub, want := range map[string][]string{
		".":         {"manifest.json", "model_index.json", "scheduler", "training", "unet"},
		"unet":      {"config.json", "diffusion_pytorch_model.safetensors"},
		"scheduler": {"scheduler_config.json"},
		"training":  {"config.toml", "model.safetensors", "optimizer.safetensors", "state.json"},
	} {
		if got := names(t, filepath.Join(dir, sub)); !slices.Equal(got, want) {
			t.Errorf("%s holds %q, want %q", sub, got, want)
		}
	}
}

func TestEqualCheckpointsHaveEqualBytes(t *testing.T) {
	a, b := mustSave(t, t.TempDir(), 3), mustSave(t, t.TempDir(), 3)
	for _, path := range append(slices.Clone(modelFiles), fileManifest) {
		x, err := os.ReadFile(in(a, path))
		y, err2 := os.ReadFile(in(b, path))
		if err != nil || err2 != nil || string(x) != string(y) {
			t.Errorf("%s differs (%v, %v)", path, err, err2)
		}
	}
}

func TestAnyChangedByteIsRefusedByName(t *testing.T) {
	dir := mustSave(t, t.TempDir(), 1)
	if err := Verify(background, dir); err != nil {
		t.Fatal(err)
	}
	for _, path := range append(slices.Clone(modelFiles), fileManifest) {
		size := len(mustRead(t, in(dir, path)))
		for _, at := range []int{0, size / 3, size / 2, size - 2, size - 1} {
			flip(t, in(dir, path), at)
			wantError(t, Verify(background, dir), dir, path)
			_, err := Open(background, dir)
			wantError(t, err, path)
			flip(t, in(dir, path), at)
		}
	}
	if err := Verify(background, dir); err != nil {
		t.Error(err)
	}
}

func mustRead(t *testing.T, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestEveryByteOfTheManifestCounts(t *testing.T) {
	dir := mustSave(t, t.TempDir(), 1)
	path := filepath.Join(dir, fileManifest)
	for at := 0; at < len(mustRead(t, path)); at += 7 {
		flip(t, path, at)
		if _, err := readManifest(dir); err == nil && verify(background, dir) == nil {
			t.Fatalf("a change of byte %d was not seen", at)
		}
		flip(t, path, at)
	}
	// White space that JSON does not care about.
	text := strings.Replace(string(mustRead(t, path)), "  ", "\t ", 1)
	os.WriteFile(path, []byte(text), 0o666)
	wantError(t, Verify(background, dir), "manifest.json is damaged")
}

func TestMissingAndShortFilesAreNamed(t *testing.T) {
	dir := mustSave(t, t.TempDir(), 1)
	if err := os.Truncate(in(dir, fileOptimizer), 100); err != nil {
		t.Fatal(err)
	}
	os.Remove(in(dir, fileScheduler))
	wantError(t, Verify(background, dir), fileOptimizer+" has 100 bytes", fileScheduler+" is missing")
	os.Remove(in(dir, fileManifest))
	wantError(t, Verify(background, dir), "manifest.json", "interrupted")
	_, err := Open(background, dir) // training/ without a manifest is not a pipeline
	wantError(t, err, "manifest.json")
}

func TestManifestsThatLeadElsewhereAreRefused(t *testing.T) {
	dir := mustSave(t, t.TempDir(), 1)
	good, err := readManifest(dir)
	if err != nil {
		t.Fatal(err)
	}
	for says, change := range map[string]func(m *manifest){
		"inside the checkpoint": func(m *manifest) { m.Files = slices.Insert(m.Files, 0, fileSum{Path: "../secret"}) },
		"inside the checkpoin":  func(m *manifest) { m.Files = slices.Insert(m.Files, 0, fileSum{Path: "/etc/passwd"}) },
		"not in order":          func(m *manifest) { m.Files = slices.Insert(m.Files, 1, m.Files[0]) },
		"does not list " + fileState: func(m *manifest) {
			m.Files = slices.DeleteFunc(m.Files, func(f fileSum) bool { return f.Path == fileState })
		},
		"version 2": func(m *manifest) { m.Version = 2 },
	} {
		m := manifest{good.Version, slices.Clone(good.Files)}
		change(&m)
		os.WriteFile(filepath.Join(dir, fileManifest), m.encode(), 0o666)
		wantError(t, Verify(background, dir), says)
	}
}

func TestStateIsReadStrictly(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state.json")
	good, err := json.Marshal(State{Version: 1, BatchSize: 1, Slice: 1})
	if err != nil {
		t.Fatal(err)
	}
	for says, text := range map[string]string{
		"":                     string(good),
		`unknown field "sede"`: strings.Replace(string(good), `"seed"`, `"sede"`, 1),
		"version 2":            strings.Replace(string(good), `"version":1`, `"version":2,"later":true`, 1),
		"version 0":            `{"step":1}`,
		"negative":             strings.Replace(string(good), `"step":0`, `"step":-1`, 1),
		"lr_version 2":         strings.Replace(string(good), `"batch_size":1`, `"batch_size":1,"lr_version":2`, 1),
		"lr_version -1":        strings.Replace(string(good), `"batch_size":1`, `"batch_size":1,"lr_version":-1`, 1),
		"batch_size 0":         strings.Replace(string(good), `"batch_size":1`, `"batch_size":0`, 1),
		"after top-level":      string(good) + "{}",
		"state.json":           "{",
	} {
		os.WriteFile(path, []byte(text), 0o666)
		_, err := readState(path)
		if says == "" && err != nil {
			t.Error(err)
		} else if says != "" {
			wantError(t, err, says, path)
		}
	}
}

func TestSaveRefusesWhatWouldNotOpen(t *testing.T) {
	nan := 0.0
	for says, change := range map[string]func(c *Checkpoint){
		"batch_size":                             func(c *Checkpoint) { c.State.BatchSize = 0 },
		"finite":                                 func(c *Checkpoint) { c.State.Loss = nan / nan },
		"the unet's config: not":                 func(c *Checkpoint) { c.UNet = nil },
		`"UNet2DConditionModel"`:                 func(c *Checkpoint) { c.UNet = json.RawMessage(`{"_class_name":"UNet2DConditionModel"}`) },
		"_class_name":                            func(c *Checkpoint) { c.UNet = json.RawMessage(`{"_class_name":3}`) },
		"null":                                   func(c *Checkpoint) { c.UNet = json.RawMessage(`null`) },
		`want "DDPMScheduler"`:                   func(c *Checkpoint) { c.Scheduler = json.RawMessage(`{}`) },
		"no tensors":                             func(c *Checkpoint) { c.EMA = nil },
		"Raw has 1":                              func(c *Checkpoint) { c.Raw = c.Raw[:1] },
		`"conv_in.bias" of ExpAvg`:               func(c *Checkpoint) { c.ExpAvg[1].Shape = []int{5} },
		`"conv_out.bias" of ExpAvgSq`:            func(c *Checkpoint) { c.ExpAvgSq[1].Name = "conv_out.bias" },
		"training/model.safetensors: tensor \"":  func(c *Checkpoint) { c.Raw[0].Fill = nil },
		"EMA has 2 tensors, EMA has names for 1": func(c *Checkpoint) { c.EMA[1] = c.EMA[0] },
	} {
		run := t.TempDir()
		c := toy(5)
		change(c)
		_, err := Save(background, run, c)
		wantError(t, err, "saving step 5", says)
		if _, _, err := Latest(background, run); !errors.Is(err, ErrNone) {
			t.Errorf("%s: something was saved: %v", says, err)
		}
	}
}
