package main

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"unstir/checkpoints"
	"unstir/internal/dirlock"
)

// logNumbers are a log's lines without the speed and the time, which differ from run to run.
func logNumbers(t *testing.T, path string) []string {
	t.Helper()
	var lines []string
	for line := range strings.Lines(string(readFile(t, path))) {
		var l map[string]any
		if err := json.Unmarshal([]byte(line), &l); err != nil {
			t.Fatalf("%s: %v", path, err)
		}
		for _, key := range []string{"images_per_s", "seconds_total"} {
			if _, ok := l[key]; !ok {
				t.Errorf("%s: a line without %s: %s", path, key, line)
			}
			delete(l, key)
		}
		text, err := json.Marshal(l)
		if err != nil {
			t.Fatal(err)
		}
		lines = append(lines, string(text))
	}
	return lines
}

// sameRun compares all that a run is: each line of the log, and the weights and moments of the last checkpoint.
func sameRun(t *testing.T, a, b string) {
	t.Helper()
	la, lb := logNumbers(t, filepath.Join(a, "log.jsonl")), logNumbers(t, filepath.Join(b, "log.jsonl"))
	if len(la) != 6 || strings.Join(la, "\n") != strings.Join(lb, "\n") {
		t.Errorf("the logs differ:\n%s\n\n%s", strings.Join(la, "\n"), strings.Join(lb, "\n"))
	}
	last := "checkpoints/step-00000006/"
	for _, name := range []string{"training/model.safetensors", "training/optimizer.safetensors", "unet/diffusion_pytorch_model.safetensors"} {
		if !bytes.Equal(readFile(t, filepath.Join(a, last+name)), readFile(t, filepath.Join(b, last+name))) {
			t.Errorf("%s differs", name)
		}
	}
}

// A run that was stopped, even after an odd number of steps and between checkpoints, goes on to the same numbers as
// one that was not, on any number of threads, from its directory alone.
func TestStopAndResumeGiveTheNumbersOfAnUninterruptedRun(t *testing.T) {
	workspaceWithRun(t)
	out := must(t, "train", "--config", "tiny.toml", "--out", "cut", "--stop-at", "3", "--threads", "1")
	has(t, "the output of a stopped run", out, "stopped at step 3", native("saved cut/checkpoints/step-00000003"),
		"go on with: diffusion train --out cut --resume auto")
	out = must(t, "train", "--out", "cut", "--resume", "auto", "--threads", "2")
	has(t, "the output of a finished run", out, "step 6, loss ", native("saved cut/checkpoints/step-00000006"),
		"sample with: diffusion sample --model cut --sampler ddim")
	sameRun(t, "runs/tiny", "cut")

	out = must(t, "train", "--out", "cut", "--resume", "auto")
	has(t, "the output of a complete run", out, "the run is complete: step 6 of 6")
}

// A run that is past the step to stop at has nothing to do, and says so.
func TestStopAtAStepThatIsDone(t *testing.T) {
	workspace(t)
	must(t, "train", "--config", "tiny.toml", "--out", "a", "--stop-at", "3")
	before := files(t, "a/checkpoints")
	for _, stop := range []string{"3", "1"} {
		out := must(t, "train", "--out", "a", "--resume", "auto", "--stop-at", stop)
		has(t, "the output", out, "stopped at step 3 already, and --stop-at is "+stop+": there is nothing to do",
			native("saved a/checkpoints/step-00000003"), "go on with: diffusion train --out a --resume auto")
	}
	if after := files(t, "a/checkpoints"); len(after) != len(before) {
		t.Errorf("%d files were %d", len(after), len(before))
	}
}

