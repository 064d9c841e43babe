package checkpoints

import (
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"unstir/checkpoints/safetensors"
)

// pipeline writes a diffusers pipeline, which is a checkpoint without what is
// ours.
func pipeline(t *testing.T) string {
	t.Helper()
	saved := mustSave(t, t.TempDir(), 6)
	dir := t.TempDir()
	for _, path := range []string{fileIndex, fileUNet, fileWeights, fileScheduler} {
		move(t, in(saved, path), in(dir, path))
	}
	return dir
}

func move(t *testing.T, from, to string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(to), 0o777); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(from, to); err != nil {
		t.Fatal(err)
	}
}

// opens opens a model, checks the weights and closes it.
func opens(t *testing.T, path string) *Model {
	t.Helper()
	m, err := Open(background, path)
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	if v := read(t, m.Weights, "conv_in.bias"); v[0] != 60 {
		t.Errorf("%s: conv_in.bias is %v", path, v)
	}
	if class, _, err := classOf(m.UNet); err != nil || class != "UNet2DModel" {
		t.Errorf("%s: the unet's config is %s", path, m.UNet)
	}
	return m
}

func TestOpenFindsWhatAUserMayName(t *testing.T) {
	run := t.TempDir()
	dir := mustSave(t, run, 6)
	for _, path := range []string{run, filepath.Join(run, "checkpoints"), dir, dir + string(filepath.Separator)} {
		if m := opens(t, path); m.State == nil || m.State.Step != 6 || m.Raw == nil || m.Optimizer == nil || m.Scheduler == nil {
			t.Errorf("%s: the training state is missing", path)
		}
	}
	p := pipeline(t)
	if m := opens(t, p); m.State != nil || m.Raw != nil || m.Config != nil || m.Scheduler == nil {
		t.Errorf("a pipeline: %+v", m)
	}
	if m := opens(t, filepath.Join(p, "unet")); m.State != nil || m.Scheduler != nil {
		t.Errorf("a bare unet: %+v", m)
	}
}

func TestAPipelineWithoutAnIndexOrInOneDirectoryOpens(t *testing.T) {
	p := pipeline(t)
	index := mustRead(t, in(p, fileIndex))
	os.Remove(in(p, fileIndex))
	opens(t, p)
	move(t, in(p, fileUNet), filepath.Join(p, "config.json"))
	move(t, in(p, fileWeights), filepath.Join(p, weightsName))
	move(t, in(p, fileScheduler), filepath.Join(p, schedulerName))
	os.Remove(filepath.Join(p, "unet"))
	if m := opens(t, p); m.Scheduler == nil {
		t.Error("the scheduler beside the unet was not found")
	}
	os.WriteFile(in(p, fileIndex), index, 0o666)
	if m := opens(t, p); m.Scheduler == nil {
		t.Error("the scheduler beside the unet was not found")
	}
}

func TestShardedWeightsOpen(t *testing.T) {
	p := pipeline(t)
	unet := filepath.Join(p, "unet")
	index := map[string]any{"weight_map": map[string]string{"conv_in.weight": "a.safetensors", "conv_in.bias": "b.safetensors"}}
	for _, tensor := range toy(6).EMA {
		file := index["weight_map"].(map[string]string)[tensor.Name]
		if err := safetensors.WriteFile(background, filepath.Join(unet, file), []Tensor{tensor}, safetensors.Options{}); err != nil {
			t.Fatal(err)
		}
	}
	os.Remove(filepath.Join(unet, weightsName))
	text, err := json.Marshal(index)
	if err != nil {
		t.Fatal(err)
	}
	os.WriteFile(filepath.Join(unet, "diffusion_pytorch_model.safetensors.index.json"), text, 0o666)
	opens(t, p)
}

