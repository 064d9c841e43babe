package train

import (
	"context"
	"errors"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"unstir/checkpoints"
	"unstir/classifier"
	"unstir/data"
	"unstir/internal/alloctest"
)

// stripes are n images of stripes, whose labels tell their directions, of which there are three.
func stripes(t *testing.T, n, shift int) data.Dataset {
	t.Helper()
	const size = 9
	pixels := make([]byte, n*size*size)
	labels := make([]int, n)
	for i := range n {
		labels[i] = i % 3
		for y := range size {
			for x := range size {
				at := [3]int{x, y, x + y}[labels[i]]
				if (at+i/3+shift)%3 == 0 {
					pixels[(i*size+y)*size+x] = 255
				}
			}
		}
	}
	d, err := data.NewMemory(data.Info{Name: "stripes", Channels: 1, Height: size, Width: size, Classes: []string{"|", "-", "/"}}, pixels, labels)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func classifierSetup(t *testing.T, noisy bool) Setup {
	t.Helper()
	s := tinySetup(t)
	s.Data, s.Test = stripes(t, 11, 0), stripes(t, 7, 1)
	s.Classifier = &classifier.Config{Channels: []int{8, 16}, Features: 12, Noisy: noisy}
	s.Checkpoint.Every = 4
	return s
}

// N+M steps of a classifier equal N steps, a stop and M more, bit for bit, its tests included.
func TestAClassifierResumesBitExactly(t *testing.T) {
	for _, noisy := range []bool{false, true} {
		for _, stop := range []int{3, 4} { // between tests, and at one
			whole := classifierSetup(t, noisy)
			a, err := New(whole)
			mustRun(t, a, err)

			cut := classifierSetup(t, noisy)
			cut.StopAt = stop
			b, err := New(cut)
			mustRun(t, b, err)
			cut.StopAt = 0
			c, err := Resume(context.Background(), cut, Auto)
			mustRun(t, c, err)

			sameBits(t, "weights", a.weights, c.weights)
			sameBits(t, "moving average", a.ema, c.ema)
			sameBits(t, "first moments", a.expAvg, c.expAvg)
			sameBits(t, "second moments", a.expAvgSq, c.expAvgSq)
			if a.Tested() == nil || !reflect.DeepEqual(a.Tested(), c.Tested()) || a.Tested().Step != 9 || a.Tested().Images != 7 {
				t.Errorf("tests %+v and %+v", a.Tested(), c.Tested())
			}
			la, lc := readLog(t, whole.Dir), readLog(t, cut.Dir)
			if len(la) != 9 || len(lc) != 9 {
				t.Fatalf("%d and %d lines of log, want 9", len(la), len(lc))
			}
			for i := range la {
				la[i].ImagesPerSecond, la[i].Seconds, lc[i].ImagesPerSecond, lc[i].Seconds = 0, 0, 0, 0
				if !reflect.DeepEqual(la[i], lc[i]) {
					t.Errorf("line %d: %+v, with a stop %+v", i+1, la[i], lc[i])
				}
				if la[i].Accuracy == nil || (la[i].TestAccuracy != nil) != (i == 3 || i == 7 || i == 8) {
					t.Errorf("line %d has the accuracies %v and %v", i+1, la[i].Accuracy, la[i].TestAccuracy)
				}
			}
		}
	}
}

// A stop between two tests keeps the last one's accuracy, with its step.
func TestAStopKeepsTheLastTest(t *testing.T) {
	s := classifierSetup(t, false)
	s.StopAt = 6
	tr, err := New(s)
	mustRun(t, tr, err)
	c, err := checkpoints.Load(context.Background(), s.Dir)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if c.State.Step != 6 || c.State.Test == nil || c.State.Test.Step != 4 || c.Classifier == nil || c.UNet != nil || c.Scheduler != nil {
		t.Errorf("the checkpoint has %+v, test %+v", c.State, c.State.Test)
	}
}

// A classifier learns what it is shown: all of the images, and the test images too, which are shifted.
func TestAClassifierLearns(t *testing.T) {
	s := classifierSetup(t, false)
	s.Flip = false
	s.Train.Steps, s.Train.LR, s.EMA.Decay = 60, 5e-3, 0.9
	tr, err := New(s)
	tr = mustRun(t, tr, err)
	if tr.Last().Accuracy != 1 || tr.Last().Loss > 0.1 || tr.Tested().Accuracy != 1 {
		t.Errorf("accuracy %v, loss %v, test accuracy %v", tr.Last().Accuracy, tr.Last().Loss, tr.Tested().Accuracy)
	}
}

// The test accuracy is the share that a predictor with the average's weights gets right, whatever the slice.
func TestTheTestCountsEveryImage(t *testing.T) {
	for _, noisy := range []bool{false, true} {
		s := classifierSetup(t, noisy)
		s.Train.Steps = 3
		tr, err := New(s)
		tr = mustRun(t, tr, err)
		c := tr.task.(*classifying)
		for _, batch := range []int{1, 2, 7, 50} {
			got, err := c.test(context.Background(), tr.params, tr.ema, batch)
			if err != nil {
				t.Fatal(err)
			}
			if got != tr.Tested().Accuracy {
				t.Errorf("noisy %v, in batches of %d: %v, want %v", noisy, batch, got, tr.Tested().Accuracy)
			}
		}
	}
}

// x_t of a noisy classifier is made of the image, t and noise; all three depend on the step and the image alone.
func TestNoisedImages(t *testing.T) {
	s := classifierSetup(t, true)
	tr, err := New(s)
	if err != nil {
		t.Fatal(err)
	}
	defer tr.Close()
	const dim = 5
	x0 := []float32{1, -1, 0.5, 0, 1, 0, 0, 0, 0, 0}
	n := newNoised(tr.schedule, 2, dim)
	xt, ts := n.make(x0, 3, 4)
	for i, ti := range ts {
		for j := range dim {
			k := i*dim + j
			want := math.Sqrt(tr.schedule.AlphaBar[ti])*float64(x0[k]) + math.Sqrt(1-tr.schedule.AlphaBar[ti])*float64(n.eps[k])
			if math.Abs(float64(xt[k])-want) > 1e-6 {
				t.Errorf("image %d, value %d at t = %d: %v, not %v", i, j, ti, xt[k], want)
			}
		}
	}
	first := append([]float32(nil), xt...)
	xt, _ = n.make(x0, 3, 5)
	if reflect.DeepEqual(first, xt) {
		t.Error("two steps have the same noise")
	}
	if xt, _ = n.make(x0, 3, 4); !reflect.DeepEqual(first, xt) {
		t.Error("one step has two noises")
	}
}

func TestWhatAClassifierCannotTrainOn(t *testing.T) {
	unlabelled, err := data.NewMemory(data.Info{Name: "plain", Channels: 1, Height: 2, Width: 2}, make([]byte, 8), nil)
	if err != nil {
		t.Fatal(err)
	}
	one, err := data.NewMemory(data.Info{Name: "one", Channels: 1, Height: 2, Width: 2}, make([]byte, 8), []int{0, 0})
	if err != nil {
		t.Fatal(err)
	}
	for want, change := range map[string]func(s *Setup){
		"image 0 of plain has none":                func(s *Setup) { s.Data = unlabelled },
		"tells at least 2 classes, and one has 1":  func(s *Setup) { s.Data = one },
		"test images of 1x8x8 for training images": func(s *Setup) { s.Test = bars(t, 0) },
		"preview.every must be 0":                  func(s *Setup) { s.Preview.Every = 3 },
		"channels is []":                           func(s *Setup) { s.Classifier = &classifier.Config{Features: 3} },
		"num_train_timesteps is 0":                 func(s *Setup) { s.Classifier.Noisy, s.Scheduler.NumTrainTimesteps = true, 0 },
	} {
		s := classifierSetup(t, false)
		change(&s)
		if _, err := New(s); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want one with %q", err, want)
		}
		if _, err := os.Stat(s.Dir); err == nil {
			t.Errorf("%s: a run that cannot be left a directory", want)
		}
	}
	s := classifierSetup(t, false)
	s.Data = unlabelled
	if _, err := New(s); !errors.Is(err, ErrLabels) {
		t.Errorf("error %v, want ErrLabels", err)
	}
}