// --resume takes a run and a checkpoint as well, and an older checkpoint leads to the same end.
func TestResumeFromWhatIsNamed(t *testing.T) {
	workspaceWithRun(t)
	must(t, "train", "--config", "tiny.toml", "--out", "a", "--stop-at", "3")
	must(t, "train", "--resume", "a")
	sameRun(t, "runs/tiny", "a")
	out := must(t, "train", "--resume", "a/checkpoints/step-00000002")
	has(t, "the output", out, native("saved a/checkpoints/step-00000006"))
	sameRun(t, "runs/tiny", "a")
	must(t, "train", "--resume", "a/checkpoints/step-00000004", "--out", "b")
	sameCheckpoint := "checkpoints/step-00000006/training/model.safetensors"
	if !bytes.Equal(readFile(t, filepath.Join("a", sameCheckpoint)), readFile(t, filepath.Join("b", sameCheckpoint))) {
		t.Error("a run that went on in a new directory came out differently")
	}
}

// --resume auto begins where there is nothing to go on with: a script can always give it.
func TestResumeAutoBegins(t *testing.T) {
	workspaceWithRun(t)
	must(t, "train", "--config", "tiny.toml", "--out", "new", "--resume", "auto")
	sameRun(t, "runs/tiny", "new")
}

// Settings that may change from one start to the next are listed where they do.
func TestResumeTellsWhatChanged(t *testing.T) {
	workspaceWithRun(t)
	r := call("train", "--out", "runs/tiny", "--resume", "auto", "--steps", "7", "--set", "train.lr=2e-3")
	if r.code != exitDone {
		t.Fatal(r.stderr)
	}
	has(t, "stderr", r.stderr, "going on from step 6", "changed: train.steps was 6 and is now 7\n", "changed: train.lr was 0.01 and is now 0.002\n")
	if n := strings.Count(r.stderr, "changed: "); n != 2 {
		t.Errorf("%d changes are listed, want 2:\n%s", n, r.stderr)
	}
}

// The run keeps where its data are, so that it goes on from any working directory.
func TestARunGoesOnFromAnotherDirectory(t *testing.T) {
	dir := workspace(t)
	must(t, "train", "--config", "tiny.toml", "--data-dir", "images", "--out", "a run", "--stop-at", "2")
	t.Chdir(t.TempDir())
	out := must(t, "train", "--out", filepath.Join(dir, "a run"), "--resume", "auto", "--stop-at", "4")
	has(t, "the output", out, `diffusion train --out "`+filepath.Join(dir, "a run")+`" --resume auto`)
}

// SIGINT, which cancels the context, saves and says how to go on.
func TestInterruptSaves(t *testing.T) {
	workspace(t)
	ctx, cancel := context.WithCancel(context.Background())
	out, in := io.Pipe()
	done := make(chan int)
	var stdout bytes.Buffer
	go func() {
		code := run(ctx, []string{"train", "--config", "tiny.toml", "--steps", "1000000", "--set", "preview.every=3", "--set",
			"preview.steps=2", "--set", "preview.images=2", "--set", "checkpoint.every=0"}, &stdout, in)
		in.Close()
		done <- code
	}()
	stderr := watch(t, out, "preview ", cancel)
	if code := <-done; code != exitDone {
		t.Fatalf("exit code %d\n%s", code, stderr)
	}
	has(t, "stdout", stdout.String(), "stopped at step ", "go on with: diffusion train --out "+native("runs/tiny")+" --resume auto")
	if _, _, err := checkpoints.Latest(t.Context(), "runs/tiny"); err != nil {
		t.Error(err)
	}
	has(t, "stdout", must(t, "train", "--out", "runs/tiny", "--resume", "auto", "--stop-at", "1"), "stopped at step ", " already, and --stop-at is 1: there is nothing to do; saved ")
}

// watch reads all that is written, and acts when it has the text.
func watch(t *testing.T, r io.Reader, text string, act func()) string {
	t.Helper()
	var all strings.Builder
	buf := make([]byte, 4096)
	acted := false
	for {
		n, err := r.Read(buf)
		all.Write(buf[:n])
		if !acted && strings.Contains(all.String(), text) {
			acted = true
			act()
		}
		if err != nil {
			return all.String()
		}
	}
}

