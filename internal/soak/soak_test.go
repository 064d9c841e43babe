//go:build linux

package soak

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strconv"
	"testing"
	"time"

	"unstir"
	"unstir/data"
	"unstir/diffusion"
	"unstir/internal/leaktest"
	"unstir/train"
	"unstir/unet"
)

var (
	trainFor = flag.Duration("train", 0, "how long the soak trains; 0: for 2,400 steps")
	samples  = flag.Int("samples", 4000, "how many images the soak samples")
)

// short reports whether this is a soak of seconds. Before each look at its memory, garbage is collected and given back to the system:
// how far the heap may grow is decided by chance in the first seconds, and only what is held on to counts.
func short() bool { return *trainFor == 0 }

// use is what a process holds.
type use struct {
	resident            int64 // bytes
	handles, goroutines int
}

func (u use) max(v use) use {
	return use{max(u.resident, v.resident), max(u.handles, v.handles), max(u.goroutines, v.goroutines)}
}

func (u use) String() string {
	return fmt.Sprintf("%.1f MB, %d handles, %d goroutines", float64(u.resident)/1e6, u.handles, u.goroutines)
}

// now asks the system.
func now(t *testing.T) use {
	t.Helper()
	if short() {
		debug.FreeOSMemory()
	}
	text, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		t.Fatal(err)
	}
	pages, err := strconv.ParseInt(string(bytes.Fields(text)[1]), 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	handles, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return use{pages * int64(os.Getpagesize()), len(handles), runtime.NumGoroutine()}
}

// quarters are the largest uses in each quarter of a piece of work.
type quarters [4]use

// at notes the use after a share of the work, from 0 to 1.
func (q *quarters) at(share float64, u use) {
	i := min(max(int(4*share), 0), 3)
	q[i] = q[i].max(u)
}

// slack is by how much memory may grow from the second quarter to the last.
func slack() float64 {
	if short() {
		return 0.05
	}
	return 0.02
}

// level returns an error unless the last quarter has what the second had: no more memory than the slack, and as many
// handles and goroutines. The first is left out: caches fill up there.
func (q *quarters) level(t *testing.T, what string) error {
	t.Helper()
	second, last := q[1], q[3]
	growth := float64(last.resident)/float64(second.resident) - 1
	t.Logf("%s: first quarter %v; second %v; third %v; last %v; memory %+.2f %%", what, q[0], second, q[2], last, 100*growth)
	var errs []error
	if growth > slack() {
		errs = append(errs, fmt.Errorf("%s: resident memory grew by %.1f %% from the second quarter to the last", what, 100*growth))
	}
	if last.handles != second.handles {
		errs = append(errs, fmt.Errorf("%s: %d file handles in the last quarter, %d in the second", what, last.handles, second.handles))
	}
	if last.goroutines != second.goroutines {
		errs = append(errs, fmt.Errorf("%s: %d goroutines in the last quarter, %d in the second", what, last.goroutines, second.goroutines))
	}
	return errors.Join(errs...)
}

// What grows is found: a test of the test.
func TestLevelFindsLeaks(t *testing.T) {
	steady := use{100 << 20, 10, 5}
	for _, c := range []struct {
		name string
		last use
		ok   bool
	}{
		{"steady", steady, true},
		{"less memory", use{90 << 20, 10, 5}, true},
		{"more memory", use{112 << 20, 10, 5}, false},
		{"a handle", use{100 << 20, 11, 5}, false},
		{"a goroutine", use{100 << 20, 10, 6}, false},
	} {
		q := quarters{{1 << 20, 1, 1}, steady, steady}
		q.at(0.99, c.last)
		if err := q.level(t, c.name); (err == nil) != c.ok {
			t.Errorf("%s: error %v", c.name, err)
		}
	}
}

// model has all kinds of layers and a few thousand weights.
func model() unet.Config {
	c := unet.Defaults()
	c.SampleSize = unet.Size{H: 8, W: 8}
	c.InChannels, c.OutChannels = 1, 1
	c.BlockOutChannels = []int{8, 16}
	c.DownBlockTypes = []string{"DownBlock2D", "AttnDownBlock2D"}
	c.UpBlockTypes = []string{"AttnUpBlock2D", "UpBlock2D"}
	c.LayersPerBlock, c.NormNumGroups, c.AttentionHeadDim, c.Dropout = 1, 4, 4, 0.1
	c.NumClassEmbeds = 3
	return c
}

