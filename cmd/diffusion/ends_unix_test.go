//go:build unix

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"unstir/checkpoints"
	"unstir/internal/npy"
)

// program is the program in a process of its own, which sh starts where a script is given: it has the program as "$0"
// and its arguments as "$@".
func program(t *testing.T, script string, args ...string) *exec.Cmd {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute) // for a program that does not end
	t.Cleanup(cancel)
	c := command(ctx, args...)
	if script != "" {
		sh := exec.CommandContext(ctx, "sh", append([]string{"-c", script, os.Args[0]}, args...)...)
		sh.Env = c.Env
		return sh
	}
	return c
}

// process is one that runs, and what it has written so far.
type process struct {
	*exec.Cmd
	stdout bytes.Buffer
	stderr string
	seen   chan struct{} // closed when stderr has the text
	read   chan struct{} // closed when all is read
}

// begin starts a program and waits until its standard error has the text.
func begin(t *testing.T, c *exec.Cmd, text string) *process {
	t.Helper()
	p := &process{Cmd: c, seen: make(chan struct{}), read: make(chan struct{})}
	c.Stdout = &p.stdout
	pipe, err := c.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(p.read)
		p.stderr = watch(t, pipe, text, func() { close(p.seen) })
	}()
	select {
	case <-p.seen:
	case <-p.read:
		t.Fatalf("the program has ended, and never wrote %q:\n%s", text, p.stderr)
	}
	return p
}

// end waits for the end and wants an exit code.
func (p *process) end(t *testing.T, code int) {
	t.Helper()
	<-p.read
	if err := p.Wait(); p.ProcessState.ExitCode() != code {
		t.Fatalf("%v, want exit code %d\n%s\n%s", err, code, p.stdout.String(), p.stderr)
	}
}

// tell sends a signal.
func (p *process) tell(t *testing.T, s syscall.Signal) {
	t.Helper()
	if err := p.Process.Signal(s); err != nil {
		t.Errorf("%v: %v", s, err)
	}
}

// until waits for something that another process does.
func until(t *testing.T, what string, true func() bool) {
	t.Helper()
	for end := time.Now().Add(time.Minute); !true(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("gave up waiting until %s", what)
		}
	}
}

// long are the settings of a run that does not end by itself, and noisy those of one that writes notes all the time.
var (
	long  = []string{"train", "--config", "tiny.toml", "--steps", "1000000", "--set", "checkpoint.every=0"}
	noisy = []string{"--set", "preview.every=2", "--set", "preview.steps=2", "--set", "preview.images=2"}
)

func join(lists ...[]string) (all []string) {
	for _, l := range lists {
		all = append(all, l...)
	}
	return all
}

// goesOn checks that a run was left whole, and that it goes on to the same bits as one that was never disturbed.
func goesOn(t *testing.T, run string, settings []string) {
	t.Helper()
	newest, skipped, err := checkpoints.Latest(t.Context(), run)
	if err != nil || len(skipped) > 0 {
		t.Fatalf("the newest checkpoint: %v; skipped: %v", err, skipped)
	}
	if left, _ := filepath.Glob(filepath.Join(run, "checkpoints", ".step-*")); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
	var step int
	if _, err := fmt.Sscanf(filepath.Base(newest), "step-%d", &step); err != nil {
		t.Fatal(err)
	}
	stop := fmt.Sprint(step + 1)
	must(t, "train", "--out", run, "--resume", "auto", "--stop-at", stop)
	must(t, join(settings, []string{"--out", run + "-whole", "--stop-at", stop})...)
	sameAt(t, run, run+"-whole", step+1)
}

