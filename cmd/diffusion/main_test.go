package main

import (
	"bytes"
	"context"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"unstir/nn/kernel"
)

// asProgram makes the test's binary run the program itself: for what only a process of its own shows, such as
// environment variables and signals.
const asProgram = "UNSTIR_TEST_RUN_PROGRAM"

// command is the program in a process of its own.
func command(ctx context.Context, args ...string) *exec.Cmd {
	c := exec.CommandContext(ctx, os.Args[0], args...)
	c.Env = append(os.Environ(), asProgram+"=1")
	return c
}

func TestMain(m *testing.M) {
	diskPatience = 100 * time.Millisecond
	if os.Getenv(asProgram) != "" {
		main()
	}
	hangUpByDefault()
	code := m.Run()
	for _, dir := range []string{trained.dir, evaluated.dir} {
		if dir != "" {
			os.RemoveAll(dir)
		}
	}
	os.Exit(code)
}

// result is what a user sees of a command.
type result struct {
	code        int
	out, stderr string
}

// diffusion runs a command in the current directory.
func call(args ...string) result {
	return callContext(context.Background(), args...)
}

func callContext(ctx context.Context, args ...string) result {
	defer kernel.SetThreads(kernel.Threads()) // --threads is the process's
	var out, stderr bytes.Buffer
	code := run(ctx, args, &out, &stderr)
	return result{code, out.String(), stderr.String()}
}

// must runs a command that has to work and returns its standard output.
func must(t *testing.T, args ...string) string {
	t.Helper()
	r := call(args...)
	if r.code != exitDone {
		t.Fatalf("diffusion %s: exit code %d\n%s", strings.Join(args, " "), r.code, r.stderr)
	}
	return r.out
}

// tinyConfig is a model of two levels with attention, whose runs depend on everything that a run may depend on.
const tinyConfig = `
name = "tiny"
seed = 3
[data]
dataset = "folder"
dir = "images"
channels = 1
flip = true
[model]
block_out_channels = [8, 16]
layers_per_block = 1
norm_num_groups = 4
dropout = 0.1
[scheduler]
num_train_timesteps = 20
[train]
steps = 6
batch_size = 4
slice = 3
lr = 1e-2
lr_schedule = "cosine"
warmup_steps = 2
[checkpoint]
every = 2
keep = 0
[preview]
every = 0
`

// tinySize is the number of rows and columns of the images.
const tinySize = 8

// workspace makes a directory with tiny.toml and the images it names, and goes there.
func workspace(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	fill(t, dir)
	t.Chdir(dir)
	return dir
}

func fill(t *testing.T, dir string) {
	t.Helper()
	writeFile(t, filepath.Join(dir, "tiny.toml"), []byte(tinyConfig))
	if err := os.Mkdir(filepath.Join(dir, "images"), 0o755); err != nil {
		t.Fatal(err)
	}
	for i := range 7 {
		m := image.NewGray(image.Rect(0, 0, tinySize, tinySize))
		for y := range tinySize {
			for x := range tinySize {
				if (x+i)%3 == 0 || y == i {
					m.SetGray(x, y, color.Gray{Y: 255})
				}
			}
		}
		var b bytes.Buffer
		if err := png.Encode(&b, m); err != nil {
			t.Fatal(err)
		}
		writeFile(t, filepath.Join(dir, "images", fmt.Sprintf("%d.png", i)), b.Bytes())
	}
}

// trained is a workspace with a run of six steps, made once.
var trained struct {
	sync.Once
	dir string
}

// workspaceWithRun makes a workspace with a run in runs/tiny and goes there.
func workspaceWithRun(t *testing.T) string {
	t.Helper()
	trained.Do(func() {
		dir, err := os.MkdirTemp("", "unstir-test-")
		if err != nil {
			t.Fatal(err)
		}
		trained.dir = dir
		fill(t, dir)
		t.Chdir(dir)
		must(t, "train", "--config", "tiny.toml")
	})
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS(trained.dir)); err != nil {
		t.Fatal(err)
	}
	t.Chdir(dir)
	return dir
}

func writeFile(t *testing.T, path string, data []byte) {
	t.Helper()
	if err := os.WriteFile(path, data, 0o644); err != nil {
		t.Fatal(err)
	}
}

func readFile(t *testing.T, path string) []byte {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// flipByte damages a file in the middle.
func flipByte(t *testing.T, path string) {
	t.Helper()
	data := readFile(t, path)
	data[len(data)/2] ^= 1
	writeFile(t, path, data)
}

// files lists what lies below a directory, by slashed path, with its contents.
func files(t *testing.T, dir string) map[string]string {
	t.Helper()
	all := map[string]string{}
	err := filepath.Walk(dir, func(path string, info os.FileInfo, err error) error {
		if err == nil && info.Mode().IsRegular() {
			all[filepath.ToSlash(path)] = string(readFile(t, path))
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func has(t *testing.T, what, text string, wants ...string) {
	t.Helper()
	for _, want := range wants {
		if !strings.Contains(text, want) {
			t.Errorf("%s lacks %q:\n%s", what, want, text)
		}
	}
}

// native turns the slashes of a message about paths into the system's.
func native(s string) string {
	if runtime.GOOS == "windows" {
		return filepath.FromSlash(s)
	}
	return s
}
