package checkpoints

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"testing"
)

// toyClassifier is toy as a classifier's.
func toyClassifier(step int, noisy bool) *Checkpoint {
	c := toy(step)
	c.UNet, c.Classifier = nil, json.RawMessage("{\n  \"channels\": [8]\n}\n")
	c.State.Test = &Test{Step: step, Images: 10, Accuracy: 0.75}
	if !noisy {
		c.Scheduler = nil
	}
	return c
}

// A classifier's checkpoint has the files of its kind, and each of them is checked.
func TestAClassifiersCheckpoint(t *testing.T) {
	for _, noisy := range []bool{false, true} {
		run := t.TempDir()
		want := toyClassifier(3, noisy)
		dir, err := Save(background, run, want)
		if err != nil {
			t.Fatal(err)
		}
		m, err := Load(background, run)
		if err != nil {
			t.Fatal(err)
		}
		defer m.Close()
		if string(m.Classifier) != string(want.Classifier) || m.UNet != nil || (m.Scheduler != nil) != noisy || *m.State.Test != *want.State.Test {
			t.Errorf("noisy %v: %s, %s, %s, %+v", noisy, m.Classifier, m.UNet, m.Scheduler, m.State.Test)
		}
		bias := make([]float32, 4)
		if err := m.Weights.ReadFloat32("conv_in.bias", bias); err != nil || bias[0] != 30 {
			t.Errorf("the moving average is %v, %v", bias, err)
		}
		files := classifierFiles
		if noisy {
			files = noisyFiles
		}
		for _, file := range files {
			whole, err := os.ReadFile(in(dir, file))
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(in(dir, file), append(slices.Clone(whole), ' '), 0o666); err != nil {
				t.Fatal(err)
			}
			wantError(t, Verify(background, dir), file)
			if err := os.WriteFile(in(dir, file), whole, 0o666); err != nil {
				t.Fatal(err)
			}
		}
		if err := Verify(background, dir); err != nil {
			t.Error(err)
		}
	}
}

func TestACheckpointIsOfOneKind(t *testing.T) {
	both := toyClassifier(1, true)
	both.UNet = toy(1).UNet
	_, err := Save(background, t.TempDir(), both)
	wantError(t, err, "either a unet's or a classifier's, not both")
}

// A classifier's checkpoints are pruned as a model's are, and its run is not one to sample from.
func TestTheNewestRunIsThatOfADiffusionModel(t *testing.T) {
	runs := t.TempDir()
	classes, model := filepath.Join(runs, "classes"), filepath.Join(runs, "model")
	for step := 1; step <= 3; step++ {
		if _, err := Save(background, classes, toyClassifier(step, step == 2)); err != nil {
			t.Fatal(err)
		}
	}
	_, err := NewestRun(runs)
	wantError(t, err, "no checkpoint of a diffusion model", "only of classifiers", classes)
	mustSave(t, model, 1)
	if _, err := Save(background, classes, toyClassifier(4, false)); err != nil {
		t.Fatal(err)
	}
	if run, err := NewestRun(runs); err != nil || run != model {
		t.Errorf("the newest run is %s, %v", run, err)
	}
	if removed, err := Prune(background, classes, 1); err != nil || len(removed) != 3 {
		t.Errorf("removed %v, %v", removed, err)
	}
}