// Of a run whose newest checkpoint is damaged the one before is taken, and the end is the same; a run that has no
// whole checkpoint is refused and left as it is.
func TestResumeSkipsDamagedCheckpoints(t *testing.T) {
	workspaceWithRun(t)
	must(t, "train", "--config", "tiny.toml", "--out", "a", "--stop-at", "4")
	weights := "training/model.safetensors"
	flipByte(t, filepath.Join("a/checkpoints/step-00000004", weights))
	r := call("train", "--out", "a", "--resume", "auto")
	if r.code != exitDone {
		t.Fatal(r.stderr)
	}
	has(t, "stderr", r.stderr, native("skipped a/checkpoints/step-00000004: "), weights+" has changed", "going on from step 2")
	sameRun(t, "runs/tiny", "a")

	must(t, "train", "--config", "tiny.toml", "--out", "b", "--stop-at", "1")
	flipByte(t, filepath.Join("b/checkpoints/step-00000001", weights))
	before := files(t, "b")
	r = call("train", "--out", "b", "--resume", "auto")
	if r.code != exitFailed {
		t.Errorf("exit code %d", r.code)
	}
	has(t, "stderr", r.stderr, "none of the 1 checkpoints", native("b/checkpoints"), weights+" has changed")
	after := files(t, "b")
	for name, text := range before {
		if after[name] != text {
			t.Errorf("%s has changed", name)
		}
	}
}

// A preview that cannot be written is told of, and the run goes on.
func TestAPreviewThatFailsDoesNotEndTheRun(t *testing.T) {
	workspaceWithRun(t)
	if err := os.MkdirAll("a/previews/step-00000002.png", 0o755); err != nil {
		t.Fatal(err)
	}
	r := call("train", "--config", "tiny.toml", "--out", "a", "--set", "preview.every=2", "--set", "preview.images=2", "--set", "preview.steps=2")
	if r.code != exitDone {
		t.Fatal(r.stderr)
	}
	has(t, "stderr", r.stderr, "no preview of step 2: ", native("preview a/previews/step-00000006.png\n"))
	sameRun(t, "runs/tiny", "a")
}

// When a checkpoint cannot be written, the error names the newest one that there is, and how to go on.
func TestACheckpointThatFailsNamesTheLastOne(t *testing.T) {
	workspaceWithRun(t)
	must(t, "train", "--config", "tiny.toml", "--out", "a", "--stop-at", "2")
	lock, err := dirlock.Take(checkpoints.Dir("a"))
	if err != nil {
		t.Fatal(err)
	}
	r := call("train", "--out", "a", "--resume", "auto")
	if err := lock.Unlock(); err != nil {
		t.Fatal(err)
	}
	if r.code != exitFailed || r.out != "" {
		t.Errorf("exit code %d, output %q", r.code, r.out)
	}
	has(t, "stderr", r.stderr, "no checkpoint of step 4: saving step 4", "the next try is at step 6", "saving step 6", "trying again for 100ms", native("the newest checkpoint is a/checkpoints/step-00000002"),
		"go on with: diffusion train --out a --resume auto")
	must(t, "train", "--out", "a", "--resume", "auto")
	sameRun(t, "runs/tiny", "a")
}

// What a run leaves: the configuration in full, a log, a plot, previews, checkpoints.
func TestARunLeavesItsFiles(t *testing.T) {
	workspaceWithRun(t)
	for _, name := range []string{"config.toml", "log.jsonl", "loss.png", "checkpoints/step-00000002/manifest.json",
		"checkpoints/step-00000006/model_index.json"} {
		if _, err := os.Stat(filepath.Join("runs/tiny", name)); err != nil {
			t.Error(err)
		}
	}
	must(t, "train", "--config", "runs/tiny/config.toml", "--data-dir", "images", "--out", "again")
	sameRun(t, "runs/tiny", "again")
}
