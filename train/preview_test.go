package train

import (
	"bytes"
	"strings"
	"testing"
)

// Previews in a number of steps that leaves noise are noted once in a run.
func TestPreviewStepsAreNotedOnce(t *testing.T) {
	for steps, want := range map[int]int{14: 1, 10: 0} {
		s := tinySetup(t)
		s.Scheduler.NumTrainTimesteps, s.Scheduler.TimestepSpacing = 20, "trailing"
		s.Train.Steps, s.Preview.Every, s.Preview.Steps, s.Preview.Sampler = 4, 2, steps, "ddim"
		var notes bytes.Buffer
		s.Notes = &notes
		tr, err := New(s)
		mustRun(t, tr, err)
		if got := strings.Count(notes.String(), "note: preview.steps = 14: ddim with 14 steps"); got != want {
			t.Errorf("preview.steps = %d: %d notes, want %d:\n%s", steps, got, want, notes.String())
		}
		if want > 0 && !strings.Contains(notes.String(), "the images keep noise; take 10 or 20 steps\n") {
			t.Errorf("the note names no steps that tile: %s", notes.String())
		}
	}
}
