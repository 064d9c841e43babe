package checkpoints

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"unstir/internal/dirlock"
)

// wantLatest checks which checkpoint is the newest and which were skipped.
func wantLatest(t *testing.T, run string, step int, skipped ...int) {
	t.Helper()
	dir, skip, err := Latest(background, run)
	if err != nil {
		t.Error(err)
		return
	}
	if filepath.Base(dir) != stepName(step) {
		t.Errorf("the newest is %s, want %s", filepath.Base(dir), stepName(step))
	}
	var got []string
	for _, s := range skip {
		got = append(got, filepath.Base(s.Dir))
	}
	var want []string
	for _, s := range skipped {
		want = append(want, stepName(s))
	}
	if !slices.Equal(got, want) {
		t.Errorf("skipped %q, want %q", got, want)
	}
}

func TestTheNewestWholeCheckpointIsTaken(t *testing.T) {
	run := t.TempDir()
	for _, step := range []int{999, 1000, 123456789, 20} {
		mustSave(t, run, step)
	}
	// Names that are no checkpoint's.
	for _, name := range []string{"step-5", "step-999999999x", "step--0000001", "step-0999999999", "other"} {
		os.Mkdir(filepath.Join(Dir(run), name), 0o777)
	}
	os.WriteFile(filepath.Join(Dir(run), "step-99999998"), nil, 0o666)
	wantLatest(t, run, 123456789)
	flip(t, in(filepath.Join(Dir(run), stepName(123456789)), fileWeights), 300)
	os.Remove(in(filepath.Join(Dir(run), stepName(1000)), fileManifest))
	wantLatest(t, run, 999, 123456789, 1000)
	_, skipped, _ := Latest(background, run)
	wantError(t, skipped[0].Err, fileWeights)
	wantError(t, skipped[1].Err, fileManifest)
	m, err := Open(background, run)
	if err != nil {
		t.Fatal(err)
	}
	m.Close()
	if m.State.Step != 999 || len(m.Skipped) != 2 {
		t.Errorf("opened step %d, skipped %v", m.State.Step, m.Skipped)
	}
}

func TestNoCheckpointIsNotTheSameAsNoWholeOne(t *testing.T) {
	run := t.TempDir()
	if _, _, err := Latest(background, run); !errors.Is(err, ErrNone) {
		t.Errorf("an empty run: %v", err)
	}
	dir := mustSave(t, run, 1)
	flip(t, in(dir, fileRaw), 200)
	_, skipped, err := Latest(background, run)
	if err == nil || errors.Is(err, ErrNone) || len(skipped) != 1 {
		t.Errorf("a run whose only checkpoint is damaged: %v, skipped %v", err, skipped)
	}
	wantError(t, err, fileRaw)
}

func TestAnInterruptedSaveLeavesTheOldOneNewest(t *testing.T) {
	run := t.TempDir()
	mustSave(t, run, 1)
	before := names(t, Dir(run))

	// Cancelled in the middle of the weights, and in the optimizer's moments.
	for _, list := range []func(c *Checkpoint) []Tensor{
		func(c *Checkpoint) []Tensor { return c.EMA }, func(c *Checkpoint) []Tensor { return c.ExpAvgSq },
	} {
		ctx, cancel := context.WithCancel(background)
		c := toy(2)
		list(c)[1].Fill = func([]float32) { cancel() }
		if _, err := Save(ctx, run, c); !errors.Is(err, context.Canceled) {
			t.Errorf("a cancelled save: %v", err)
		}
	}
	// A callback that panics.
	func() {
		defer func() {
			if recover() == nil {
				t.Error("the panic was swallowed")
			}
		}()
		c := toy(2)
		c.Raw[0].Fill = func([]float32) { panic("in the middle") }
		Save(background, run, c)
	}()
	wantLatest(t, run, 1)
	if after := names(t, Dir(run)); !slices.Equal(before, after) {
		t.Errorf("failed saves left %q", after)
	}
	mustSave(t, run, 2) // the lock is free again
	wantLatest(t, run, 2)
}

