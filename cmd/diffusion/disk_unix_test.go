//go:build unix

package main

import (
	"bytes"
	"os"
	"os/exec"
	"strings"
	"testing"
)

// program runs the program itself, below a shell's command if there is one, and returns what a user sees of it.
func program(t *testing.T, shell string, args ...string) result {
	t.Helper()
	c := exec.CommandContext(t.Context(), os.Args[0], args...)
	if shell != "" {
		c = exec.CommandContext(t.Context(), "/bin/sh", append([]string{"-c", shell + `; exec "$0" "$@"`, os.Args[0]}, args...)...)
	}
	c.Env = append(os.Environ(), asProgram+"=1")
	var out, stderr bytes.Buffer
	c.Stdout, c.Stderr = &out, &stderr
	err := c.Run()
	if c.ProcessState == nil {
		t.Fatal(err)
	}
	return result{c.ProcessState.ExitCode(), out.String(), stderr.String()}
}

// A limit on the size of files, as ulimit -f sets it, is met like a full disk: no signal ends the program.
func TestTrainingUnderAFileSizeLimit(t *testing.T) {
	workspaceWithRun(t)
	must(t, "train", "--config", "tiny.toml", "--out", "a", "--stop-at", "2")
	r := program(t, "ulimit -f 100", "train", "--out", "a", "--resume", "auto") // 51,200 or 102,400 bytes, as the shell counts
	if r.code != exitFailed {
		t.Errorf("exit code %d", r.code)
	}
	has(t, "stderr", r.stderr, "no checkpoint of step 4: ", "file too large; training goes on, the next try is at step 6", "diffusion: train: saving step 6 to ",
		"the newest checkpoint is a/checkpoints/step-00000002, go on with: diffusion train --out a --resume auto")
	for name := range files(t, "a") {
		if strings.Contains(name, ".tmp") {
			t.Errorf("%s is left", name)
		}
	}
	if r := program(t, "", "train", "--out", "a", "--resume", "auto"); r.code != exitDone {
		t.Error(r.stderr)
	}
	sameRun(t, "runs/tiny", "a")
}