// A classifier goes on only as what it began as.
func TestAClassifierThatHasChangedDoesNotGoOn(t *testing.T) {
	s := classifierSetup(t, true)
	s.StopAt = 2
	tr, err := New(s)
	mustRun(t, tr, err)
	for want, change := range map[string]func(s *Setup){
		"classifier.channels was [8 16] and is now [8 24]": func(s *Setup) {
			s.Classifier = &classifier.Config{Channels: []int{8, 24}, Features: 12, Noisy: true}
		},
		"classifier.noisy was true and is now false": func(s *Setup) {
			s.Classifier = &classifier.Config{Channels: []int{8, 16}, Features: 12}
		},
		"scheduler.beta_end was 0.02 and is now 0.03": func(s *Setup) { s.Scheduler.BetaEnd = 0.03 },
		"the dataset was stripes":                     func(s *Setup) { s.Data = stripes(t, 11, 1) },
		"it trains a classifier, and the configuration is that of a UNet": func(s *Setup) {
			s.Data, s.Classifier, s.Test = bars(t, 0), nil, nil
		},
	} {
		changed := s
		change(&changed)
		if _, err := Resume(context.Background(), changed, Auto); !errors.Is(err, ErrChanged) || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want one with %q", err, want)
		}
	}
	unet := tinySetup(t)
	unet.StopAt = 1
	tr, err = New(unet)
	mustRun(t, tr, err)
	s.Dir = unet.Dir
	if _, err := Resume(context.Background(), s, Auto); !errors.Is(err, ErrChanged) || !strings.Contains(err.Error(), "it trains a UNet, and the configuration is that of a classifier") {
		t.Errorf("error %v, want one that names the kinds", err)
	}
}