func TestWhatACrashLeftIsClearedAway(t *testing.T) {
	run := t.TempDir()
	whole := mustSave(t, run, 1)
	parent := Dir(run)
	// Crashes before the rename, even after the manifest, and in a removal.
	if err := os.CopyFS(filepath.Join(parent, hidden(stepName(7), tempSuffix)), os.DirFS(whole)); err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Join(parent, hidden(stepName(3), tempSuffix), "unet"), 0o777); err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Join(parent, hidden(stepName(0), oldSuffix), "unet"), 0o777); err != nil {
		t.Fatal(err)
	}
	wantLatest(t, run, 1)
	mustSave(t, run, 3)
	wantLatest(t, run, 3)
	if got := names(t, parent); !slices.Equal(got, []string{".lock", stepName(1), stepName(3)}) {
		t.Errorf("left over: %q", got)
	}
}

func TestAWholeCheckpointIsNotOverwrittenABrokenOneIs(t *testing.T) {
	run := t.TempDir()
	dir := mustSave(t, run, 4)
	_, err := Save(background, run, toy(4))
	if !errors.Is(err, fs.ErrExist) {
		t.Errorf("saving over a whole checkpoint: %v", err)
	}
	wantError(t, err, stepName(4), "whole")
	flip(t, in(dir, fileConfig), 1)
	mustSave(t, run, 4)
	wantLatest(t, run, 4)
	if got := names(t, Dir(run)); !slices.Equal(got, []string{".lock", stepName(4)}) {
		t.Errorf("left over: %q", got)
	}
	// A broken one stays if the new one fails.
	flip(t, in(dir, fileConfig), 1)
	c := toy(4)
	ctx, cancel := context.WithCancel(background)
	c.EMA[0].Fill = func([]float32) { cancel() }
	if _, err := Save(ctx, run, c); err == nil {
		t.Error("a cancelled save worked")
	}
	if _, err := os.Stat(in(dir, fileWeights)); err != nil {
		t.Error(err)
	}
}

func TestTwoSaversAreAnErrorNotACorruption(t *testing.T) {
	run := t.TempDir()
	c := toy(1)
	var second error
	c.Raw[0].Fill = func([]float32) { _, second = Save(background, run, toy(2)) } // in the middle of the first
	if _, err := Save(background, run, c); err != nil {
		t.Fatal(err)
	}
	if !errors.Is(second, ErrLocked) {
		t.Errorf("the second save: %v", second)
	}
	wantLatest(t, run, 1)

	// Many at once: whoever succeeds leaves a whole checkpoint.
	var wg sync.WaitGroup
	errs := make([]error, 8)
	for i := range errs {
		wg.Go(func() { _, errs[i] = Save(background, run, toy(10+i)) })
	}
	wg.Wait()
	for i, err := range errs {
		dir := filepath.Join(Dir(run), stepName(10+i))
		switch {
		case err == nil:
			if err := Verify(background, dir); err != nil {
				t.Error(err)
			}
		case !errors.Is(err, ErrLocked):
			t.Errorf("save %d: %v", i, err)
		case isDir(dir):
			t.Errorf("save %d failed and left %s", i, dir)
		}
	}
	if got := names(t, Dir(run)); slices.ContainsFunc(got, isLeftover) {
		t.Errorf("left over: %q", got)
	}
}

