package train

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"unstir/internal/disk"
	"unstir/internal/eventtest"
	"unstir/internal/tfevents"
)

// eventSetup is a run of nine steps, of which all are in the log, with three previews.
func eventSetup(t *testing.T) Setup {
	s := diskSetup(t, 9)
	s.Checkpoint.Keep = 0
	s.Preview.Every, s.Preview.Images = 3, 2
	return s
}

// stepsOf lists the steps that a tag has, in the order of the file.
func stepsOf(t *testing.T, run, tag string) (steps []int64) {
	t.Helper()
	for _, e := range eventtest.Read(t, run) {
		for _, v := range e.Values {
			if v.Tag == tag {
				steps = append(steps, e.Step)
			}
		}
	}
	return steps
}

// wantSteps checks that a tag has these steps.
func wantSteps(t *testing.T, run, tag string, want ...int64) {
	t.Helper()
	if got := stepsOf(t, run, tag); !slices.Equal(got, want) {
		t.Errorf("%s has the steps %d, want %d", tag, got, want)
	}
}

var nine = []int64{1, 2, 3, 4, 5, 6, 7, 8, 9}

// The file has what the log, the previews and the configuration say, in the order of the steps.
func TestEventsAreTheLogsAndThePreviews(t *testing.T) {
	s := eventSetup(t)
	tr, err := New(s)
	mustRun(t, tr, err)
	events := eventtest.Read(t, s.Dir)
	if len(events) != 2+9+3 || events[0].FileVersion != tfevents.Version || events[1].Values[0] != (tfevents.Value{Tag: tagConfig, Text: "    name = \"bars\"\n"}) {
		t.Fatalf("%d events: %+v", len(events), events)
	}
	at, step := events[0].WallTime, int64(0)
	lines := readLog(t, s.Dir)
	for _, e := range events[2:] {
		if e.WallTime < at || e.Step < step {
			t.Errorf("an event of step %d at %f comes after one of step %d at %f", e.Step, e.WallTime, step, at)
		}
		at, step = e.WallTime, e.Step
		if image := e.Values[0].Image; image != nil {
			file := must(os.ReadFile(filepath.Join(s.Dir, previewDir, previewName(int(step)))))
			if !bytes.Equal(image.Data, file) || image.Colors != 1 || image.Height < 64 || image.Width <= image.Height {
				t.Errorf("the preview of step %d is of %dx%dx%d and %d bytes", step, image.Colors, image.Height, image.Width, len(image.Data))
			}
			continue
		}
		l := lines[step-1]
		want := []tfevents.Value{
			{Tag: "train/loss", Scalar: float32(l.Loss)}, {Tag: "train/grad_norm", Scalar: float32(l.GradNorm)},
			{Tag: "train/lr", Scalar: float32(l.LR)}, {Tag: "train/images_per_s", Scalar: float32(l.ImagesPerSecond)},
		}
		if !slices.Equal(e.Values, want) || l.Loss == 0 || l.LR == 0 {
			t.Errorf("step %d has %+v, want %+v", step, e.Values, want)
		}
	}
	wantSteps(t, s.Dir, tagPreview, 3, 6, 9)
}

// A classifier's events have its accuracies, after a stop too.
func TestEventsOfAClassifier(t *testing.T) {
	s := classifierSetup(t, false)
	s.Log.TensorBoard = true
	s.StopAt = 6
	tr, err := New(s)
	mustRun(t, tr, err)
	s.StopAt = 0
	tr, err = Resume(context.Background(), s, filepath.Join(s.Dir, "checkpoints", "step-00000004"))
	mustRun(t, tr, err)
	wantSteps(t, s.Dir, "train/accuracy", nine...)
	wantSteps(t, s.Dir, "test/accuracy", 4, 8, 9)
	lines := readLog(t, s.Dir)
	for _, e := range eventtest.Read(t, s.Dir)[2:] {
		l := lines[e.Step-1]
		want := []tfevents.Value{{Tag: "train/accuracy", Scalar: float32(*l.Accuracy)}}
		if l.TestAccuracy != nil {
			want = append(want, tfevents.Value{Tag: "test/accuracy", Scalar: float32(*l.TestAccuracy)})
		}
		if got := e.Values[4:]; !slices.Equal(got, want) {
			t.Errorf("step %d has %+v, want %+v", e.Step, got, want)
		}
	}
}

