package train

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"unstir/checkpoints"
)

// rates are the learning rates of all steps of a run.
func rates(c Config) []float64 {
	var all []float64
	for n := 1; n <= c.Steps; n++ {
		all = append(all, c.newestRate(n))
	}
	return all
}

func near(got, want []float64) bool {
	if len(got) != len(want) {
		return false
	}
	for i := range got {
		if !(math.Abs(got[i]-want[i]) < 1e-12) {
			return false
		}
	}
	return true
}

// The learning rate at the ends of short runs, worked out by hand: the cosine is zero one step after the last.
func TestLearningRatesAtTheEnds(t *testing.T) {
	for _, x := range []struct {
		steps, warmup int
		want          []float64 // of a peak of 2
	}{
		{1, 0, []float64{1}},
		{1, 1, []float64{2}},
		{1, 2, []float64{1}},
		{2, 0, []float64{1.5, 0.5}},
		{2, 1, []float64{2, 1}},
		{2, 2, []float64{1, 2}},
		{2, 4, []float64{0.5, 1}},
		{3, 2, []float64{1, 2, 1}},
		{5, 4, []float64{0.5, 1, 1.5, 2, 1}},
		{5, 5, []float64{0.4, 0.8, 1.2, 1.6, 2}},
		{5, 6, []float64{1. / 3, 2. / 3, 1, 4. / 3, 5. / 3}},
	} {
		c := Config{Steps: x.steps, WarmupSteps: x.warmup, LR: 2, LRSchedule: "cosine"}
		if got := rates(c); !near(got, x.want) {
			t.Errorf("%d steps, %d of warm-up: %v, want %v", x.steps, x.warmup, got, x.want)
		}
	}
	c := Config{Steps: 4, WarmupSteps: 2, LR: 2, LRSchedule: "constant"}
	if got, want := rates(c), []float64{1, 2, 2, 2}; !near(got, want) {
		t.Errorf("constant: %v, want %v", got, want)
	}
}

// A thousand steps follow half a cosine wave that ends at step 1001.
func TestLearningRateIsACosine(t *testing.T) {
	for _, warmup := range []int{0, 1, 100, 999} {
		c := Config{Steps: 1000, WarmupSteps: warmup, LR: 3e-4, LRSchedule: "cosine"}
		for n := 1; n <= c.Steps; n++ {
			want := c.LR * float64(n) / float64(max(1, warmup))
			if n >= warmup {
				want = c.LR / 2 * (1 + math.Cos(math.Pi*float64(n-warmup)/float64(1001-warmup)))
			}
			if got := c.newestRate(n); math.Abs(got-want) > 1e-16 {
				t.Fatalf("warm-up of %d: step %d has %g, want %g", warmup, n, got, want)
			}
		}
		if got := c.newestRate(1001); got != 0 {
			t.Errorf("warm-up of %d: the step after the last has %g", warmup, got)
		}
	}
}

// No step is trained with a learning rate of zero, however short, long or warmed up the run is.
func TestNoStepHasALearningRateOfZero(t *testing.T) {
	check := func(c Config, n int) {
		if got := float32(c.newestRate(n)); !(got > 0 && got <= float32(c.LR)) {
			t.Errorf("%d steps, %d of warm-up, %s: step %d has a learning rate of %g", c.Steps, c.WarmupSteps, c.LRSchedule, n, got)
		}
	}
	for _, schedule := range []string{"constant", "cosine"} {
		for steps := 1; steps <= 12; steps++ {
			for warmup := range 15 {
				for n := 1; n <= steps; n++ {
					check(Config{Steps: steps, WarmupSteps: warmup, LR: 1, LRSchedule: schedule}, n)
				}
			}
		}
		for _, warmup := range []int{0, 1, 1e9 - 1, 1e9, 2e9} {
			for _, n := range []int{1, 2, 1e9 - 1, 1e9} {
				check(Config{Steps: 1e9, WarmupSteps: warmup, LR: 1e-4, LRSchedule: schedule}, n)
			}
		}
	}
}

// The older schedule is what it was, down to its zero at the last step.
func TestOlderLearningRates(t *testing.T) {
	c := Config{Steps: 100, LR: 2, WarmupSteps: 10, LRSchedule: "cosine"}
	for n, want := range map[int]float64{1: 0.2, 5: 1, 10: 2, 55: 1, 100: 0} {
		if got := c.learningRate(n, 0); math.Abs(got-want) > 1e-12 {
			t.Errorf("step %d has %g, want %g", n, got, want)
		}
	}
	for _, same := range []Config{
		{Steps: 5, WarmupSteps: 5, LR: 1, LRSchedule: "cosine"}, {Steps: 5, WarmupSteps: 9, LR: 1, LRSchedule: "cosine"},
		{Steps: 5, WarmupSteps: 2, LR: 1, LRSchedule: "constant"},
	} {
		for n := 1; n <= same.Steps; n++ {
			if a, b := same.learningRate(n, 0), same.newestRate(n); a != b {
				t.Errorf("%+v: step %d has %g by the older schedule, %g by the newer", same, n, a, b)
			}
		}
	}
}