// images are random ones of three classes.
func images(t *testing.T) data.Dataset {
	t.Helper()
	const n, size = 90, 8
	pixels, labels := make([]byte, n*size*size), make([]int, n)
	for i := range pixels {
		pixels[i] = byte(i * i / 7)
	}
	for i := range labels {
		labels[i] = i % 3
	}
	d, err := data.NewMemory(data.Info{Name: "noise", Channels: 1, Height: size, Width: size, Classes: []string{"a", "b", "c"}}, pixels, labels)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// Training for hours, with checkpoints, previews and a log, and sampling thousands of images from what it leaves:
// the process holds no more at the end than it did before.
func TestSoak(t *testing.T) {
	root := t.TempDir()
	run := func(name string) string { return filepath.Join(root, name) }
	trainUntil(t, run("warm-up"), 20, time.Minute, nil) // starts the kernels' workers, which stay
	before := runtime.NumGoroutine()
	for _, part := range []struct {
		name string
		soak func(*testing.T, string) error
	}{{"training", soakTraining}, {"sampling", soakSampling}} {
		t.Run(part.name, func(t *testing.T) {
			if err := part.soak(t, run("run")); err != nil {
				t.Error(err)
			}
		})
	}
	runtime.GC()
	leaktest.Goroutines(t, before)
}

// trainUntil trains a small model for some steps or some time, whichever ends first.
func trainUntil(t *testing.T, dir string, steps int, limit time.Duration, step func(time.Duration)) {
	t.Helper()
	config, ema, checkpoint, preview := train.Defaults()
	config.Steps, config.BatchSize, config.Slice, config.WarmupSteps, config.LogEvery = steps, 8, 4, 100, 1000
	checkpoint.Every, checkpoint.Keep = 200, 2
	preview.Every, preview.Images, preview.Steps = 300, 6, 5

	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	start := time.Now()
	setup := train.Setup{
		Seed: 1, Data: images(t), Flip: true, Model: model(), Scheduler: diffusion.Defaults(),
		Train: config, EMA: ema, Checkpoint: checkpoint, Preview: preview,
		Dir: dir, ConfigTOML: []byte("name = \"soak\"\n"), Version: "test",
	}
	if step != nil {
		setup.OnStep = func(train.Progress) { step(time.Since(start)) }
	}
	tr, err := train.New(setup)
	if err != nil {
		t.Fatal(err)
	}
	var stopped *train.Stopped
	if err := tr.Run(ctx); err != nil && !errors.As(err, &stopped) {
		t.Fatal(err)
	}
}

func soakTraining(t *testing.T, dir string) error {
	var held quarters
	if short() {
		steps, done := 2400, 0
		if testing.Short() {
			steps = 300
		}
		trainUntil(t, dir, steps, time.Hour, func(time.Duration) {
			if done++; done%20 == 0 {
				held.at(float64(done-1)/float64(steps), now(t))
			}
		})
		return held.level(t, fmt.Sprintf("%d steps of training", steps))
	}
	steps, looked := 0, time.Duration(-1)
	trainUntil(t, dir, 1<<40, *trainFor, func(passed time.Duration) {
		steps++
		if passed > looked+10*time.Millisecond {
			looked = passed
			held.at(float64(passed)/float64(*trainFor), now(t))
		}
	})
	return held.level(t, fmt.Sprintf("%v of training, %d steps", *trainFor, steps))
}

func soakSampling(t *testing.T, dir string) error {
	p, err := unstir.Open(context.Background(), dir)
	if err != nil {
		t.Fatal(err)
	}
	kinds := []unstir.SampleOptions{
		{N: 64, Sampler: "ddim", Steps: 4},
		{N: 33, Sampler: "dpm++2m", Steps: 3, Batch: 8},
		{N: 1, Sampler: "heun", Steps: 2},
		{N: 16, Sampler: "ddpm", Steps: 5, Batch: 5},
	}
	total := *samples
	if testing.Short() {
		total /= 8
	}
	var held quarters
	for done, call := 0, 0; done < total; call++ {
		o := kinds[call%len(kinds)]
		o.First = done
		for i := range o.N {
			o.Labels = append(o.Labels, i%3)
		}
		ctx, cancel := context.WithCancel(context.Background())
		cut := call%7 == 6 // a client that goes away
		o.OnStep = func(s unstir.SampleStep) error {
			if cut && s.Index == 1 {
				cancel()
			}
			return nil
		}
		_, err := p.Sample(ctx, o)
		cancel()
		switch {
		case err == nil:
			done += o.N
		case !cut || !errors.Is(err, context.Canceled):
			t.Fatal(err)
		}
		held.at(float64(done)/float64(total), now(t))
	}
	return held.level(t, fmt.Sprintf("%d samples", total))
}
