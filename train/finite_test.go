package train

import (
	"context"
	"errors"
	"math"
	"path/filepath"
	"strings"
	"testing"

	"unstir/checkpoints"
)

var (
	nan = float32(math.NaN())
	inf = float32(math.Inf(1))
)

// endsNotFinite runs a trainer that has to stop with an error that says all of these, and be left with its last good
// checkpoint.
func endsNotFinite(t *testing.T, tr *Trainer, says ...string) {
	t.Helper()
	err := tr.Run(context.Background())
	if !errors.Is(err, ErrNotFinite) {
		t.Fatalf("error %v, want one that wraps ErrNotFinite", err)
	}
	for _, want := range says {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("error %q lacks %q", err, want)
		}
	}
	if strings.Contains(err.Error(), "\n") {
		t.Errorf("the error has several lines: %q", err)
	}
	lines, logErr := ReadLog(filepath.Join(tr.Dir, logName))
	if logErr != nil {
		t.Error(logErr)
	}
	for _, l := range lines {
		if !finite(l.Loss) || !finite(l.GradNorm) {
			t.Errorf("a line of the log has %g and %g", l.Loss, l.GradNorm)
		}
	}
	if tr.saved == "" {
		return
	}
	dir, skipped, err := checkpoints.Latest(context.Background(), tr.Dir)
	if err != nil || dir != tr.saved || len(skipped) > 0 {
		t.Errorf("the newest checkpoint is %q (%d skipped, %v), want %q", dir, len(skipped), err, tr.saved)
	}
	if _, err := checkpoints.Prune(context.Background(), tr.Dir, 1); err != nil {
		t.Error(err)
	}
	if again, err := Resume(context.Background(), tr.Setup, Auto); err != nil {
		t.Errorf("the last good checkpoint cannot be trained on: %v", err)
	} else {
		again.Close()
	}
}

// at is where a parameter's first value lies in a flat slice.
func at(t *testing.T, tr *Trainer, name string) int {
	t.Helper()
	for _, p := range tr.params.List {
		if p.Name == name {
			return p.Off
		}
	}
	t.Fatalf("there is no parameter %s", name)
	return 0
}

// A value that is NaN or infinite anywhere in a run's state, from step 3 on, stops the run: at the next step where it
// reaches the loss or a weight, else before it would be saved. The checkpoint of step 2 stays the newest.
func TestANumberThatIsNotFiniteStopsTheRun(t *testing.T) {
	const name = "mid_block.attentions.0.to_q.bias"
	for _, x := range []struct {
		what string
		put  func(tr *Trainer, at int)
		says string
	}{
		{"weight", func(tr *Trainer, at int) { tr.weights[at] = nan }, "train: step 3: the weight " + name + " is NaN"},
		{"infinite weight", func(tr *Trainer, at int) { tr.weights[at] = -inf }, "train: step 3: the weight " + name + " is -Inf"},
		{"first moment", func(tr *Trainer, at int) { tr.expAvg[at] = nan }, "train: step 4: the weight " + name + " is NaN"},
		{"second moment", func(tr *Trainer, at int) { tr.expAvgSq[at] = inf }, "train: step 4: the second moment of " + name + " is +Inf"},
		{"moving average", func(tr *Trainer, at int) { tr.ema[at] = nan }, "train: step 4: the moving average of " + name + " is NaN"},
	} {
		t.Run(x.what, func(t *testing.T) {
			s := tinySetup(t)
			s.Checkpoint.Every = 2
			var tr *Trainer
			s.OnStep = func(p Progress) {
				if p.Step == 3 {
					x.put(tr, at(t, tr, name))
				}
			}
			tr, err := New(s)
			if err != nil {
				t.Fatal(err)
			}
			endsNotFinite(t, tr, x.says, "the run has diverged", "the last good checkpoint is "+filepath.Join(s.Dir, "checkpoints", "step-00000002"))
		})
	}
}

// A stop asked for, or the end of the run, saves nothing that is not finite either.
func TestNothingThatIsNotFiniteIsSavedInTheEnd(t *testing.T) {
	for _, stop := range []int{3, 0} {
		s := tinySetup(t)
		s.StopAt, s.Train.Steps = stop, 3
		var tr *Trainer
		s.OnStep = func(p Progress) {
			if p.Step == 3 {
				tr.expAvgSq[at(t, tr, "conv_in.bias")] = inf
			}
		}
		tr, err := New(s)
		if err != nil {
			t.Fatal(err)
		}
		endsNotFinite(t, tr, "step 3: the second moment of conv_in.bias is +Inf", "there is no checkpoint yet")
		if _, _, err := checkpoints.Latest(context.Background(), s.Dir); !errors.Is(err, checkpoints.ErrNone) {
			t.Errorf("a checkpoint was written: %v", err)
		}
	}
}

// The error names the images whose loss is not finite.
func TestTheImagesOfALossAreNamed(t *testing.T) {
	tr := &Trainer{perImage: []float64{1, math.NaN(), 2, math.Inf(1)}, images: []int{7, 5, 9, 10}}
	tr.info.Name = "bars"
	if got, want := tr.failedImages(), ", by images 5, 10 of bars"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
	tr.perImage, tr.images = make([]float64, 8), []int{0, 1, 2, 3, 4, 5, 6, 7}
	if got := tr.failedImages(); got != "" {
		t.Errorf("images without a fault: %q", got)
	}
	for i := range tr.perImage {
		tr.perImage[i] = math.NaN()
	}
	if got, want := tr.failedImages(), ", by images 0, 1, 2, 3, 4, and 3 more of bars"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}

