package main

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// A real disk that becomes full: checkpoints that are all kept fill it, which is foreseen. Training goes on to its end, the checkpoints
// that are there are whole, and once there is room the run goes on to the same end.
func TestTrainingOnARealDiskThatFills(t *testing.T) {
	workspaceWithRun(t)
	if err := os.Mkdir("disk", 0o755); err != nil {
		t.Fatal(err)
	}
	const size = "1200k" // a checkpoint takes about 800k
	if err := syscall.Mount("tmpfs", "disk", "tmpfs", 0, "size="+size); err != nil {
		t.Skipf("NOT TESTED HERE: a file system of %s could not be mounted, which takes root: %v", size, err)
	}
	dir, err := filepath.Abs("disk")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, syscall.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	r := runProgram(t, "", "train", "--config", "tiny.toml", "--out", "disk/a")
	if r.code != exitFailed {
		t.Errorf("exit code %d\n%s", r.code, r.stderr)
	}
	has(t, "stderr", r.stderr, "the disk of disk/a has 1.2 MB free, and two checkpoints take 1.4 MB: saving may fail\n",
		"no space left on device; training goes on, the next try is at step 6", "trying again for ",
		"the newest checkpoint is disk/a/checkpoints/step-00000002, go on with: ")
	for name := range files(t, "disk") {
		if strings.Contains(name, ".tmp") {
			t.Errorf("%s is left", name)
		}
	}
	if r := runProgram(t, "", "inspect", "disk/a"); r.code != exitDone {
		t.Error(r.stderr)
	}
	if err := syscall.Mount("tmpfs", "disk", "tmpfs", syscall.MS_REMOUNT, "size=64m"); err != nil {
		t.Fatal(err)
	}
	if r := runProgram(t, "", "train", "--out", "disk/a", "--resume", "auto"); r.code != exitDone {
		t.Error(r.stderr)
	}
	sameRun(t, "runs/tiny", "disk/a")
}