// sameAt compares the logs of two runs and their checkpoints of a step.
func sameAt(t *testing.T, a, b string, step int) {
	t.Helper()
	la, lb := logNumbers(t, filepath.Join(a, "log.jsonl")), logNumbers(t, filepath.Join(b, "log.jsonl"))
	if strings.Join(la, "\n") != strings.Join(lb, "\n") {
		t.Errorf("the logs differ:\n%s\n\n%s", strings.Join(la, "\n"), strings.Join(lb, "\n"))
	}
	for _, name := range []string{"training/model.safetensors", "training/optimizer.safetensors", "unet/diffusion_pytorch_model.safetensors"} {
		name = filepath.Join("checkpoints", fmt.Sprintf("step-%08d", step), name)
		if !bytes.Equal(readFile(t, filepath.Join(a, name)), readFile(t, filepath.Join(b, name))) {
			t.Errorf("%s differs", name)
		}
	}
}

// Each signal that asks the program to leave makes it save first, also where a script's shell has a background job
// ignore Ctrl-C.
func TestEverySignalSavesAndLeaves(t *testing.T) {
	for _, x := range []struct {
		signal      syscall.Signal
		script, say string
	}{
		{syscall.SIGINT, "", "stopping: saving a checkpoint"},
		{syscall.SIGINT, `trap "" INT; exec "$0" "$@"`, "stopping: saving a checkpoint"},
		{syscall.SIGTERM, "", "stopping (terminated): saving a checkpoint"},
		{syscall.SIGHUP, "", "stopping (hangup): saving a checkpoint"},
		{syscall.SIGXCPU, "", "stopping (CPU time limit exceeded): saving a checkpoint"},
	} {
		t.Run(x.signal.String()+x.script, func(t *testing.T) {
			workspace(t)
			settings := join(long, noisy)
			p := begin(t, program(t, x.script, join(settings, []string{"--out", "cut"})...), "preview ")
			p.tell(t, x.signal)
			p.end(t, exitDone)
			has(t, "stderr", p.stderr, x.say)
			has(t, "stdout", p.stdout.String(), "stopped at step ", "go on with: diffusion train --out cut --resume auto")
			goesOn(t, "cut", settings)
		})
	}
}

// A signal at whatever moment of a run loses nothing.
func TestASignalAtAnyMomentLosesNothing(t *testing.T) {
	saving := func() bool { left, _ := filepath.Glob("cut/checkpoints/.step-*"); return len(left) > 0 }
	for _, x := range []struct {
		what     string
		settings []string
		text     string
		when     func() bool
	}{
		{"before the first step", nil, "model of ", nil},
		{"in a preview", []string{"--set", "preview.every=1", "--set", "preview.steps=20", "--set", "preview.images=4"}, "preview ", nil},
		{"in a save", []string{"--set", "checkpoint.every=1", "--set", "checkpoint.keep=2"}, "run cut", saving},
		{"in the last save", []string{"--steps", "3"}, "run cut", saving},
	} {
		t.Run(x.what, func(t *testing.T) {
			workspace(t)
			settings := join(long, x.settings)
			p := begin(t, program(t, "", join(settings, []string{"--out", "cut"})...), x.text)
			if x.when != nil {
				until(t, x.what, x.when)
			}
			p.tell(t, syscall.SIGTERM)
			p.end(t, exitDone)
			if x.what == "in the last save" {
				must(t, join(settings, []string{"--out", "cut-whole"})...)
				must(t, "train", "--out", "cut", "--resume", "auto")
				sameAt(t, "cut", "cut-whole", 3)
				return
			}
			goesOn(t, "cut", settings)
		})
	}
}

// A run that goes on and is stopped before its first step keeps its checkpoint and writes no other.
func TestASignalBeforeTheFirstStepOfAResume(t *testing.T) {
	workspaceWithRun(t)
	p := begin(t, program(t, "", "train", "--out", "runs/tiny", "--resume", "auto", "--steps", "1000000", "--set", "checkpoint.every=0"), "going on from step 6")
	p.tell(t, syscall.SIGINT)
	p.end(t, exitDone)
	if _, skipped, err := checkpoints.Latest(t.Context(), "runs/tiny"); err != nil || len(skipped) > 0 {
		t.Errorf("the newest checkpoint: %v; skipped: %v", err, skipped)
	}
	if err := checkpoints.Verify(t.Context(), "runs/tiny/checkpoints/step-00000006"); err != nil {
		t.Error(err)
	}
}

