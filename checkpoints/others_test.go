package checkpoints

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const lfsPointer = "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a214614ab2935c943f9e0ff69d22eadbb8f32b1258daaa5e2ca24d17e2393\nsize 12345\n"

// impostors are what is found in place of a file, and what the error says of it.
var impostors = []struct{ name, text, says string }{
	{"LFS pointer", lfsPointer, "it is a Git LFS pointer, which stands for a file of 12345 bytes: run git lfs pull where it was cloned, or download the file again"},
	{"HTML page", "<!DOCTYPE html>\n<html><title>Sign in</title></html>", "it is an HTML page"},
	{"server's error", `{"error":"Repository not found"}`, `a server's message about an error, "Repository not found"`},
	{"server's words", "Entry not found", `"Entry not found"`},
	{"empty", "", "it is empty"},
	{"zeros", strings.Repeat("\x00", 4096), "nothing but zeros"},
	{"gzip", "\x1f\x8b\x08\x00rest", "it is a gzip file"},
	{"zip", "PK\x03\x04\x14\x00rest", "it is a zip archive"},
	{"pickle", "\x80\x02}q\x00(X", "it is a pickle"},
}

// Whatever file of a pipeline is not the file but something else, the error names the path and what it is.
func TestWhatIsNoFileOfAPipelineIsToldByName(t *testing.T) {
	base := pipeline(t)
	for _, file := range []string{fileWeights, fileUNet, fileScheduler, fileIndex} {
		good := mustRead(t, in(base, file))
		for _, bad := range impostors {
			if err := os.WriteFile(in(base, file), []byte(bad.text), 0o666); err != nil {
				t.Fatal(err)
			}
			_, err := Open(background, base)
			if err == nil {
				t.Errorf("%s in place of %s: opened", bad.name, file)
				continue
			}
			wantError(t, err, filepath.Base(file), bad.says)
			if strings.Contains(err.Error(), "\n") {
				t.Errorf("%s in place of %s takes more than a line: %v", bad.name, file, err)
			}
		}
		if err := os.WriteFile(in(base, file), good, 0o666); err != nil {
			t.Fatal(err)
		}
	}
	opens(t, base)
}

// A checkpoint that was copied by git without LFS, or whose files are other things, says so for each.
func TestWhatIsNoFileOfACheckpointIsToldByName(t *testing.T) {
	run := t.TempDir()
	dir := mustSave(t, run, 6)
	for _, file := range []string{fileWeights, fileRaw, fileOptimizer, fileState, fileManifest, fileUNet} {
		good := mustRead(t, in(dir, file))
		for _, bad := range impostors[:5] {
			if file == fileManifest && bad.name == "server's error" {
				continue // valid JSON of no known version: said already
			}
			if err := os.WriteFile(in(dir, file), []byte(bad.text), 0o666); err != nil {
				t.Fatal(err)
			}
			_, err := Open(background, dir)
			wantError(t, err, filepath.Base(file), bad.says)
		}
		if err := os.WriteFile(in(dir, file), good, 0o666); err != nil {
			t.Fatal(err)
		}
	}
	opens(t, dir)
}

// hub lays a pipeline out as the hub's cache does: files by their hash, and links to them in a snapshot.
func hub(t *testing.T, commit string) (model, snapshot string) {
	t.Helper()
	saved := pipeline(t)
	model = filepath.Join(t.TempDir(), "models--google--ddpm-cifar10-32")
	snapshot = filepath.Join(model, hubSnapshots, commit)
	for i, file := range []string{fileIndex, fileUNet, fileWeights, fileScheduler} {
		blob := filepath.Join(model, "blobs", fmt.Sprintf("%040d", i))
		move(t, in(saved, file), blob)
		link := in(snapshot, file)
		if err := os.MkdirAll(filepath.Dir(link), 0o777); err != nil {
			t.Fatal(err)
		}
		target, err := filepath.Rel(filepath.Dir(link), blob)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(target, link); err != nil {
			t.Skip("no links here:", err)
		}
	}
	return model, snapshot
}

