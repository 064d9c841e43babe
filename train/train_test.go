package train

import (
	"bytes"
	"context"
	"errors"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"unstir/checkpoints"
	"unstir/data"
	"unstir/diffusion"
	"unstir/unet"
)

// tinyModel has everything that a run's bits could depend on: two levels, attention, dropout.
func tinyModel() unet.Config {
	c := unet.Defaults()
	c.SampleSize = unet.Size{H: 8, W: 8}
	c.InChannels, c.OutChannels = 1, 1
	c.BlockOutChannels = []int{8, 16}
	c.DownBlockTypes = []string{"DownBlock2D", "AttnDownBlock2D"}
	c.UpBlockTypes = []string{"AttnUpBlock2D", "UpBlock2D"}
	c.LayersPerBlock, c.NormNumGroups, c.AttentionHeadDim, c.Dropout = 1, 4, 4, 0.1
	return c
}

// bars are images of bars, eleven of them: batches of 8 reach over an epoch's end.
func bars(t *testing.T, shift int) data.Dataset {
	t.Helper()
	const n, size = 11, 8
	pixels := make([]byte, n*size*size)
	labels := make([]int, n)
	for i := range n {
		for y := range size {
			for x := range size {
				if (x+i+shift)%3 == 0 || y == i%size {
					pixels[(i*size+y)*size+x] = 255
				}
			}
		}
	}
	d, err := data.NewMemory(data.Info{Name: "bars", Count: n, Channels: 1, Height: size, Width: size}, pixels, labels)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func tinySetup(t *testing.T) Setup {
	t.Helper()
	tc, ema, ckpt, preview := Defaults()
	tc.Steps, tc.BatchSize, tc.Slice, tc.LR, tc.WarmupSteps, tc.LRSchedule = 9, 8, 3, 1e-3, 3, "cosine"
	tc.WeightDecay = 0.01
	ckpt.Every, ckpt.Keep = 0, 2
	preview.Every, preview.Images, preview.Steps = 0, 4, 3
	return Setup{
		Seed: 5, Data: bars(t, 0), Flip: true, Model: tinyModel(), Scheduler: diffusion.Defaults(),
		Train: tc, EMA: ema, Checkpoint: ckpt, Preview: preview, Log: DefaultLog(),
		Dir: filepath.Join(t.TempDir(), "run"), ConfigTOML: []byte("name = \"bars\"\n"), Version: "test",
	}
}

func mustRun(t *testing.T, tr *Trainer, err error) *Trainer {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	var stopped *Stopped
	if err := tr.Run(context.Background()); err != nil && !errors.As(err, &stopped) {
		t.Fatal(err)
	}
	return tr
}

func sameBits(t *testing.T, what string, a, b []float32) {
	t.Helper()
	for i := range a {
		if math.Float32bits(a[i]) != math.Float32bits(b[i]) {
			t.Fatalf("%s: element %d is %v and %v", what, i, a[i], b[i])
		}
	}
}

// N+M steps equal N steps, a stop and M more, bit for bit: across an epoch's end, with dropout, flips and
// several slices, the last one shorter.
func TestResumeIsBitExact(t *testing.T) {
	for _, stop := range []int{1, 4, 8} {
		testResume(t, AdamW, stop)
	}
	testResume(t, Muon, 5)
}

func testResume(t *testing.T, optimizer string, stop int) {
	t.Helper()
	whole := tinySetup(t)
	whole.Train.Optimizer = optimizer
	a, err := New(whole)
	mustRun(t, a, err)

	cut := tinySetup(t)
	cut.StopAt, cut.Train.Optimizer = stop, optimizer
	b, err := New(cut)
	b = mustRun(t, b, err)
	if b.Step() != stop {
		t.Fatalf("stopped at step %d, want %d", b.Step(), stop)
	}
	cut.StopAt = 0
	c, err := Resume(context.Background(), cut, Auto)
	mustRun(t, c, err)

	sameBits(t, "weights", a.weights, c.weights)
	sameBits(t, "moving average", a.ema, c.ema)
	sameBits(t, "first moments", a.expAvg, c.expAvg)
	sameBits(t, "second moments", a.expAvgSq, c.expAvgSq)
	if math.Float64bits(a.last.Loss) != math.Float64bits(c.last.Loss) {
		t.Errorf("stop at %d: last loss %v, without the stop %v", stop, c.last.Loss, a.last.Loss)
	}
	la, lc := readLog(t, whole.Dir), readLog(t, cut.Dir)
	if len(la) != len(lc) || len(la) != 9 {
		t.Fatalf("%d and %d lines of log, want 9", len(la), len(lc))
	}
	for i := range la {
		if la[i].Step != lc[i].Step || la[i].Loss != lc[i].Loss || la[i].GradNorm != lc[i].GradNorm {
			t.Errorf("log line %d: %+v, with a stop %+v", i, la[i], lc[i])
		}
	}
}

func readLog(t *testing.T, dir string) []LogLine {
	t.Helper()
	lines, err := ReadLog(filepath.Join(dir, logName))
	if err != nil {
		t.Fatal(err)
	}
	return lines
}

// A batch run in slices has the gradient of the batch run at once, up to rounding.
func TestSlicesAgree(t *testing.T) {
	losses := map[int]float64{}
	grads := map[int][]float32{}
	for _, slice := range []int{1, 3, 8} {
		s := tinySetup(t)
		s.Model.Dropout = 0.3
		s.Train.Slice, s.Train.Steps, s.Train.WarmupSteps = slice, 1, 0
		tr, err := New(s)
		tr = mustRun(t, tr, err)
		losses[slice], grads[slice] = tr.last.Loss, append([]float32(nil), tr.task.grad()...)
	}
	for _, slice := range []int{1, 3} {
		if e := math.Abs(losses[slice]/losses[8] - 1); e > 1e-6 {
			t.Errorf("slices of %d: the loss is off by %.2g", slice, e)
		}
		var worst, largest float64
		for i, g := range grads[8] {
			worst = math.Max(worst, math.Abs(float64(g-grads[slice][i])))
			largest = math.Max(largest, math.Abs(float64(g)))
		}
		if worst > 1e-5*largest {
			t.Errorf("slices of %d: the gradient is off by %.2g of its largest value", slice, worst/largest)
		}
	}
}

// The loss of a run that overfits eleven images falls.
func TestLossFalls(t *testing.T) {
	s := tinySetup(t)
	s.Model.Dropout = 0
	s.Train.Steps, s.Train.BatchSize, s.Train.Slice, s.Train.LR, s.Train.LRSchedule = 60, 16, 16, 4e-3, "constant"
	tr, err := New(s)
	mustRun(t, tr, err)
	lines := readLog(t, s.Dir)
	first, last := lines[0].Loss, lines[len(lines)-1].Loss
	if !(last < 0.5*first) {
		t.Errorf("the loss went from %.3f to %.3f", first, last)
	}
}

func TestRunLeavesItsFiles(t *testing.T) {
	s := tinySetup(t)
	s.Train.Steps, s.Checkpoint.Every, s.Preview.Every = 6, 2, 3
	var notes bytes.Buffer
	s.Notes = &notes
	seen := 0
	s.OnStep = func(p Progress) { seen++ }
	tr, err := New(s)
	mustRun(t, tr, err)
	if seen != 6 {
		t.Errorf("%d steps were reported, want 6", seen)
	}
	for _, name := range []string{"config.toml", "log.jsonl", "loss.png", "previews/step-00000003.png", "previews/step-00000006.png",
		"checkpoints/step-00000004/manifest.json", "checkpoints/step-00000006/manifest.json"} {
		if _, err := os.Stat(filepath.Join(s.Dir, name)); err != nil {
			t.Error(err)
		}
	}
	if _, err := os.Stat(filepath.Join(s.Dir, "checkpoints/step-00000002")); err == nil {
		t.Error("keep = 2 kept a third checkpoint")
	}
}

// Whatever goes wrong is refused with the culprit named, and the run stays as it was.
func TestRefusals(t *testing.T) {
	s := tinySetup(t)
	s.StopAt = 2
	tr, err := New(s)
	mustRun(t, tr, err)
	cases := []struct {
		name   string
		change func(s *Setup)
		want   string
	}{
		{"other data", func(s *Setup) { s.Data = bars(t, 1) }, "the dataset was bars"},
		{"other model", func(s *Setup) { s.Model.BlockOutChannels = []int{8, 24} }, "model.block_out_channels was [8 16] and is now [8 24]"},
		{"other schedule", func(s *Setup) { s.Scheduler.BetaEnd = 0.03 }, "scheduler.beta_end was 0.02 and is now 0.03"},
		{"other seed", func(s *Setup) { s.Seed = 6 }, "the seed was 5 and is now 6"},
		{"other batch", func(s *Setup) { s.Train.BatchSize = 4 }, "train.batch_size was 8 and is now 4"},
		{"classes", func(s *Setup) { s.Model.NumClassEmbeds = 2 }, "model.num_class_embeds was not given and is now 2"},
		{"fewer steps than done", func(s *Setup) { s.StopAt, s.Train.Steps, s.Train.WarmupSteps = 0, 1, 0 }, "it has done 2 steps, and train.steps is 1"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			changed := s
			c.change(&changed)
			if _, err := Resume(context.Background(), changed, Auto); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v, want one with %q", err, c.want)
			}
		})
	}
	t.Run("a batch beyond all memory", func(t *testing.T) {
		huge := tinySetup(t)
		huge.Train.BatchSize = 1 << 60
		if _, err := New(huge); err == nil || !strings.Contains(err.Error(), "train.batch_size is 1152921504606846976") {
			t.Errorf("error %v, want one that names train.batch_size", err)
		}
		if _, err := os.Stat(huge.Dir); err == nil {
			t.Error("a run that cannot be left a directory")
		}
	})
	t.Run("an older checkpoint with another rate, over newer ones", func(t *testing.T) {
		again := tinySetup(t)
		again.Checkpoint.Every, again.Checkpoint.Keep, again.Train.Steps = 1, 0, 3
		tr, err := New(again)
		mustRun(t, tr, err)
		again.Train.LR, again.ConfigTOML = 5e-3, []byte("name = \"other\"\n")
		tr, err = Resume(context.Background(), again, filepath.Join(again.Dir, "checkpoints", "step-00000001"))
		if err != nil {
			t.Fatal(err)
		}
		if err := tr.Run(context.Background()); err == nil || !strings.Contains(err.Error(), "made with another configuration") {
			t.Errorf("error %v, want one that says that the step is there already", err)
		}
	})
	t.Run("a new run over an old one", func(t *testing.T) {
		if _, err := New(s); !errors.Is(err, ErrRunExists) {
			t.Errorf("error %v, want ErrRunExists", err)
		}
	})
	if dir, _, err := checkpoints.Latest(context.Background(), s.Dir); err != nil || filepath.Base(dir) != "step-00000002" {
		t.Errorf("newest checkpoint %q, %v", dir, err)
	}
}