// A gradient that is not finite is found and named before it reaches a weight, in the order of the parameters.
func TestAGradientThatIsNotFiniteIsNamed(t *testing.T) {
	s := tinySetup(t)
	s.StopAt = 1
	tr, err := New(s)
	tr = mustRun(t, tr, err)
	for _, name := range []string{"mid_block.attentions.0.to_q.bias", "conv_in.weight", "time_embedding.linear_1.weight"} {
		tr.task.grad()[at(t, tr, name)+3] = inf
	}
	err = tr.checkGradient(2, 1, math.NaN())
	if err == nil || !strings.Contains(err.Error(), "step 2: the gradient of time_embedding.linear_1.weight is +Inf: the run has diverged") {
		t.Errorf("error %v, want one that names the first", err)
	}
	if err := tr.checkGradient(2, 1, 1); err != nil {
		t.Errorf("a finite loss and norm: %v", err)
	}
}

// A finite gradient whose squares overflow in float32 is clipped, and the run goes on.
func TestALargeGradientIsClipped(t *testing.T) {
	s := tinySetup(t)
	s.Train.Steps, s.Train.WarmupSteps = 3, 0
	tr, err := New(s)
	if err != nil {
		t.Fatal(err)
	}
	out := at(t, tr, "conv_out.weight")
	for i := range 9 * 8 {
		tr.weights[out+i] = 1e14 // so that the gradient of all that comes before is that large
	}
	mustRun(t, tr, nil)
	if first := readLog(t, s.Dir)[0]; !(first.GradNorm > 1e20) || !finite(first.GradNorm) {
		t.Errorf("the norm is %g, want one whose square overflows", first.GradNorm)
	}
}

// Without clipping, such a gradient makes a second moment overflow, which is found in the same step.
func TestAMomentThatOverflowsStopsTheRunAtOnce(t *testing.T) {
	s := tinySetup(t)
	s.Train.GradClip, s.Train.WarmupSteps = 0, 0
	tr, err := New(s)
	if err != nil {
		t.Fatal(err)
	}
	out := at(t, tr, "conv_out.weight")
	for i := range 9 * 8 {
		tr.weights[out+i] = 1e14
	}
	endsNotFinite(t, tr, "train: step 1: the second moment of ", " is +Inf", "there is no checkpoint yet")
}

// A checkpoint with such a value, as an older program could leave, is not resumed.
func TestACheckpointThatIsNotFiniteIsRefused(t *testing.T) {
	s := tinySetup(t)
	s.StopAt = 1
	tr, err := New(s)
	tr = mustRun(t, tr, err)
	tr.expAvg[at(t, tr, "conv_in.bias")] = nan
	tensors := func(flat []float32) (list []checkpoints.Tensor) {
		for _, x := range tr.params.Tensors(flat) {
			list = append(list, checkpoints.Tensor(x))
		}
		return list
	}
	model, err1 := tr.Model.JSON()
	scheduler, err2 := tr.Scheduler.JSON()
	if err := errors.Join(err1, err2); err != nil {
		t.Fatal(err)
	}
	tr.step = 2
	_, err = checkpoints.Save(context.Background(), s.Dir, &checkpoints.Checkpoint{
		State: tr.state(), UNet: model, Scheduler: scheduler, Config: s.ConfigTOML,
		EMA: tensors(tr.ema), Raw: tensors(tr.weights), ExpAvg: tensors(tr.expAvg), ExpAvgSq: tensors(tr.expAvgSq),
	})
	if err != nil {
		t.Fatal(err)
	}
	s.StopAt = 0
	_, err = Resume(context.Background(), s, Auto)
	if !errors.Is(err, ErrNotFinite) || !strings.Contains(err.Error(), "step-00000002: the first moment of conv_in.bias is NaN") {
		t.Errorf("error %v, want one that names the checkpoint and the moment", err)
	}
	older, err := Resume(context.Background(), s, filepath.Join(s.Dir, "checkpoints", "step-00000001"))
	if err != nil {
		t.Fatal(err)
	}
	older.Close()
}

// What float32 has no number for is refused before it makes a weight of 0/0.
func TestNumbersThatFloat32HasNotAreRefused(t *testing.T) {
	for want, change := range map[string]func(c *Config){
		"train.eps is 1e-50; it must be a number from 1e-20 to 1e20": func(c *Config) { c.Eps = 1e-50 },
		"train.eps is 1e+50; it must be a number from 1e-20 to 1e20": func(c *Config) { c.Eps = 1e50 },
		"train.lr is 1e+50; it must be at most 1e20":                 func(c *Config) { c.LR = 1e50 },
	} {
		c := tinySetup(t).Train
		change(&c)
		if err := c.Validate(); err == nil || err.Error() != want {
			t.Errorf("error %v, want %s", err, want)
		}
	}
}
