//go:build linux

package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"
)

// limit is one limit of a control group, by the file that holds it in each version of control groups.
type limit struct{ controller, v1, v1Value, v2, v2Value string }

// controlGroup makes a control group with a limit below the test's own, and skips the test where it may not.
func controlGroup(t *testing.T, l limit) string {
	t.Helper()
	text, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		t.Skipf("SKIP: no control groups: %v", err)
	}
	for line := range strings.Lines(string(text)) {
		parts := strings.SplitN(strings.TrimSpace(line), ":", 3) // number, controllers, path
		if len(parts) != 3 {
			continue
		}
		mount, file, value := "/sys/fs/cgroup", l.v2, l.v2Value
		if parts[1] != "" {
			mount, file, value = "/sys/fs/cgroup/"+parts[1], l.v1, l.v1Value
			if !slices.Contains(strings.Split(parts[1], ","), l.controller) {
				continue
			}
		}
		dir := filepath.Join(mount, parts[2], fmt.Sprintf("unstir-test-%d", os.Getpid()))
		if os.Mkdir(dir, 0o755) != nil {
			continue
		}
		t.Cleanup(func() {
			for range 100 { // until the last process has left it
				if os.Remove(dir) == nil {
					return
				}
				time.Sleep(10 * time.Millisecond)
			}
		})
		if os.WriteFile(filepath.Join(dir, file), []byte(value), 0o644) == nil {
			return dir
		}
	}
	t.Skip("SKIP: no control group can be made here: that needs root and a writable cgroup file system")
	return ""
}

// inGroup runs the program in a control group.
func inGroup(t *testing.T, group string, args ...string) result {
	t.Helper()
	c := exec.Command("sh", append([]string{"-c", `echo $$ >"$0/cgroup.procs" && exec "$@"`, group, os.Args[0]}, args...)...)
	c.Env = append(os.Environ(), asProgram+"=1")
	var out, stderr bytes.Buffer
	c.Stdout, c.Stderr = &out, &stderr
	if err := c.Run(); err != nil && c.ProcessState == nil {
		t.Fatal(err)
	}
	return result{c.ProcessState.ExitCode(), out.String(), stderr.String()}
}

// In a container with too little memory the program says so and ends; with the slice that it names it runs there to
// the end, and the system does not kill it.
func TestAContainersMemory(t *testing.T) {
	if raceDetector {
		t.Skip("the race detector needs several times the memory that is foreseen")
	}
	const bytes = "300000000"
	group := controlGroup(t, limit{"memory", "memory.limit_in_bytes", bytes, "memory.max", bytes})
	workspace(t)
	args := []string{"train", "--config", "tiny.toml", "--steps", "1", "--set", "train.batch_size=96", "--set", "data.size=32",
		"--set", "model.block_out_channels=[32,32]"}
	r := inGroup(t, group, append(args, "--set", "train.slice=96", "--out", "large")...)
	has(t, "stderr", r.stderr, "does not fit into memory", "the memory limit of the control group", filepath.Base(group))
	if r.code != exitFailed || exists("large") {
		t.Errorf("exit code %d, and the run's directory is there: %v", r.code, exists("large"))
	}
	slice := fitting(t, "train.slice", r.stderr)
	r = inGroup(t, group, append(args, "--set", fmt.Sprintf("train.slice=%d", slice), "--out", "small")...)
	if r.code != exitDone {
		t.Errorf("with train.slice = %d: exit code %d\n%s", slice, r.code, r.stderr)
	}
	t.Logf("train.slice = %d was named and ran in %s bytes", slice, bytes)
}

// A container's CPU quota sets the threads.
func TestAContainersQuota(t *testing.T) {
	if runtime.NumCPU() < 2 {
		t.Skip("SKIP: one CPU has no quota below it that shows")
	}
	group := controlGroup(t, limit{"cpu", "cpu.cfs_quota_us", "100000", "cpu.max", "100000 100000"})
	workspace(t)
	r := inGroup(t, group, "bench", "train", "--config", "tiny.toml", "--steps", "2", "--json")
	var line struct{ Threads int }
	if err := json.Unmarshal([]byte(r.out), &line); err != nil {
		t.Fatalf("%v: %s%s", err, r.out, r.stderr)
	}
	if line.Threads != 1 {
		t.Errorf("%d threads on a quota of one CPU, want 1", line.Threads)
	}
}
