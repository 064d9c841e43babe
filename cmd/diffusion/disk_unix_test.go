//go:build unix

package main

import (
	"bytes"
	"strings"
	"testing"
)

// runProgram runs the program in a process of its own, as program has it, and returns what a user sees of it.
func runProgram(t *testing.T, script string, args ...string) result {
	t.Helper()
	c := program(t, script, args...)
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
	r := runProgram(t, `ulimit -f 100; exec "$0" "$@"`, "train", "--out", "a", "--resume", "auto") // 51,200 or 102,400 bytes, as the shell counts
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
	if r := runProgram(t, "", "train", "--out", "a", "--resume", "auto"); r.code != exitDone {
		t.Error(r.stderr)
	}
	sameRun(t, "runs/tiny", "a")
}
