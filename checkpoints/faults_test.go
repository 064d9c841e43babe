package checkpoints

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"unstir/internal/disk"
)

// everyFault calls act once for each operation of the disk that it does, which fails; from then on all of them do if
// the disk is to be dead. Setup is called before and check after, both without faults.
func everyFault(t *testing.T, dead bool, setup func() string, act func(run string) error, check func(run, what string, err error)) {
	t.Helper()
	for k := 0; ; k++ {
		run := setup()
		n, what := 0, ""
		disk.Inject(t, func(op disk.Op, path string) error {
			if n++; n <= k || n > k+1 && !dead {
				return nil
			}
			if what == "" {
				what = string(op) + " " + path
			}
			if op == disk.Write {
				return &disk.Short{N: 3, Err: syscall.EIO}
			}
			return syscall.EIO
		})
		err := act(run)
		disk.Inject(t, nil)
		if what == "" {
			if k < 4 || err != nil {
				t.Errorf("%d operations, error %v", k, err)
			}
			os.RemoveAll(run)
			return
		}
		check(run, what, err)
		if t.Failed() {
			t.Fatalf("%s failed", what)
		}
		os.RemoveAll(run)
	}
}

// A save in which any operation fails leaves the checkpoint whole or not at all, the older ones as they were, and an
// error that names the cause; the next save works and clears away what could not be removed.
func TestASaveThatFailsAnywhere(t *testing.T) {
	base := disk.MemoryDir(t)
	for _, dead := range []bool{false, true} {
		everyFault(t, dead, func() string {
			run := filepath.Join(base, "run")
			mustSave(t, run, 1)
			return run
		}, func(run string) error {
			_, err := Save(background, run, toy(2))
			return err
		}, func(run, what string, err error) {
			if err != nil && (!errors.Is(err, syscall.EIO) || !strings.Contains(err.Error(), "saving step 2 to "+Dir(run))) {
				t.Errorf("error %v", err)
			}
			list := []string{filepath.Base(must(Latest(background, run)))}
			there := isDir(filepath.Join(Dir(run), stepName(2)))
			if there != (list[0] == stepName(2)) || err == nil && !there {
				t.Errorf("the newest is %s, error %v", list[0], err)
			}
			if _, err := Save(background, run, toy(2)); err != nil && !(there && errors.Is(err, fs.ErrExist)) {
				t.Error(err)
			}
			mustSave(t, run, 3)
			if got := names(t, Dir(run)); !slices.Equal(got, []string{".lock", stepName(1), stepName(2), stepName(3)}) {
				t.Errorf("left over: %q", got)
			}
		})
	}
}

func must(dir string, _ []Skipped, err error) string {
	if err != nil {
		panic(err)
	}
	return dir
}

// Pruning that fails anywhere leaves the newest checkpoints, without a gap.
func TestPruningThatFailsAnywhere(t *testing.T) {
	base := disk.MemoryDir(t)
	everyFault(t, true, func() string {
		run := filepath.Join(base, "run")
		for step := 1; step <= 4; step++ {
			mustSave(t, run, step)
		}
		return run
	}, func(run string) error {
		_, err := Prune(background, run, 1)
		return err
	}, func(run, what string, err error) {
		if err != nil && !errors.Is(err, syscall.EIO) || err == nil && !strings.HasPrefix(what, string(disk.Close)) { // of .lock
			t.Errorf("error %v", err)
		}
		steps, listErr := listSteps(Dir(run))
		if listErr != nil || len(steps) == 0 {
			t.Fatal(steps, listErr)
		}
		for i, dir := range steps {
			if filepath.Base(dir) != stepName(4-i) || Verify(background, dir) != nil {
				t.Errorf("left: %q", steps)
			}
		}
		if err := RemoveLeftovers(run); err != nil {
			t.Error(err)
		}
		if slices.ContainsFunc(names(t, Dir(run)), isLeftover) {
			t.Errorf("left over: %q", names(t, Dir(run)))
		}
	})
}

// An export that fails anywhere leaves a pipeline or nothing.
func TestAnExportThatFailsAnywhere(t *testing.T) {
	base := disk.MemoryDir(t)
	c := toy(1)
	everyFault(t, false, func() string { return filepath.Join(base, "exported") }, func(dir string) error {
		return Export(background, dir, &Pipeline{UNet: c.UNet, Scheduler: c.Scheduler, Weights: c.EMA})
	}, func(dir, what string, err error) {
		got := names(t, base)
		hidden := strings.HasPrefix(what, string(disk.Delete)) // the one thing that can stay is what could not be removed
		got = slices.DeleteFunc(got, func(name string) bool { return hidden && strings.HasPrefix(name, ".") })
		renamed := slices.Equal(got, []string{"exported"})
		if !renamed && len(got) > 0 || err == nil != renamed && !strings.HasPrefix(what, string(disk.Sync)) {
			t.Errorf("error %v, and there is %q", err, got)
		}
		for _, name := range names(t, base) {
			os.RemoveAll(filepath.Join(base, name))
		}
	})
}

// A checkpoint with a file of the user's is not pruned; one with a file manager's is.
func TestPruningLeavesTheFilesOfOthers(t *testing.T) {
	run := t.TempDir()
	for step := 1; step <= 4; step++ {
		mustSave(t, run, step)
	}
	for name, text := range map[string]string{
		stepName(1) + "/.DS_Store": "", stepName(2) + "/samples/best.png": "mine", "notes.txt": "mine", ".step-notes": "mine", "step-3.tar": "mine",
	} {
		path := filepath.Join(Dir(run), filepath.FromSlash(name))
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o777), os.WriteFile(path, []byte(text), 0o666)); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := Prune(background, run, 1); err != nil {
		t.Fatal(err)
	}
	mustSave(t, run, 5)
	if got, want := names(t, Dir(run)), []string{".lock", ".step-notes", "notes.txt", stepName(2), stepName(4), stepName(5), "step-3.tar"}; !slices.Equal(got, want) {
		t.Errorf("left: %q, want %q", got, want)
	}
	if err := Verify(background, filepath.Join(Dir(run), stepName(2))); err != nil {
		t.Error(err)
	}
}

// A file in the place of a checkpoint is not replaced.
func TestASaveDoesNotReplaceAFile(t *testing.T) {
	run := t.TempDir()
	mustSave(t, run, 1)
	path := filepath.Join(Dir(run), stepName(2))
	if err := os.WriteFile(path, []byte("mine"), 0o666); err != nil {
		t.Fatal(err)
	}
	_, err := Save(background, run, toy(2))
	wantError(t, err, path+" is in the way")
	if text, err := os.ReadFile(path); string(text) != "mine" {
		t.Errorf("it is %q now (%v)", text, err)
	}
}