// stuck begins a run that cannot end: its plot of the loss, which is drawn last, is a pipe that nobody reads.
func stuck(t *testing.T, settings []string) *process {
	t.Helper()
	if err := os.Mkdir("cut", 0o755); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mkfifo("cut/loss.png", 0o644); err != nil {
		t.Fatal(err)
	}
	p := begin(t, program(t, "", join(settings, []string{"--out", "cut"})...), "run cut")
	until(t, "two steps are done", func() bool {
		text, _ := os.ReadFile("cut/log.jsonl")
		return bytes.Count(text, []byte("\n")) >= 2
	})
	return p
}

// A second signal ends the program at once, as one that nobody catches; what was saved stays.
func TestASecondSignalEndsAtOnce(t *testing.T) {
	for _, s := range []syscall.Signal{syscall.SIGINT, syscall.SIGTERM} {
		t.Run(s.String(), func(t *testing.T) {
			workspace(t)
			p := stuck(t, long)
			p.tell(t, syscall.SIGINT)
			until(t, "the run is saved", func() bool { _, _, err := checkpoints.Latest(t.Context(), "cut"); return err == nil })
			for ended := false; !ended; time.Sleep(5 * time.Millisecond) { // those that come too soon count for nothing
				if err := p.Process.Signal(s); err != nil {
					t.Fatal(err)
				}
				select {
				case <-p.read:
					ended = true
				default:
				}
			}
			p.Wait()
			if status := p.ProcessState.Sys().(syscall.WaitStatus); !status.Signaled() || status.Signal() != s {
				t.Fatalf("%v, want an end by %v\n%s", p.ProcessState, s, p.stderr)
			}
			if err := os.Remove("cut/loss.png"); err != nil {
				t.Fatal(err)
			}
			goesOn(t, "cut", long)
		})
	}
}

// A hangup often comes twice, from the terminal and from the shell: the second one does not end the saving.
func TestASecondHangupChangesNothing(t *testing.T) {
	workspace(t)
	p := stuck(t, long)
	for range 30 {
		p.tell(t, syscall.SIGHUP)
		time.Sleep(5 * time.Millisecond)
	}
	f, err := os.OpenFile("cut/loss.png", os.O_RDWR, 0) // lets it go
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	go io.Copy(io.Discard, f)
	p.end(t, exitDone)
	has(t, "stdout", p.stdout.String(), "stopped at step ")
	goesOn(t, "cut", long)
}

// Which signals end the program at once, and when: not those that come with the first.
func TestImpatience(t *testing.T) {
	for _, x := range []struct {
		signal os.Signal
		after  time.Duration
		want   bool
	}{
		{syscall.SIGINT, 0, false}, {syscall.SIGINT, sameSignal - 1, false}, {syscall.SIGINT, sameSignal, true},
		{syscall.SIGTERM, time.Microsecond, false}, {syscall.SIGTERM, time.Hour, true},
		{syscall.SIGHUP, time.Hour, false}, {syscall.SIGXCPU, time.Second, false},
	} {
		if got := impatient(x.signal, x.after); got != x.want {
			t.Errorf("%v, %v after the first: %v", x.signal, x.after, got)
		}
	}
}

// short are the settings of a run of ten steps that writes notes all the time.
var short = join(long, noisy, []string{"--steps", "10", "--set", "preview.every=4"})

// Under nohup a hangup is ignored.
func TestNohupIsKept(t *testing.T) {
	workspace(t)
	p := begin(t, program(t, `trap "" HUP; exec "$0" "$@"`, join(short, []string{"--out", "cut"})...), "run cut")
	p.tell(t, syscall.SIGHUP)
	p.end(t, exitDone)
	has(t, "stdout", p.stdout.String(), "step 10, loss ")
	must(t, join(short, []string{"--out", "whole"})...)
	sameAt(t, "cut", "whole", 10)
}

