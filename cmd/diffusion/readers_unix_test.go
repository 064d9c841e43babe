//go:build unix

package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// A reader of the progress may leave, be absent from the start, or stop reading, as a terminal does after Ctrl-S or over
// a connection that hangs: the run ends as usual.
func TestARunNeedsNoReader(t *testing.T) {
	workspace(t)
	must(t, join(short, []string{"--out", "whole"})...)
	for i, script := range []string{
		`"$0" "$@" 2>&1 | head -n 3`,
		`"$0" "$@" 2>&1 | true`,
		`"$0" "$@" 2>&1 >&- | head -n 1`,
		`exec "$0" "$@" <&- >&- 2>&-`,
	} {
		run := fmt.Sprint("run", i)
		if out, err := program(t, script, join(short, []string{"--out", run})...).CombinedOutput(); err != nil {
			t.Fatalf("%s: %v\n%s", script, err, out)
		}
		sameAt(t, run, "whole", 10)
	}
	c := program(t, "", join(short, []string{"--out", "held"})...)
	c.Stderr = fullPipe(t)
	out, err := c.Output()
	if err != nil {
		t.Fatal(err)
	}
	has(t, "stdout", string(out), "step 10, loss ")
	sameAt(t, "held", "whole", 10)
}

// fullPipe is a pipe that takes nothing.
func fullPipe(t *testing.T) *os.File {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close(); w.Close() })
	if err := w.SetWriteDeadline(time.Now().Add(50 * time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	for err == nil {
		_, err = w.Write(make([]byte, 4096))
	}
	return w
}

// What a stopped reader does not take is dropped; once it reads again, it gets what is written then.
func TestMessagesWaitForNobody(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	defer w.Close()
	m := newMessages(w)
	line := []byte(strings.Repeat("x", 99) + "\n")
	for range 1 << 14 { // 1.6 MB: more than a pipe has room for
		if n, err := m.Write(line); n != len(line) || err != nil {
			t.Fatalf("%d, %v", n, err)
		}
	}
	m.mu.Lock()
	if len(m.waiting) > maxWaiting {
		t.Errorf("%d bytes wait", len(m.waiting))
	}
	m.mu.Unlock()
	read := make(chan string)
	go func() { read <- watch(t, r, "", func() {}) }()
	m.flush()
	m.Write([]byte("the last\n"))
	m.flush()
	w.Close()
	got := <-read
	if strings.Trim(got, "x\n") != "the last" || !strings.HasSuffix(got, "x\nthe last\n") || len(got) < maxWaiting/2 {
		t.Errorf("%d bytes were read, which end in %q", len(got), got[max(0, len(got)-20):])
	}
}

// Where messages and results go to one place, they stand in the order in which they were written.
func TestResultsComeAfterTheMessagesBeforeThem(t *testing.T) {
	workspace(t)
	out, err := program(t, "", "train", "--config", "tiny.toml", "--steps", "1").CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	lines := strings.Split(strings.TrimSpace(string(out)), "\n")
	if n := len(lines); n < 4 || !strings.HasPrefix(lines[n-2], "step 1, loss ") || !strings.HasPrefix(lines[n-1], "sample with: ") {
		t.Errorf("the last lines are not the results:\n%s", out)
	}
}

// Reaching the file-size limit, which sends a signal, is an error like any other.
func TestALargestFileSizeIsAnError(t *testing.T) {
	workspace(t)
	out, err := program(t, `ulimit -f 100; exec "$0" "$@"`, "train", "--config", "tiny.toml").CombinedOutput()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() != exitFailed {
		t.Errorf("%v, want exit code 1", err)
	}
	has(t, "the output", string(out), "file too large")
	if strings.Contains(string(out), "goroutine ") {
		t.Errorf("the program crashed:\n%s", out)
	}
}

// withoutReader is a pipe that nobody reads.
func withoutReader(t *testing.T) *os.File {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	r.Close()
	t.Cleanup(func() { w.Close() })
	return w
}

// Commands whose output nobody reads make their files, and end as if all were read.
func TestAResultNeedsNoReader(t *testing.T) {
	workspaceWithRun(t)
	must(t, "sample", "--model", "runs/tiny", "--n", "2", "--steps", "2", "--sampler", "ddim", "--out", "x.npy")
	for _, x := range []struct{ file, args string }{
		{"a.png", "sample --model runs/tiny --n 2 --steps 2 --sampler ddim --out a.png"},
		{"dir/00001.png", "sample --model runs/tiny --n 2 --steps 2 --sampler ddim --out dir/"},
		{"e.npy", "encode --model runs/tiny --images x.npy --steps 2 --out e.npy --check"},
		{"i.gif", "interpolate --model runs/tiny --from 1 --to 2 --frames 2 --steps 2 --out i.gif"},
		{"p.npy", "predict --model runs/tiny --x x.npy --t 3 --out p.npy"},
		{"export/model_index.json", "export --model runs/tiny --out export"},
		{"", "inspect runs/tiny"},
		{"", "presets mnist"},
		{"", "sample --help"},
		{"", "bench sample --config tiny.toml --set data.size=8 --batch 1 --steps 2 --json"},
	} {
		c := program(t, "", strings.Fields(x.args)...)
		c.Stdout, c.Stderr = withoutReader(t), withoutReader(t)
		if err := c.Run(); err != nil {
			t.Errorf("diffusion %s: %v", x.args, err)
		}
		if x.file != "" && !isFile(x.file) {
			t.Errorf("diffusion %s: there is no %s", x.args, x.file)
		}
	}
}
