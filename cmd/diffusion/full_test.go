package main

import (
	"maps"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"unstir/internal/disk"
)

// What a command writes is there whole or not at all: with a disk that becomes full at any operation, an earlier
// output stays as it was, nothing half written stays, and the error names the cause.
func TestAFullDiskLeavesTheOldOutput(t *testing.T) {
	workspaceWithRun(t)
	must(t, "sample", "--n", "2", "--sampler", "ddim", "--steps", "2", "--out", "x.npy")
	for _, args := range [][]string{
		{"sample", "--n", "1", "--sampler", "ddim", "--steps", "1", "--out", "out.png"},
		{"sample", "--n", "1", "--sampler", "ddim", "--steps", "1", "--out", "out.gif"},
		{"sample", "--n", "1", "--sampler", "ddim", "--steps", "1", "--out", "out.npy"},
		{"predict", "--x", "x.npy", "--t", "3", "--out", "out.npy"},
		{"encode", "--images", "images/1.png", "--steps", "1", "--refine", "0", "--out", "out.npy"},
		{"interpolate", "--from", "1", "--to", "2", "--frames", "2", "--steps", "1", "--out", "out.png"},
		{"report", "runs/tiny", "--out", "page.html"},
		{"export", "--out", "exported"},
	} {
		what := strings.Join(args, " ")
		out := args[len(args)-1]
		all := 0
		before := files(t, ".")
		disk.Inject(t, func(disk.Op, string) error { all++; return nil })
		must(t, args...)
		disk.Inject(t, nil)
		if args[0] == "export" { // nothing is written over there
			out = "again"
			args[len(args)-1] = out
		}
		old := files(t, ".")
		if all < 4 || maps.Equal(before, old) {
			t.Fatalf("%s: %d operations of the disk", what, all)
		}
		for k := 0; k < all; k += 1 + all/7 {
			n, last, renamed := 0, disk.Op(""), false
			disk.Inject(t, func(op disk.Op, path string) error {
				if n++; n <= k || op == disk.Delete { // to remove takes no room
					renamed = renamed || op == disk.Move
					return nil
				}
				last = op
				return syscall.ENOSPC
			})
			r := call(args...)
			disk.Inject(t, nil)
			if renamed { // only the directory could not be synced: the new output is there
				if err := os.RemoveAll("again"); err != nil {
					t.Fatal(err)
				}
				continue
			}
			if last == "" {
				t.Fatalf("%s: operation %d did not fail", what, k)
			}
			if r.code != exitFailed || !strings.Contains(r.stderr, syscall.ENOSPC.Error()) || !strings.Contains(r.stderr, filepath.Base(out)) {
				t.Errorf("%s: with the disk full at operation %d, %s, exit code %d\n%s", what, k, last, r.code, r.stderr)
			}
			if now := files(t, "."); !maps.Equal(old, now) {
				t.Fatalf("%s: with the disk full at operation %d, %s, the files have changed: %v", what, k, last, changes(old, now))
			}
		}
	}
}

// changes lists the files that differ.
func changes(a, b map[string]string) (list []string) {
	for name := range a {
		if a[name] != b[name] {
			list = append(list, name)
		}
	}
	for name := range b {
		if _, ok := a[name]; !ok {
			list = append(list, "new: "+name)
		}
	}
	return list
}

// A training run on a disk that is full from its start to its end says so and fails; nothing is left half written.
func TestTrainingOnAFullDisk(t *testing.T) {
	workspaceWithRun(t)
	must(t, "train", "--config", "tiny.toml", "--out", "a", "--stop-at", "2")
	disk.Inject(t, func(op disk.Op, path string) error {
		if op == disk.Write && strings.HasSuffix(path, ".safetensors") {
			return &disk.Short{N: 100, Err: syscall.ENOSPC}
		}
		return nil
	})
	r := call("train", "--out", "a", "--resume", "auto")
	disk.Inject(t, nil)
	if r.code != exitFailed {
		t.Errorf("exit code %d", r.code)
	}
	has(t, "stderr", r.stderr, "no checkpoint of step 4: saving step 4 to ", "no space left on device; training goes on, the next try is at step 6; the newest checkpoint is",
		"no space left on device; trying again for 100ms\n", "diffusion: train: saving step 6 to ",
		"the newest checkpoint is "+native("a/checkpoints/step-00000002")+", go on with: diffusion train --out a --resume auto")
	for name := range files(t, "a") {
		if strings.Contains(name, ".tmp") {
			t.Errorf("%s is left", name)
		}
	}
	must(t, "train", "--out", "a", "--resume", "auto")
	sameRun(t, "runs/tiny", "a")
}

// A directory in which nothing can be written ends the program before the first step.
func TestTrainingInAReadOnlyDirectory(t *testing.T) {
	workspace(t)
	disk.Inject(t, func(op disk.Op, _ string) error {
		if op == disk.MakeDir || op == disk.Open {
			return syscall.EROFS
		}
		return nil
	})
	r := call("train", "--config", "tiny.toml", "--out", "a")
	if r.code != exitFailed || !strings.Contains(r.stderr, syscall.EROFS.Error()) || strings.Contains(r.stderr, "model of") {
		t.Errorf("exit code %d\n%s", r.code, r.stderr)
	}
}