func TestPruneKeepsTheNewestWholeOne(t *testing.T) {
	run := t.TempDir()
	for step := 1; step <= 5; step++ {
		mustSave(t, run, step)
	}
	prune := func(keep int, want ...string) {
		t.Helper()
		removed, err := Prune(background, run, keep)
		if err != nil {
			t.Error(err)
		}
		for i := range removed {
			removed[i] = filepath.Base(removed[i])
		}
		if !slices.Equal(removed, want) {
			t.Errorf("keep %d removed %q, want %q", keep, removed, want)
		}
	}
	prune(0)
	prune(9)
	prune(4, stepName(1))
	// The two newest are damaged: the newest whole one is step 3.
	flip(t, in(filepath.Join(Dir(run), stepName(5)), fileWeights), 300)
	os.Remove(in(filepath.Join(Dir(run), stepName(4)), fileManifest))
	prune(1, stepName(2))
	wantLatest(t, run, 3, 5, 4)
	prune(2)
	// None is whole: nothing is removed.
	os.Remove(in(filepath.Join(Dir(run), stepName(3)), fileManifest))
	_, err := Prune(background, run, 1)
	wantError(t, err, "no old checkpoint is removed")
	if got := names(t, Dir(run)); len(got) != 4 {
		t.Errorf("left: %q", got)
	}
	_, err = Prune(background, run, -1)
	wantError(t, err, "-1")
	l, err := dirlock.Take(Dir(run))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Unlock()
	if _, err := Prune(background, run, 1); !errors.Is(err, ErrLocked) {
		t.Errorf("pruned beside a save: %v", err)
	}
}

func TestNewestRun(t *testing.T) {
	runs := t.TempDir()
	_, err := NewestRun(filepath.Join(runs, "none"))
	wantError(t, err, "none", "train a model first")
	os.WriteFile(filepath.Join(runs, "a file"), nil, 0o666)
	os.Mkdir(filepath.Join(runs, "empty"), 0o777)
	_, err = NewestRun(runs)
	if !errors.Is(err, ErrNone) {
		t.Error(err)
	}
	wantError(t, err, runs)
	now := time.Now()
	for i, run := range []string{"older", "newest", "oldest"} {
		dir := mustSave(t, filepath.Join(runs, run), 10-i)
		at := now.Add(time.Duration([]int{-5, 0, -9}[i]) * time.Minute)
		if err := os.Chtimes(filepath.Join(dir, fileManifest), at, at); err != nil {
			t.Fatal(err)
		}
	}
	got, err := NewestRun(runs)
	if err != nil || filepath.Base(got) != "newest" {
		t.Errorf("%s, %v", got, err)
	}
	_, err = Open(background, runs)
	wantError(t, err, "holds runs", filepath.Join(runs, "newest"))
}

func TestCancelledCallsDoNotSkipCheckpoints(t *testing.T) {
	run := t.TempDir()
	dir := mustSave(t, run, 1)
	ctx, cancel := context.WithCancel(background)
	cancel()
	_, skipped, err := Latest(ctx, run)
	if !errors.Is(err, context.Canceled) || len(skipped) != 0 {
		t.Errorf("Latest: %v, %v", skipped, err)
	}
	for what, err := range map[string]error{
		"Verify": Verify(ctx, dir),
		"Open":   second(Open(ctx, run)),
		"Save":   second(Save(ctx, run, toy(2))),
		"Again":  second(Save(ctx, run, toy(1))),
	} {
		if !errors.Is(err, context.Canceled) {
			t.Errorf("%s: %v", what, err)
		}
	}
	if strings.Contains(strings.Join(names(t, Dir(run)), " "), tempSuffix) {
		t.Error("a cancelled save left its directory")
	}
}

func second[T any](_ T, err error) error { return err }

// A checkpoint's place leads to its run, and back.
func TestTheRunOfACheckpoint(t *testing.T) {
	for run, step := range map[string]int{"runs/a": 7, "/x": 123456789, ".": 0} {
		dir := StepDir(filepath.FromSlash(run), step)
		if got := RunOf(dir + string(filepath.Separator)); got != filepath.FromSlash(run) {
			t.Errorf("%s is of the run %q, not %s", dir, got, run)
		}
	}
	for _, elsewhere := range []string{"step-00000007", "models/step-00000007", "/"} {
		if got := RunOf(filepath.FromSlash(elsewhere)); got != "" {
			t.Errorf("%s is of the run %q", elsewhere, got)
		}
	}
}