// A classifier whose numbers overflow stops, as a UNet does, and names the images of a loss that is not finite.
func TestAClassifierThatDivergesStops(t *testing.T) {
	s := classifierSetup(t, false)
	s.Train.LR, s.Train.GradClip, s.Train.WarmupSteps, s.Checkpoint.Every = 1e20, 0, 0, 1
	tr, err := New(s)
	if err != nil {
		t.Fatal(err)
	}
	err = tr.Run(context.Background())
	if !errors.Is(err, ErrNotFinite) || !strings.Contains(err.Error(), filepath.Join("checkpoints", "step-0000")) {
		t.Fatalf("error %v, want one that names the last good checkpoint", err)
	}
}

// After the first, a step of a classifier allocates nothing.
func TestAClassifiersUpdateDoesNotAllocate(t *testing.T) {
	for _, noisy := range []bool{false, true} {
		s := classifierSetup(t, noisy)
		tr, err := New(s)
		if err != nil {
			t.Fatal(err)
		}
		defer tr.Close()
		if err := tr.task.start(tr.params, tr.weights, tr.Slice()); err != nil {
			t.Fatal(err)
		}
		tr.perImage = make([]float64, s.Train.BatchSize)
		loader := data.NewLoader(s.Data, s.Train.BatchSize, s.Seed, s.Flip, 0)
		batch, err := loader.Next(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		loader.Close()
		step := func() {
			if err := tr.update(context.Background(), batch); err != nil {
				t.Fatal(err)
			}
		}
		step()
		if got := alloctest.Count(5, step); got > 0 {
			t.Errorf("noisy %v: 5 steps made %d allocations", noisy, got)
		}
	}
}
