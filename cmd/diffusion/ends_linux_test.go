package main

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// terminal makes a terminal: what stands on the other side of it, and its name. Nobody knows its size.
func terminal(t *testing.T) (screen *os.File, name string) {
	t.Helper()
	screen, err := os.OpenFile("/dev/ptmx", os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		t.Skipf("there are no terminals here: %v", err)
	}
	t.Cleanup(func() { screen.Close() })
	raw, err := screen.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	var number int
	controlled := raw.Control(func(fd uintptr) {
		if err = unix.IoctlSetPointerInt(int(fd), unix.TIOCSPTLCK, 0); err == nil {
			number, err = unix.IoctlGetInt(int(fd), unix.TIOCGPTN)
		}
	})
	if controlled != nil || err != nil {
		t.Skipf("there are no terminals here: %v, %v", controlled, err)
	}
	return screen, fmt.Sprint("/dev/pts/", number)
}

// onTerminal starts a program as the leader of a session on a terminal of its own, and waits for a text on it.
func onTerminal(t *testing.T, c *exec.Cmd, text string) (screen *os.File) {
	t.Helper()
	screen, name := terminal(t)
	tty, err := os.OpenFile(name, os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer tty.Close()
	c.Stdin, c.Stdout, c.Stderr = tty, tty, tty
	c.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	tty.Close()
	var all strings.Builder
	for buf := make([]byte, 4096); !strings.Contains(all.String(), text); {
		n, err := screen.Read(buf)
		all.Write(buf[:n])
		if err != nil {
			t.Fatalf("%v: the terminal never had %q:\n%s", err, text, all.String())
		}
	}
	return screen
}

// A terminal that is closed while the bar draws itself on it hangs the run up: it saves and leaves.
func TestAClosedTerminalSavesTheRun(t *testing.T) {
	workspace(t)
	settings := join(long, noisy)
	c := program(t, "", join(settings, []string{"--out", "cut"})...)
	onTerminal(t, c, "preview ").Close()
	if err := c.Wait(); err != nil {
		t.Fatal(err)
	}
	goesOn(t, "cut", settings)
}

// Under nohup, or in a job that its shell has disowned, the run goes on without its terminal.
func TestARunGoesOnWithoutItsTerminal(t *testing.T) {
	workspace(t)
	must(t, join(short, []string{"--out", "whole"})...)
	c := program(t, `trap "" HUP; exec "$0" "$@"`, join(short, []string{"--out", "cut"})...)
	onTerminal(t, c, "preview ").Close()
	if err := c.Wait(); err != nil {
		t.Fatal(err)
	}
	sameAt(t, "cut", "whole", 10)
}

// Samples are written although the terminal that would show where is gone.
func TestSamplesNeedNoTerminal(t *testing.T) {
	workspaceWithRun(t)
	n := "600"
	if raceDetector {
		n = "60"
	}
	c := program(t, `trap "" HUP; exec "$0" "$@"`, "sample", "--model", "runs/tiny", "--n", n, "--out", "a.png")
	onTerminal(t, c, "model ").Close()
	if err := c.Wait(); err != nil {
		t.Fatal(err)
	}
	if !isFile("a.png") {
		t.Error("the images are lost")
	}
}

// In the background of a shell the run writes to its terminal, and is not stopped for it.
func TestARunInTheBackground(t *testing.T) {
	workspace(t)
	must(t, join(short, []string{"--out", "whole"})...)
	c := program(t, `set -m; "$0" "$@" & wait $!`, join(short, []string{"--out", "cut"})...)
	screen := onTerminal(t, c, "preview ")
	go io.Copy(io.Discard, screen)
	if err := c.Wait(); err != nil {
		t.Fatal(err)
	}
	sameAt(t, "cut", "whole", 10)
}

// A disk that is full under the progress does not end a run; one that is full under a result is an error, and what
// was made stays.
func TestAFullDiskUnderTheOutput(t *testing.T) {
	workspaceWithRun(t)
	full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	if err != nil {
		t.Skip(err)
	}
	defer full.Close()
	c := program(t, "", "train", "--config", "tiny.toml", "--out", "a")
	c.Stdout, c.Stderr = full, full
	if err := c.Run(); err != nil {
		t.Error(err)
	}
	sameRun(t, "runs/tiny", "a")

	var stderr strings.Builder
	c = program(t, "", "sample", "--model", "a", "--n", "2", "--steps", "2", "--sampler", "ddim", "--out", "a.png")
	c.Stdout, c.Stderr = full, &stderr
	if c.Run(); c.ProcessState.ExitCode() != exitFailed {
		t.Errorf("%v", c.ProcessState)
	}
	has(t, "stderr", stderr.String(), "no space left on device")
	if !isFile("a.png") {
		t.Error("the images are lost")
	}
}