// A run that diverges stops at once, names the step and keeps the last good checkpoint.
func TestDivergenceStops(t *testing.T) {
	s := tinySetup(t)
	s.Train.LR, s.Train.GradClip, s.Train.WarmupSteps, s.Train.Steps, s.Checkpoint.Every = 1e20, 0, 0, 20, 1
	tr, err := New(s)
	if err != nil {
		t.Fatal(err)
	}
	err = tr.Run(context.Background())
	if err == nil || !strings.Contains(err.Error(), "diverged") || !strings.Contains(err.Error(), "step-0000") {
		t.Fatalf("error %v, want one that names the checkpoint", err)
	}
	if _, _, err := checkpoints.Latest(context.Background(), s.Dir); err != nil {
		t.Error(err)
	}
}

func TestCancelSaves(t *testing.T) {
	s := tinySetup(t)
	s.Train.Steps = 1000
	ctx, cancel := context.WithCancel(context.Background())
	s.OnStep = func(p Progress) {
		if p.Step == 3 {
			cancel()
		}
	}
	tr, err := New(s)
	if err != nil {
		t.Fatal(err)
	}
	var stopped *Stopped
	if err := tr.Run(ctx); !errors.As(err, &stopped) || stopped.Step != 3 {
		t.Fatalf("error %v, want a stop at step 3", err)
	}
	if filepath.Base(stopped.Checkpoint) != "step-00000003" {
		t.Errorf("saved in %s", stopped.Checkpoint)
	}
}

func TestSchedules(t *testing.T) {
	e := EMAConfig{Decay: 0.9, Warmup: true}
	for n, want := range map[int]float64{1: 0, 2: 2.0 / 11, 9: 0.5, 81: 0.9, 1000: 0.9} {
		if got := e.at(n); math.Abs(got-want) > 1e-12 {
			t.Errorf("decay of update %d is %g, want %g", n, got, want)
		}
	}
	if got := clipScale(4, 1); got != 0.25 {
		t.Errorf("a gradient of norm 4 is scaled by %g", got)
	}
	if clipScale(0.5, 1) != 1 || clipScale(4, 0) != 1 {
		t.Error("a short gradient, or one without a limit, is scaled")
	}
}