func TestNoEventsUnlessAskedFor(t *testing.T) {
	s := eventSetup(t)
	s.Log.TensorBoard = false
	tr, err := New(s)
	mustRun(t, tr, err)
	if found, _ := filepath.Glob(filepath.Join(s.Dir, "*tfevents*")); len(found) > 0 {
		t.Errorf("there is %q", found)
	}
}

// Whatever the file is when a run goes on, at the end no step is missing and none is there twice; what was right has
// kept its bytes, so that a TensorBoard which is reading the file need not begin again.
func TestEventsOfARunThatGoesOn(t *testing.T) {
	frame := func(e tfevents.Event) []byte { return tfevents.AppendRecord(nil, e.Encode()) }
	value := tfevents.Value{Tag: tagLoss, Scalar: 3}
	for name, spoil := range map[string]func(path string, before []byte) error{
		"as it was":             func(string, []byte) error { return nil },
		"removed":               func(path string, _ []byte) error { return os.Remove(path) },
		"empty":                 func(path string, _ []byte) error { return os.Truncate(path, 0) },
		"of another program":    func(path string, _ []byte) error { return os.WriteFile(path, []byte("hello"), 0o644) },
		"without configuration": func(path string, _ []byte) error { return os.Truncate(path, 40) },
		"cut in a record":       func(path string, b []byte) error { return os.Truncate(path, int64(len(b)-5)) },
		"cut between records":   func(path string, b []byte) error { return os.Truncate(path, int64(len(b)/2)) },
		"with zeros at its end": func(path string, b []byte) error { return os.Truncate(path, int64(len(b)+100)) },
		"with a damaged record": func(path string, b []byte) error { b[len(b)/2] ^= 4; return os.WriteFile(path, b, 0o644) },
		"with another value": func(path string, b []byte) error {
			return os.WriteFile(path, append(b, frame(tfevents.Event{Step: 6, Values: []tfevents.Value{value}})...), 0o644)
		},
		"with a step going back": func(path string, b []byte) error {
			return os.WriteFile(path, append(b, frame(tfevents.Event{Step: 2, Values: []tfevents.Value{value}})...), 0o644)
		},
		"twice": func(path string, b []byte) error { return os.WriteFile(path, append(b, b...), 0o644) },
	} {
		t.Run(name, func(t *testing.T) {
			s := eventSetup(t)
			want := undisturbed(t, s)
			s.StopAt = 7
			tr, err := New(s)
			mustRun(t, tr, err)
			path := filepath.Join(s.Dir, eventsName)
			before := must(os.ReadFile(path))
			if err := spoil(path, bytes.Clone(before)); err != nil {
				t.Fatal(err)
			}
			s.StopAt = 0
			from := filepath.Join(s.Dir, "checkpoints", "step-00000005") // step 6 and 7 come again, and the preview of step 6
			again, err := Resume(context.Background(), s, from)
			mustRun(t, again, err)
			if got, want := eventtest.Lines(t, s.Dir), eventtest.Lines(t, want.Dir); !slices.Equal(got, want) {
				t.Errorf("the events are\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
			}
			if after := must(os.ReadFile(path)); name == "as it was" && !bytes.HasPrefix(after, before[:endOf(before, 5)]) {
				t.Error("what was right has other bytes now")
			}
		})
	}
}

// endOf is where the last event of the steps up to one ends, in a file of which all is whole.
func endOf(file []byte, step int64) (end int64) {
	for r := tfevents.NewReader(bytes.NewReader(file)); ; {
		data, err := r.Next()
		if err != nil || must(tfevents.Decode(data)).Step > step {
			return end
		}
		end = r.Offset()
	}
}

// A run that wrote none before gets the events of all its steps, and so does one whose previews were removed.
func TestEventsAreMadeUp(t *testing.T) {
	s := eventSetup(t)
	s.StopAt, s.Log.TensorBoard = 5, false
	tr, err := New(s)
	mustRun(t, tr, err)
	s.StopAt, s.Log.TensorBoard = 8, true
	tr, err = Resume(context.Background(), s, Auto)
	mustRun(t, tr, err)
	wantSteps(t, s.Dir, tagLoss, nine[:8]...)
	wantSteps(t, s.Dir, tagPreview, 3, 6)
	if err := os.RemoveAll(filepath.Join(s.Dir, previewDir)); err != nil {
		t.Fatal(err)
	}
	s.StopAt = 0
	tr, err = Resume(context.Background(), s, Auto)
	mustRun(t, tr, err)
	wantSteps(t, s.Dir, tagLoss, nine...)
	wantSteps(t, s.Dir, tagPreview, 3, 6, 9)
	wantSteps(t, s.Dir, tagConfig, 0)
}

// A configuration that has changed is there from the step on that it holds for; that of a start that came to nothing
// is not.
func TestEventsHaveEachConfiguration(t *testing.T) {
	s := eventSetup(t)
	for _, start := range []struct {
		config string
		stopAt int
	}{{"a = 1\n", 4}, {"a = 2\n", 4}, {"a = 3\n", 7}, {"a = 3\n", 8}, {"a = 1\n", 0}} {
		s.ConfigTOML, s.StopAt = []byte(start.config), start.stopAt
		tr, err := Resume(context.Background(), s, Auto)
		mustRun(t, tr, err)
	}
	var got []string
	for _, e := range eventtest.Read(t, s.Dir)[1:] {
		if v := e.Values[0]; v.Tag == tagConfig {
			got = append(got, fmt.Sprintf("%d:%s", e.Step, v.Text))
		}
	}
	if want := []string{"0:    a = 1\n", "4:    a = 3\n", "8:    a = 1\n"}; !slices.Equal(got, want) {
		t.Errorf("the configurations are %q, want %q", got, want)
	}
	wantSteps(t, s.Dir, tagLoss, nine...)
	wantSteps(t, s.Dir, tagPreview, 3, 6, 9)
}

// While the file cannot be written training goes on, which is said once; at the end of the run nothing is missing.
func TestEventsOnAFullDisk(t *testing.T) {
	s := eventSetup(t)
	want := undisturbed(t, s)
	var notes bytes.Buffer
	s.Notes = &notes
	step, failed := 0, 0
	s.OnStep = func(p Progress) { step = p.Step }
	disk.Inject(t, func(op disk.Op, path string) error {
		if op == disk.Write && filepath.Base(path) == eventsName && step >= 2 && step < 8 {
			failed++
			return &disk.Short{N: 20, Err: syscall.ENOSPC}
		}
		return nil
	})
	tr, err := New(s)
	sameEnd(t, want, mustRun(t, tr, err))
	if failed < 2 {
		t.Errorf("%d writes failed", failed)
	}
	said(t, notes.String(), "no space left on device; training goes on, and the file is completed as soon as it can be written\n",
		"TensorBoard's file is written again, and is complete\n")
}

// Something else in the place of the file is left alone, and does not keep a run from training.
func TestADirectoryInPlaceOfTheEvents(t *testing.T) {
	s := eventSetup(t)
	path := filepath.Join(s.Dir, eventsName, "mine")
	if err := errors.Join(os.MkdirAll(path, 0o755)); err != nil {
		t.Fatal(err)
	}
	if _, err := New(s); !errors.Is(err, ErrRunExists) {
		t.Errorf("error %v", err)
	}
	var notes bytes.Buffer
	s.Notes = &notes
	tr, err := Resume(context.Background(), s, Auto)
	mustRun(t, tr, err)
	said(t, notes.String(), eventsName+" is not a file; training goes on")
	if !isDir(path) || tr.Step() != 9 {
		t.Error("it is gone, or the run is not complete")
	}
}
