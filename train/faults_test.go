package train

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"unstir/checkpoints"
	"unstir/internal/disk"
	"unstir/internal/eventtest"
)

// diskSetup is a short run that uses the disk in every way: at each step a line of the log and a checkpoint, of which
// one is kept.
func diskSetup(t *testing.T, steps int) Setup {
	s := tinySetup(t)
	s.Model.BlockOutChannels, s.Model.NormNumGroups, s.Model.AttentionHeadDim = []int{4, 4}, 2, 4
	s.Train.Steps, s.Train.BatchSize, s.Train.WarmupSteps = steps, 4, 1
	s.Checkpoint.Every, s.Checkpoint.Keep = 1, 1
	s.Dir = filepath.Join(disk.MemoryDir(t), "run")
	s.Patience = 50 * time.Millisecond
	return s
}

// undisturbed is what a run leads to when nothing goes wrong.
func undisturbed(t *testing.T, s Setup) *Trainer {
	t.Helper()
	s.Dir = filepath.Join(disk.MemoryDir(t), "undisturbed")
	tr, err := New(s)
	return mustRun(t, tr, err)
}

// sameEnd compares a run that is complete with an undisturbed one: weights, average, moments, the log, the
// checkpoints, and that nothing is left over.
func sameEnd(t *testing.T, want, got *Trainer) {
	t.Helper()
	sameBits(t, "weights", want.weights, got.weights)
	sameBits(t, "moving average", want.ema, got.ema)
	sameBits(t, "first moments", want.expAvg, got.expAvg)
	sameBits(t, "second moments", want.expAvgSq, got.expAvgSq)
	a, b := readLog(t, want.Dir), readLog(t, got.Dir)
	if len(a) != len(b) {
		t.Fatalf("the log has %d lines, want %d", len(b), len(a))
	}
	for i := range a {
		if a[i].Step != b[i].Step || a[i].Loss != b[i].Loss || a[i].GradNorm != b[i].GradNorm {
			t.Errorf("line %d of the log is %+v, want %+v", i+1, b[i], a[i])
		}
	}
	if a, b := strings.Join(eventtest.Lines(t, want.Dir), "\n"), strings.Join(eventtest.Lines(t, got.Dir), "\n"); a != b {
		t.Errorf("TensorBoard's file has\n%s\nwant\n%s", b, a)
	}
	dir, skipped, err := checkpoints.Latest(context.Background(), got.Dir)
	if err != nil || len(skipped) > 0 || filepath.Base(dir) != filepath.Base(want.Saved()) {
		t.Errorf("the newest checkpoint is %q, skipped %v (%v)", dir, skipped, err)
	}
	names := func(t *testing.T, run string) (list []string) {
		fs.WalkDir(os.DirFS(run), ".", func(path string, e fs.DirEntry, err error) error {
			list = append(list, path)
			return err
		})
		return list
	}
	if a, b := strings.Join(names(t, want.Dir), " "), strings.Join(names(t, got.Dir), " "); a != b {
		t.Errorf("the run's directory has\n%s\nwant\n%s", b, a)
	}
}

// faultStride thins out the operations that fail: trying every one takes minutes.
var faultStride = flag.Int("stride", 9, "TestOneFault..., TestADiskThatDies...: every so many operations of the disk are tried")

// watchDisk asks f at each operation of the disk that can leave something different: of the writes to a file, only
// the first two.
func watchDisk(t *testing.T, f disk.Fault) {
	var mu sync.Mutex
	last, writes := "", 0
	disk.Inject(t, func(op disk.Op, path string) error {
		mu.Lock()
		defer mu.Unlock()
		if op == disk.Write && path == last {
			if writes++; writes > 2 {
				return nil
			}
		} else {
			last, writes = path, 1
		}
		return f(op, path)
	})
}

// operations counts what watchDisk sees in a run, without its start.
func operations(t *testing.T, s Setup) (n int) {
	t.Helper()
	s.Dir = filepath.Join(disk.MemoryDir(t), "counted")
	tr, err := New(s)
	watchDisk(t, func(disk.Op, string) error { n++; return nil })
	defer disk.Inject(t, nil)
	mustRun(t, tr, err)
	return n
}