func TestAModelInTheCacheOfTheHubOpens(t *testing.T) {
	model, snapshot := hub(t, "aaaa")
	for _, path := range []string{snapshot, model} {
		if m := opens(t, path); m.Dir != snapshot {
			t.Errorf("%s opens %s, want %s", path, m.Dir, snapshot)
		}
	}
	opens(t, filepath.Join(snapshot, "unet"))

	_, err := Open(background, filepath.Dir(model))
	wantError(t, err, "is a cache of the hub", model)

	other := filepath.Join(model, hubSnapshots, "bbbb")
	if err := os.Mkdir(other, 0o777); err != nil {
		t.Fatal(err)
	}
	_, err = Open(background, model)
	wantError(t, err, "2 snapshots", "name one", snapshot, other)

	writeRef := func(commit string) {
		if err := os.MkdirAll(filepath.Join(model, hubRefs), 0o777); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(model, hubRefs, "main"), []byte(commit), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	writeRef("aaaa")
	if m := opens(t, model); m.Dir != snapshot {
		t.Errorf("the branch main is aaaa; opened %s", m.Dir)
	}
	for _, elsewhere := range []string{"../../..", "/", "cccc", ""} {
		writeRef(elsewhere)
		_, err = Open(background, model)
		wantError(t, err, "2 snapshots")
	}
}

func TestALinkToAFileThatWasNotDownloadedIsTold(t *testing.T) {
	for i, file := range []string{fileIndex, fileUNet, fileWeights, fileScheduler} {
		model, snapshot := hub(t, "aaaa")
		if err := os.Remove(filepath.Join(model, "blobs", fmt.Sprintf("%040d", i))); err != nil {
			t.Fatal(err)
		}
		_, err := Open(background, snapshot)
		if file == fileIndex { // the other files are a pipeline without it
			if err != nil {
				t.Error(err)
			}
			continue
		}
		wantError(t, err, filepath.Base(file), "it is a link to ", "blobs", "not there")
	}
	model, snapshot := hub(t, "aaaa")
	if err := os.RemoveAll(filepath.Join(model, "blobs")); err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(filepath.Join(snapshot, "unet")); err != nil {
		t.Fatal(err)
	}
	_, err := Open(background, snapshot)
	wantError(t, err, "model_index.json", "it is a link to ", "not there")
}

// The only variant of the weights is taken for the weights.
func TestTheOnlyVariantIsTaken(t *testing.T) {
	p := pipeline(t)
	fp16 := "unet/diffusion_pytorch_model.fp16.safetensors"
	if err := os.Rename(in(p, fileWeights), in(p, fp16)); err != nil {
		t.Fatal(err)
	}
	if m := opens(t, p); m.Weights.Name() != in(p, fp16) {
		t.Errorf("opened %s", m.Weights.Name())
	}
	copyFile(p, fp16, fileWeights)
	if m := opens(t, p); m.Weights.Name() != in(p, fileWeights) {
		t.Errorf("with the weights beside it, opened %s", m.Weights.Name())
	}
}

// Python's -Infinity and NaN, a byte order mark, and notes of other versions do not keep a pipeline from opening.
func TestConfigsAsPythonWritesThemOpen(t *testing.T) {
	p := pipeline(t)
	for file, text := range map[string]string{
		fileScheduler: `{"_class_name": "DPMSolverMultistepScheduler", "lambda_min_clipped": -Infinity, "_x": NaN}`,
		fileIndex: `{"_class_name": "DDPMPipeline", "_diffusers_version": "99.0", "_name_or_path": "x", "_module": null, "a": Infinity,
			"scheduler": ["diffusers", "DPMSolverMultistepScheduler"], "unet": ["diffusers", "UNet2DModel"], "feature": [null, null], "flag": false}`,
	} {
		if err := os.WriteFile(in(p, file), append([]byte("\ufeff"), text...), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	m := opens(t, p)
	if !bytes.Contains(m.Scheduler, []byte("-Infinity")) {
		t.Errorf("the scheduler's config is %s", m.Scheduler)
	}
}

func TestShardsThatAreNotThereAreNamed(t *testing.T) {
	p := pipeline(t)
	if err := os.Remove(in(p, fileWeights)); err != nil {
		t.Fatal(err)
	}
	index := in(p, "unet/diffusion_pytorch_model.safetensors.index.json")
	for text, says := range map[string]string{
		`{"weight_map": {"conv_in.bias": "a-00001-of-00002.safetensors"}}`: "a-00001-of-00002.safetensors",
		`{"weight_map": {"conv_in.bias": "../../x.safetensors"}}`:          "not the name of a file beside the index",
		`{"weight_map": {"conv_in.bias": "/etc/passwd"}}`:                  "not the name of a file beside the index",
		lfsPointer:                       "it is a Git LFS pointer",
		`{"weight_map": {"conv_in.bias"`: "not valid JSON",
	} {
		if err := os.WriteFile(index, []byte(text), 0o666); err != nil {
			t.Fatal(err)
		}
		_, err := Open(background, p)
		wantError(t, err, filepath.Base(index), says)
	}
}