// age makes a checkpoint one of a program that knew no version of the schedule and none of the rounding.
func age(t *testing.T, dir string) {
	t.Helper()
	rewrite := func(name string, change func(map[string]any)) []byte {
		path := filepath.Join(dir, filepath.FromSlash(name))
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		var m map[string]any
		if err := json.Unmarshal(text, &m); err != nil {
			t.Fatal(err)
		}
		change(m)
		if text, err = json.Marshal(m); err != nil {
			t.Fatal(err)
		}
		return text
	}
	state := rewrite("training/state.json", func(m map[string]any) {
		if m["lr_version"] == nil {
			t.Fatal("a new run's state says nothing about its schedule")
		}
		delete(m, "lr_version")
		m["cpu"] = strings.TrimSuffix(m["cpu"].(string), " "+rounding)
	})
	if err := os.WriteFile(filepath.Join(dir, "training", "state.json"), state, 0o644); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "manifest.json")
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var m struct {
		Version int `json:"version"`
		Files   []struct {
			Path   string `json:"path"`
			Size   int64  `json:"size"`
			SHA256 string `json:"sha256"`
		} `json:"files"`
	}
	if err := json.Unmarshal(text, &m); err != nil {
		t.Fatal(err)
	}
	for i := range m.Files {
		if f := &m.Files[i]; f.Path == "training/state.json" {
			sum := sha256.Sum256(state)
			f.Size, f.SHA256 = int64(len(state)), hex.EncodeToString(sum[:])
		}
	}
	if text, err = json.MarshalIndent(m, "", "  "); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, append(text, '\n'), 0o644); err != nil {
		t.Fatal(err)
	}
}

// stateOf reads a checkpoint's state.
func stateOf(t *testing.T, dir string) checkpoints.State {
	t.Helper()
	m, err := checkpoints.Load(context.Background(), dir)
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	return *m.State
}

// A run that an older program began keeps its schedule, over several stops, and so its bits; one that was begun by
// this program has the new one.
func TestAnOlderRunKeepsItsSchedule(t *testing.T) {
	whole := tinySetup(t)
	a, err := New(whole)
	if err != nil {
		t.Fatal(err)
	}
	a.lrVersion = 0 // as the older program trained
	mustRun(t, a, nil)
	if a.last.LR != 0 {
		t.Fatalf("the older schedule ends at %g", a.last.LR)
	}

	cut := tinySetup(t)
	cut.StopAt = 2 // warming up, where both schedules are the same
	b, err := New(cut)
	b = mustRun(t, b, err)
	age(t, b.Saved())
	for _, stop := range []int{5, 0} {
		var notes strings.Builder
		cut.StopAt, cut.Notes = stop, &notes
		b, err = Resume(context.Background(), cut, Auto)
		b = mustRun(t, b, err)
		if v := stateOf(t, b.Saved()).LRVersion; v != 0 {
			t.Errorf("the older run's state says %d after step %d", v, b.Step())
		}
		if noted := strings.Contains(notes.String(), "numbers will differ by rounding"); noted != (stop == 5) { // the first resume
			t.Errorf("resumed to step %d: rounding noted: %v, in %q", b.Step(), noted, notes.String())
		}
	}
	sameBits(t, "weights", a.weights, b.weights)
	sameBits(t, "moving average", a.ema, b.ema)
	old, now := readLog(t, whole.Dir), readLog(t, cut.Dir)
	for i := range old {
		if want := whole.Train.learningRate(i+1, 0); old[i].LR != want || now[i].LR != want {
			t.Errorf("step %d: %g and, resumed, %g; the older schedule has %g", i+1, old[i].LR, now[i].LR, want)
		}
	}

	fresh := tinySetup(t)
	c, err := New(fresh)
	c = mustRun(t, c, err)
	for i, l := range readLog(t, fresh.Dir) {
		if want := fresh.Train.newestRate(i + 1); l.LR != want || l.LR == 0 {
			t.Errorf("step %d of a new run has %g, want %g", i+1, l.LR, want)
		}
	}
	if v := stateOf(t, c.Saved()).LRVersion; v != checkpoints.LRVersion {
		t.Errorf("a new run's state says version %d", v)
	}
}

// A run that is given more steps when it goes on follows the schedule of its new length, in its own version.
func TestALongerRunFollowsTheLongerSchedule(t *testing.T) {
	for version := range checkpoints.LRVersion + 1 {
		t.Run(fmt.Sprint("version ", version), func(t *testing.T) {
			s := tinySetup(t)
			a, err := New(s)
			if err != nil {
				t.Fatal(err)
			}
			a.lrVersion = version
			mustRun(t, a, nil)
			s.Train.Steps, s.ConfigTOML = 12, []byte("name = \"longer\"\n")
			b, err := Resume(context.Background(), s, Auto)
			mustRun(t, b, err)
			for _, l := range readLog(t, s.Dir)[9:] {
				if want := s.Train.learningRate(l.Step, version); l.LR != want {
					t.Errorf("step %d has %g, want %g", l.Step, l.LR, want)
				}
			}
		})
	}
}
