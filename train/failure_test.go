package train

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// A log whose open file has become useless, as on a network file system, is opened again.
func TestALogThatFailsIsOpenedAgain(t *testing.T) {
	s := tinySetup(t)
	s.Checkpoint.Keep = 1
	want := undisturbed(t, s)
	var tr *Trainer
	s.OnStep = func(p Progress) {
		if p.Step == 3 {
			tr.log.close()
		}
	}
	tr, err := New(s)
	sameEnd(t, want, mustRun(t, tr, err))
}

// A preview or a plot that cannot be written is a note; the run goes on to the same end.
func TestAPreviewThatFailsIsANote(t *testing.T) {
	whole := tinySetup(t)
	a, err := New(whole)
	mustRun(t, a, err)

	s := tinySetup(t)
	s.Preview.Every = 4
	var notes bytes.Buffer
	s.Notes = &notes
	for _, dir := range []string{filepath.Join(previewDir, "step-00000004.png"), plotName} {
		if err := os.MkdirAll(filepath.Join(s.Dir, dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	b, err := New(s)
	mustRun(t, b, err)
	sameBits(t, "weights", a.weights, b.weights)
	for _, want := range []string{"no preview of step 4: ", "no plot of the loss: ", "preview " + filepath.Join(s.Dir, previewDir, "step-00000008.png")} {
		if !strings.Contains(notes.String(), want) {
			t.Errorf("the notes lack %q:\n%s", want, notes.String())
		}
	}
}

// A run that goes on with another learning rate and is stopped before its first step has nothing new to save.
func TestAStopBeforeTheFirstStepSavesNothing(t *testing.T) {
	s := tinySetup(t)
	s.StopAt = 2
	tr, err := New(s)
	mustRun(t, tr, err)
	saved := tr.Saved()
	s.Train.LR, s.ConfigTOML = 5e-3, []byte("name = \"other\"\n")
	if tr, err = Resume(context.Background(), s, Auto); err != nil {
		t.Fatal(err)
	}
	var stopped *Stopped
	if err := tr.Run(context.Background()); !errors.As(err, &stopped) || stopped.Step != 2 || stopped.Checkpoint != saved {
		t.Errorf("error %v, want a stop at step 2, saved in %s", err, saved)
	}
}

// Going on from an older checkpoint with the same numbers meets the newer ones: they stay, and Saved names the last.
func TestAStepThatWasSavedStays(t *testing.T) {
	s := tinySetup(t)
	s.Checkpoint.Every, s.Checkpoint.Keep = 3, 0
	a, err := New(s)
	mustRun(t, a, err)
	last := filepath.Join(s.Dir, "checkpoints", "step-00000009")
	before, err := os.Stat(last)
	if err != nil {
		t.Fatal(err)
	}
	b, err := Resume(context.Background(), s, filepath.Join(s.Dir, "checkpoints", "step-00000003"))
	mustRun(t, b, err)
	after, err := os.Stat(last)
	if err != nil || !os.SameFile(before, after) {
		t.Errorf("the checkpoint of the last step was replaced (%v)", err)
	}
	sameBits(t, "weights", a.weights, b.weights)
	if b.Saved() != last {
		t.Errorf("Saved is %q, want %q", b.Saved(), last)
	}
}