// SIGQUIT still says what every goroutine does.
func TestQuitDumpsGoroutines(t *testing.T) {
	workspace(t)
	p := begin(t, program(t, "", join(long, noisy)...), "preview ")
	p.tell(t, syscall.SIGQUIT)
	p.end(t, 2)
	has(t, "stderr", p.stderr, "SIGQUIT", "goroutine ")
}

// A signal ends every other command too, with nothing half written.
func TestASignalLeavesNothingHalfWritten(t *testing.T) {
	workspaceWithRun(t)
	const n = 20000
	if err := npy.WriteFile("x.npy", npy.Array[float32]{Shape: []int{n, 1, tinySize, tinySize}, Data: make([]float32, n*tinySize*tinySize)}); err != nil {
		t.Fatal(err)
	}
	for _, args := range []string{
		"sample --model runs/tiny --n 20000 --out y.png",
		"sample --model runs/tiny --n 20000 --out y.gif",
		"encode --model runs/tiny --images x.npy --out y.npy",
		"interpolate --model runs/tiny --from 1 --to 2 --frames 20000 --out y.npy",
		"predict --model runs/tiny --x x.npy --t 3 --out y.npy",
	} {
		p := begin(t, program(t, "", strings.Fields(args)...), "model ")
		p.tell(t, syscall.SIGTERM)
		p.end(t, exitFailed)
		has(t, "stderr of diffusion "+args, p.stderr, "diffusion: interrupted")
		left, _ := filepath.Glob("*y.[pgn]*")
		hidden, _ := filepath.Glob(".*")
		if left = append(left, hidden...); len(left) > 0 {
			t.Errorf("diffusion %s left %v", args, left)
		}
	}
}

// bench throws its run away, also when it is interrupted.
func TestASignalLeavesNothingOfABenchmark(t *testing.T) {
	workspace(t)
	t.Setenv("TMPDIR", t.TempDir())
	runs := func() []string { list, _ := filepath.Glob(filepath.Join(os.TempDir(), "*", "log.jsonl")); return list }
	c := program(t, "", "bench", "train", "--config", "tiny.toml", "--set", "data.size=8", "--steps", "1000000")
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	until(t, "the benchmark has begun", func() bool { return len(runs()) > 0 })
	if err := c.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	c.Wait()
	if code := c.ProcessState.ExitCode(); code != exitFailed {
		t.Errorf("%v, want exit code 1", c.ProcessState)
	}
	if left, _ := filepath.Glob(filepath.Join(os.TempDir(), "*")); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

// A signal while data are downloaded, from a server that says nothing, ends the program before there is a run.
func TestASignalEndsADownload(t *testing.T) {
	dir := t.TempDir()
	t.Chdir(dir)
	server, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	asked := make(chan net.Conn, 16)
	go func() {
		for {
			c, err := server.Accept()
			if err != nil {
				return
			}
			asked <- c
		}
	}()
	c := program(t, "", "train", "--config", "fashion-mnist")
	c.Env = append(c.Env, "XDG_CACHE_HOME="+dir, "HOME="+dir, "HTTPS_PROXY=http://"+server.Addr().String(), "NO_PROXY=")
	var stderr bytes.Buffer
	c.Stderr = &stderr
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- c.Wait() }()
	select {
	case conn := <-asked:
		defer conn.Close()
	case err := <-ended:
		t.Fatalf("%v: nothing was asked of the server\n%s", err, stderr.String())
	}
	if err := c.Process.Signal(syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	if err := <-ended; c.ProcessState.ExitCode() != exitFailed {
		t.Errorf("%v\n%s", err, stderr.String())
	}
	has(t, "stderr", stderr.String(), "diffusion: interrupted")
	if _, err := os.Stat("runs"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("runs: %v", err)
	}
}
