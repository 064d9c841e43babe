package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"
)

// An error quotes no more than a part of what was wrong, and nothing that a terminal would take for a command: one that
// is longer than what waits for a reader would not be shown at all.
func TestAnErrorIsALineThatIsShown(t *testing.T) {
	workspaceWithRun(t)
	long := strings.Repeat("Z", 100_000)
	for _, args := range [][]string{
		{"sample", "--sampler", long},
		{"sample", "--label", long},
		{"sample", "--model", long},
		{"sample", "--out", long + ".png"},
		{"train", "--config", "tiny.toml", "--set", long},
		{"predict", "--t", long, "--x", long, "--out", "y.npy"},
		{"sample", "--size", "\x1b[2J"},
		{"sample", "--model", "no\x1b[2J"},
	} {
		r := call(args...)
		_, line, found := strings.Cut(r.stderr, "diffusion: ")
		if r.code == exitDone || !found || len(line) > 2000 || strings.Contains(line, "\x1b") {
			t.Errorf("%s %s: exit code %d, %d bytes of error, %.200q", args[0], args[1], r.code, len(line), line)
		}
	}
}

// A path in a command that a message names is one word for a shell, whatever is in it.
func TestPathsInCommandsAreOneWord(t *testing.T) {
	sh, err := exec.LookPath("sh")
	if err != nil || os.PathSeparator != '/' {
		t.Skip("there is no sh")
	}
	for _, path := range []string{"runs/a", "with space", `"`, "it's", `it's "$HOME"`, "$HOME", "`id`", `a\b`, "a*b", "[a]", "{a,b}", "a\nb", "!x"} {
		got, err := exec.Command(sh, "-c", "printf %s "+quote(path)).Output()
		if err != nil || string(got) != path {
			t.Errorf("%q is written as %s, which is %q (%v)", path, quote(path), got, err)
		}
	}
	if got := quote("with space"); got != `"with space"` {
		t.Errorf("a path with a space is %s, want double quotes, as every shell has", got)
	}
}

// A run whose pictures have changed says so, and what to do.
func TestARunWhosePicturesChangedSaysWhatToDo(t *testing.T) {
	workspaceWithRun(t)
	must(t, "sample", "--out", "others", "--n", "3", "--sampler", "ddim", "--steps", "2")
	r := call("train", "--config", "tiny.toml", "--resume", "auto", "--data-dir", "others")
	has(t, "stderr", r.stderr, "cannot go on: the dataset was folder: ", ": give it the pictures that it began with, or begin another run")
	if r.code != exitUsage {
		t.Errorf("exit code %d", r.code)
	}
}

// busy is standard error of a program that is told to stop at a moment when it cannot: it goes on when it has said so.
type busy struct {
	strings.Builder
	mu   sync.Mutex
	stop func()
	told chan struct{}
}

func (b *busy) Write(p []byte) (int, error) {
	b.mu.Lock()
	b.Builder.Write(p)
	b.mu.Unlock()
	switch text := string(p); {
	case strings.HasPrefix(text, "model "):
		b.stop()
		select {
		case <-b.told:
		case <-time.After(time.Minute):
		}
	case strings.HasPrefix(text, "still stopping"):
		close(b.told)
	}
	return len(p), nil
}

// A program that is told to stop in the middle of what cannot be cut short says what it waits for, and how not to wait.
// One that stops at once says nothing of it.
func TestAProgramThatCannotStopYetSaysSo(t *testing.T) {
	workspaceWithRun(t)
	defer func(d time.Duration) { untilTold = d }(untilTold)
	for _, late := range []bool{true, false} {
		ctx, cancel := context.WithCancel(t.Context())
		stderr := &busy{stop: cancel, told: make(chan struct{})}
		if untilTold = time.Millisecond; !late {
			untilTold = time.Hour
			close(stderr.told)
		}
		code := run(ctx, []string{"sample", "--out", fmt.Sprintf("late-%v", late)}, io.Discard, stderr)
		const want = "still stopping: the step under way has to end first (Ctrl-C or kill again: end at once)\n"
		if code != exitFailed || strings.Contains(stderr.String(), want) != late {
			t.Errorf("late is %v: exit code %d, %s", late, code, stderr.String())
		}
	}
}