// One operation of the disk that fails, whichever it is, costs a run nothing: it ends well, with the same files.
//
//	go test ./train -run 'OneFault|ADiskThatDies' -v -stride 1
func TestOneFaultAnywhereCostsNothing(t *testing.T) {
	s := diskSetup(t, 2)
	want := undisturbed(t, s)
	all, tried := operations(t, s), 0
	if all < 80 {
		t.Fatalf("a run of two checkpoints has %d operations of the disk", all)
	}
	dir := disk.MemoryDir(t)
	for k := 0; k < all; k += *faultStride {
		tried++
		s.Dir = filepath.Join(dir, fmt.Sprint(k))
		tr, err := New(s)
		if err != nil {
			t.Fatal(err)
		}
		n, what := 0, ""
		watchDisk(t, func(op disk.Op, path string) error {
			if n++; n != k+1 {
				return nil
			}
			what = fmt.Sprintf("operation %d, %s %s", k, op, path)
			if op == disk.Write {
				return &disk.Short{N: 7, Err: syscall.ENOSPC}
			}
			return syscall.EIO
		})
		err = tr.Run(context.Background())
		disk.Inject(t, nil)
		if err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		again, err := Resume(context.Background(), s, Auto) // clears away what could not be removed
		sameEnd(t, want, mustRun(t, again, err))
		if t.Failed() {
			t.Fatal(what)
		}
		os.RemoveAll(s.Dir)
	}
	t.Logf("%d of a run's %d operations failed once each", tried, all)
}

// A disk that dies at any of a run's operations and stays dead leaves what a crash of the machine leaves: the run goes
// on from there, to the same end, and never from an older checkpoint than it had.
func TestADiskThatDiesAnywhereLosesNothing(t *testing.T) {
	s := diskSetup(t, 2)
	want := undisturbed(t, s)
	all, tried := operations(t, s), 0
	s.Patience = 0
	dir := disk.MemoryDir(t)
	for k := 0; k < all; k += *faultStride {
		tried++
		s.Dir = filepath.Join(dir, fmt.Sprint(k))
		tr, err := New(s)
		if err != nil {
			t.Fatal(err)
		}
		n, dead, newest := 0, false, 0 // the step of the last checkpoint that was renamed
		watchDisk(t, func(op disk.Op, path string) error {
			if n++; n > k {
				dead = true
			}
			if name := filepath.Base(path); !dead && op == disk.Move && strings.HasPrefix(name, "step-") && filepath.Ext(name) == "" {
				fmt.Sscanf(name, "step-%d", &newest)
			}
			if dead {
				return syscall.EIO
			}
			return nil
		})
		err = tr.Run(context.Background())
		disk.Inject(t, nil)
		if err == nil && newest < s.Train.Steps {
			t.Fatalf("after %d operations the disk is dead, and the run ends well", k)
		}
		again, err := Resume(context.Background(), s, Auto)
		if err != nil {
			t.Fatal(err)
		}
		if again.Step() != newest {
			t.Errorf("it goes on from step %d, want %d", again.Step(), newest)
		}
		sameEnd(t, want, mustRun(t, again, nil))
		if t.Failed() {
			t.Fatalf("dead after %d operations", k)
		}
		os.RemoveAll(s.Dir)
	}
	t.Logf("the disk died at %d of a run's %d operations", tried, all)
}

// full lets writes fail, as on a full disk, while it is on: those to the checkpoints in the middle of their largest
// file.
func full(t *testing.T, on *atomic.Bool) {
	disk.Inject(t, func(op disk.Op, path string) error {
		if !on.Load() || op != disk.Write {
			return nil
		}
		if strings.HasSuffix(path, "optimizer.safetensors") || !strings.Contains(path, "step-") {
			return &disk.Short{N: 5, Err: syscall.ENOSPC}
		}
		return nil
	})
}

// While the disk is full training goes on: that is said once of the log and at each try of a checkpoint, the newest
// checkpoints stay, nothing half written stays, and once there is room the log has every line.
func TestAFullDiskDoesNotEndARun(t *testing.T) {
	s := diskSetup(t, 9)
	s.Checkpoint.Every, s.Checkpoint.Keep = 2, 2
	want := undisturbed(t, s)
	var notes bytes.Buffer
	var on atomic.Bool
	s.Notes = &notes
	s.OnStep = func(p Progress) {
		on.Store(p.Step >= 3 && p.Step < 8) // the checkpoints of steps 4 and 6
		if p.Step != 7 {
			return
		}
		entries, err := os.ReadDir(checkpoints.Dir(s.Dir))
		if err != nil || len(entries) != 2 || entries[1].Name() != "step-00000002" { // .lock is the other
			t.Errorf("while the disk is full there is %v (%v)", entries, err)
		}
	}
	full(t, &on)
	tr, err := New(s)
	mustRun(t, tr, err)
	for _, once := range []string{
		"no space left on device; training goes on, and the log's lines are kept until they can be written\n",
		"the log is written again, and no line is missing\n",
		"no checkpoint of step 4: saving step 4 to " + checkpoints.Dir(s.Dir) + ": training/optimizer.safetensors: write ",
		"no space left on device; training goes on, the next try is at step 6; the newest checkpoint is " + checkpoints.Dir(s.Dir) + "/step-00000002\n",
		"the next try is at step 8",
	} {
		if n := strings.Count(notes.String(), filepath.FromSlash(once)); n != 1 {
			t.Errorf("%q is said %d times, want once:\n%s", once, n, &notes)
		}
	}
	s.Notes = nil
	again, err := Resume(context.Background(), s, Auto)
	sameEnd(t, want, mustRun(t, again, err))
}
