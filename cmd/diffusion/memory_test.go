package main

import (
	"fmt"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"unstir"
)

// fitting is the number that a message says is the largest that fits.
func fitting(t *testing.T, what, message string) int {
	t.Helper()
	found := regexp.MustCompile(what + ` that fits is (\d+)`).FindStringSubmatch(message)
	if found == nil {
		t.Fatalf("the message names no %s that fits: %s", what, message)
	}
	n, err := strconv.Atoi(found[1])
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// A run that would not fit into memory ends before it has written anything, and names the largest slice that fits:
// that one runs, and the next does not.
func TestTrainForeseesMemory(t *testing.T) {
	workspace(t)
	args := func(slice int) []string {
		return []string{"train", "--config", "tiny.toml", "--steps", "1", "--set", "train.batch_size=64", "--set", fmt.Sprintf("train.slice=%d", slice)}
	}
	t.Setenv("UNSTIR_MEMORY", "3000000")
	r := call(args(64)...)
	has(t, "stderr", r.stderr, "does not fit into memory", "with slices of 64 images", "3 MB available (UNSTIR_MEMORY)")
	if r.code != exitFailed || exists(filepath.Join("runs", "tiny")) {
		t.Errorf("exit code %d, and a run's directory is there: %v", r.code, exists(filepath.Join("runs", "tiny")))
	}
	slice := fitting(t, "train.slice", r.stderr)
	if r := call(args(slice + 1)...); r.code != exitFailed || fitting(t, "train.slice", r.stderr) != slice {
		t.Errorf("a slice of %d: exit code %d, %s", slice+1, r.code, r.stderr)
	}
	must(t, args(slice)...)

	t.Setenv("UNSTIR_MEMORY", "1200000")
	r = call(append(args(64), "--out", "other")...)
	has(t, "stderr", r.stderr, "with any train.slice more is needed")
	t.Setenv("UNSTIR_MEMORY", "40000")
	r = call(append(args(64), "--out", "other")...)
	has(t, "stderr", r.stderr, "parameters of the model with their moments and gradient alone")
	if r.code != exitFailed || exists("other") {
		t.Errorf("exit code %d, and a run's directory is there: %v", r.code, exists("other"))
	}
}

// So does sampling, which names the largest batch; encode and predict go the same way.
func TestSampleForeseesMemory(t *testing.T) {
	workspaceWithRun(t)
	sample := func(batch int) []string {
		return []string{"sample", "--sampler", "ddim", "--steps", "2", "--n", "64", "--batch", strconv.Itoa(batch), "--out", "x.npy"}
	}
	t.Setenv("UNSTIR_MEMORY", "3000000")
	r := call(sample(64)...)
	has(t, "stderr", r.stderr, "a batch of 64 images does not fit into memory")
	if r.code != exitFailed || exists("x.npy") {
		t.Errorf("exit code %d, and x.npy is there: %v", r.code, exists("x.npy"))
	}
	batch := fitting(t, "batch", r.stderr)
	if r := call(sample(batch + 1)...); r.code != exitFailed || fitting(t, "batch", r.stderr) != batch {
		t.Errorf("a batch of %d: exit code %d, %s", batch+1, r.code, r.stderr)
	}
	must(t, sample(batch)...)

	t.Setenv("UNSTIR_MEMORY", "1000")
	for _, args := range [][]string{
		sample(1),
		{"predict", "--x", "x.npy", "--t", "3", "--out", "y.npy"},
		{"encode", "--images", "x.npy", "--out", "y.npy"},
		{"interpolate", "--from", "1", "--to", "2", "--out", "y.npy"},
	} {
		r := call(args...)
		has(t, args[0], r.stderr, "not even one image at a time fits into memory")
		if r.code != exitFailed || exists("y.npy") {
			t.Errorf("%s: exit code %d", args[0], r.code)
		}
	}
}

// So does what is written: a grid's pixels, and an animation's frames, of which there are many. A directory holds one
// batch at a time.
func TestAnOutputForeseesMemory(t *testing.T) {
	workspaceWithRun(t)
	t.Setenv("UNSTIR_MEMORY", "3000000")
	sample := func(n int, out string) []string {
		return strings.Fields(fmt.Sprintf("sample --sampler ddim --steps 1 --batch 4 --n %d --out %s", n, out))
	}
	for _, out := range []string{"x.png", "x.gif"} {
		r := call(sample(5000, out)...)
		has(t, "stderr", r.stderr, "what is written of 5000 images does not fit into memory", "in a directory of PNG files any number does")
		if r.code != exitFailed || exists(out) {
			t.Errorf("%s: exit code %d, and the file is there: %v", out, r.code, exists(out))
		}
		n := fitting(t, "number of images", r.stderr)
		if r := call(sample(n+1, out)...); r.code != exitFailed || fitting(t, "number of images", r.stderr) != n {
			t.Errorf("%s of %d images: exit code %d, %s", out, n+1, r.code, r.stderr)
		}
		must(t, sample(n, out)...)
	}
	must(t, sample(200, "many")...)

	p, err := unstir.Open(t.Context(), "runs/tiny")
	if err != nil {
		t.Fatal(err)
	}
	c, h, w := p.Shape()
	still, walk := &output{kind: ".png"}, &output{kind: ".gif"}
	if a, b := still.memory(p, 7, []int{60}), still.memory(p, 7, []int{60, 60}); b <= 2*a {
		t.Errorf("two samplers take %d bytes, one %d: they are shown on a sheet beside their grids", b, a)
	}
	if got, least := walk.memory(p, 7, []int{60}), int64(7*60*2*8*c*h*w); got <= least {
		t.Errorf("a walk takes %d bytes; x_t and x_0 alone take %d", got, least)
	}
}

// A run that goes on keeps its slice: the message names no other one as if the run could take it, and with another one
// it says that the run cannot change it.
func TestAResumedRunForeseesMemory(t *testing.T) {
	workspace(t)
	args := []string{"train", "--config", "tiny.toml", "--set", "train.batch_size=64", "--set", "train.slice=64", "--steps"}
	must(t, append(args, "2", "--stop-at", "1")...)
	t.Setenv("UNSTIR_MEMORY", "3000000")
	r := call(append(args, "2", "--resume", "auto")...)
	has(t, "stderr", r.stderr, "it must go on in slices of 64 images", "free memory for it, or begin another run, with train.slice = ")
	if r.code != exitFailed || strings.Contains(r.stderr, "that fits is") {
		t.Errorf("exit code %d, %s", r.code, r.stderr)
	}
	for _, slice := range []string{"8", "60"} {
		r = call(append(args, "2", "--resume", "auto", "--set", "train.slice="+slice)...)
		has(t, "stderr", r.stderr, "train.slice was 64 and is now "+slice)
		if r.code != exitUsage {
			t.Errorf("exit code %d, %s", r.code, r.stderr)
		}
	}
}

func TestMemoryMustBeANumberOfBytes(t *testing.T) {
	t.Setenv("UNSTIR_MEMORY", "2GB")
	r := call("presets")
	has(t, "stderr", r.stderr, "UNSTIR_MEMORY=2GB", "a whole number of bytes")
	if r.code != exitUsage {
		t.Errorf("exit code %d, want %d", r.code, exitUsage)
	}
}