func TestOpenSaysWhatItLookedFor(t *testing.T) {
	cases := map[string]struct {
		change func(p string) (path string)
		says   []string
	}{
		"nothing there": {func(p string) string { return p + "x" }, []string{"no such directory", "a run, a checkpoint"}},
		"a file":        {func(p string) string { return in(p, fileWeights) }, []string{"is a file", "name the directory"}},
		"empty": {func(p string) string { os.Mkdir(p+"/e", 0o777); return p + "/e" },
			[]string{"not a model", "checkpoints", "manifest.json", "model_index.json", "unet", "config.json"}},
		"empty run":      {func(p string) string { os.Mkdir(p+"/checkpoints", 0o777); return p }, []string{"no checkpoint in", "checkpoints", "step-"}},
		"no scheduler":   {func(p string) string { os.RemoveAll(p + "/scheduler"); return p }, []string{"scheduler/scheduler_config.json"}},
		"no unet config": {func(p string) string { os.Remove(in(p, fileUNet)); return p }, []string{"unet", "config.json"}},
		"no weights": {func(p string) string { os.Remove(in(p, fileWeights)); return p },
			[]string{"neither diffusion_pytorch_model.safetensors nor diffusion_pytorch_model.safetensors.index.json"}},
		"pickle": {func(p string) string {
			os.Rename(in(p, fileWeights), in(p, "unet/diffusion_pytorch_model.bin"))
			return p
		}, []string{"diffusion_pytorch_model.bin", "convert it to safetensors"}},
		"two variants": {func(p string) string {
			copyFile(p, fileWeights, "unet/diffusion_pytorch_model.ema.safetensors")
			os.Rename(in(p, fileWeights), in(p, "unet/diffusion_pytorch_model.fp16.safetensors"))
			return p
		}, []string{"the variants diffusion_pytorch_model.ema.safetensors, diffusion_pytorch_model.fp16.safetensors", "rename"}},
		"another name": {func(p string) string {
			os.Rename(in(p, fileWeights), in(p, "unet/model.safetensors"))
			return p
		}, []string{"rename model.safetensors"}},
		"damaged weights": {func(p string) string { flipIn(p, fileWeights); return p }, []string{"diffusion_pytorch_model.safetensors", "limit"}},
		"other unet": {func(p string) string {
			os.WriteFile(in(p, fileUNet), []byte(`{"_class_name":"UNet2DConditionModel"}`), 0o666)
			return p
		}, []string{"UNet2DConditionModel", "only UNet2DModel"}},
		"latent pipeline": {func(p string) string {
			os.WriteFile(in(p, fileIndex), []byte(`{"_class_name":"LDMPipeline","unet":["diffusers","UNet2DModel"],"vqvae":["diffusers","VQModel"],"x":[null,null]}`), 0o666)
			return p
		}, []string{"model_index.json", "vqvae: VQModel"}},
		"index no JSON":     {func(p string) string { os.WriteFile(in(p, fileIndex), []byte("x"), 0o666); return p }, []string{"model_index.json"}},
		"scheduler no JSON": {func(p string) string { os.WriteFile(in(p, fileScheduler), []byte("[]"), 0o666); return p }, []string{"scheduler_config.json", "JSON object"}},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			_, err := Open(background, c.change(pipeline(t)))
			wantError(t, err, c.says...)
		})
	}
}

func copyFile(dir, from, to string) {
	b, _ := os.ReadFile(in(dir, from))
	os.WriteFile(in(dir, to), b, 0o666)
}

func flipIn(dir, path string) {
	b, _ := os.ReadFile(in(dir, path))
	b[7] = 1
	os.WriteFile(in(dir, path), b, 0o666)
}

func TestLoadWantsATrainingState(t *testing.T) {
	p := pipeline(t)
	_, err := Load(background, p)
	wantError(t, err, p, "training/state.json", "sampled")
	_, err = Load(background, p+"x")
	wantError(t, err, "no such directory")
}

// Who resumes may begin anew where there is nothing, never where something is
// damaged.
func TestNothingIsToldFromDamage(t *testing.T) {
	run := t.TempDir()
	nothing := func(err error) bool { return errors.Is(err, ErrNone) || errors.Is(err, fs.ErrNotExist) }
	for _, path := range []string{filepath.Join(run, "none"), run} {
		if _, err := Load(background, path); !nothing(err) {
			t.Errorf("%s holds nothing: %v", path, err)
		}
	}
	dir := mustSave(t, run, 1)
	for _, path := range []string{fileWeights, fileState, fileManifest} {
		if err := os.Remove(in(dir, path)); err != nil {
			t.Fatal(err)
		}
		for _, path := range []string{run, dir} {
			if _, err := Load(background, path); err == nil || nothing(err) {
				t.Errorf("a damaged checkpoint passes for none: %v", err)
			}
		}
	}
}
