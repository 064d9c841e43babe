//go:build unix

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"unstir/checkpoints"
	"unstir/internal/eventtest"
	"unstir/train"
)

var (
	kills    = flag.Int("kills", 20, "TestKills: how often the program is killed")
	killSeed = flag.Uint64("seed", 1, "TestKills: seed of the choice of moments")
)

// killed are the smallest runs that have everything a kill may hit: steps about as long as saves, checkpoints and their
// pruning, a log of every step, and the previews of a UNet or the tests of a classifier.
var (
	killedUNet = []string{
		"--config", "tiny.toml", "--set", "model.block_out_channels=[4,4]", "--set", "model.attention_head_dim=4", "--set", "model.norm_num_groups=2",
		"--set", "train.batch_size=32", "--set", "train.log_every=1", "--set", "checkpoint.every=1", "--set", "checkpoint.keep=2",
		"--set", "preview.every=4", "--set", "preview.images=2", "--set", "preview.steps=2",
	}
	killedClassifier = []string{
		"--config", "classes.toml", "--set", "train.batch_size=64", "--set", "train.log_every=1", "--set", "checkpoint.every=1", "--set", "checkpoint.keep=2",
	}
)

const (
	killSteps = 24
	killKeep  = 2
)

// moment is when the program is killed: some time after its start, or after a name that matches has appeared in its
// run's directory for the nth time.
type moment struct {
	dir, pattern string // "": the start
	nth          int
	after        time.Duration
}

func (m moment) String() string {
	if m.pattern == "" {
		return fmt.Sprintf("%v after the start", m.after)
	}
	return fmt.Sprintf("%v after appearance %d of %s", m.after, m.nth, filepath.Join(m.dir, m.pattern))
}

// watched are the names that show what the program is about to do.
var watched = []struct {
	dir, pattern string
	most         int           // appearances that are waited for
	within       time.Duration // the delay after the last of them
	share        int
}{
	{"checkpoints", ".step-*.tmp", 4, 15 * time.Millisecond, 8}, // a save has begun
	{"checkpoints", "step-*", 4, 2 * time.Millisecond, 4},       // it has been renamed
	{"checkpoints", ".step-*.old", 4, time.Millisecond, 4},      // pruning
	{"", ".log.jsonl.tmp-*", 1, time.Millisecond, 1},            // the log is cut back
	{"", ".config.toml.tmp-*", 1, time.Millisecond, 1},
	{"previews", ".step-*.png.tmp-*", 1, time.Millisecond, 1},
	{"", ".loss.png.tmp-*", 1, time.Millisecond, 1},
	{"checkpoints", fmt.Sprintf("step-%08d", killSteps), 1, 60 * time.Millisecond, 3}, // the end
}

// chooseMoment draws every other moment evenly from the time that a run needs for its remaining steps, and the others
// from what is watched for.
func chooseMoment(r *rand.Rand, whole time.Duration, remaining int) moment {
	if r.IntN(2) == 0 {
		return moment{after: time.Duration(r.Float64() * float64(whole) * float64(1+remaining) / (1 + killSteps))}
	}
	total := 0
	for _, w := range watched {
		total += w.share
	}
	at := r.IntN(total)
	for _, w := range watched {
		if at -= w.share; at < 0 {
			return moment{w.dir, w.pattern, 1 + r.IntN(max(1, min(w.most, remaining))), time.Duration(r.Float64() * float64(w.within))}
		}
	}
	panic("unreachable")
}

// victim is the program at work on a run that is killed and goes on until it is complete.
type victim struct {
	t      *testing.T
	args   []string // of train: the configuration and what is set
	dir    string
	seen   int // the newest that has ever been seen
	stderr bytes.Buffer
	stdout bytes.Buffer
}

// start starts the program as a script would: the run begins, goes on, or is complete.
func (v *victim) start(ctx context.Context) *exec.Cmd {
	args := []string{"train", "--out", v.dir, "--resume", "auto", "--steps", strconv.Itoa(killSteps), "--threads", "1"}
	c := command(ctx, append(args, v.args...)...)
	v.stdout.Reset()
	v.stderr.Reset()
	c.Stdout, c.Stderr = &v.stdout, &v.stderr
	if err := c.Start(); err != nil {
		v.t.Fatal(err)
	}
	return c
}

// finish lets the program end by itself.
func (v *victim) finish() {
	v.t.Helper()
	if err := v.start(v.t.Context()).Wait(); err != nil {
		v.t.Fatalf("the program failed: %v\n%s", err, &v.stderr)
	}
}

// strike starts the program and kills it at the moment; false: it ended before, by itself.
func (v *victim) strike(m moment) (killed bool) {
	v.t.Helper()
	before := v.names(m.dir) // leftovers of earlier kills do not count
	c := v.start(v.t.Context())
	ended := make(chan error, 1)
	go func() { ended <- c.Wait() }()
	appeared := 0
	at := time.Now().Add(m.after)
	for {
		for _, name := range v.names("checkpoints") {
			v.seen = max(v.seen, stepOf(name))
		}
		if m.pattern != "" && appeared < m.nth {
			now := v.names(m.dir)
			for _, name := range now {
				if ok, _ := filepath.Match(m.pattern, name); ok && !slices.Contains(before, name) {
					appeared++
				}
			}
			before = now
			at = time.Now().Add(m.after)
		}
		if (m.pattern == "" || appeared >= m.nth) && !time.Now().Before(at) {
			break
		}
		select {
		case err := <-ended:
			return v.ended(err)
		default:
			time.Sleep(min(50*time.Microsecond, max(0, time.Until(at))))
		}
	}
	c.Process.Kill() // fails only where the program has ended
	return v.ended(<-ended)
}

// ended tells a kill from an end; any other failure fails the test.
func (v *victim) ended(err error) (killed bool) {
	v.t.Helper()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		if s, ok := exit.Sys().(syscall.WaitStatus); ok && s.Signaled() && s.Signal() == syscall.SIGKILL {
			return true
		}
	}
	if err != nil {
		v.t.Fatalf("the program failed: %v\n%s", err, &v.stderr)
	}
	return false
}

// names lists a directory below the run's; none where there is no such directory (yet).
func (v *victim) names(dir string) []string {
	entries, err := os.ReadDir(filepath.Join(v.dir, dir))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		v.t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

// stepOf is the step of a checkpoint's directory, -1 for other names.
func stepOf(name string) int {
	digits, ok := strings.CutPrefix(name, "step-")
	step, err := strconv.Atoi(digits)
	if !ok || err != nil {
		return -1
	}
	return step
}

// phase says what the kill has interrupted, by the files that are there.
func (v *victim) phase() string {
	has := func(dir, pattern string) bool {
		found, err := filepath.Glob(filepath.Join(v.dir, dir, pattern))
		if err != nil {
			v.t.Fatal(err)
		}
		return len(found) > 0
	}
	switch {
	case !strings.Contains(v.stderr.String(), "model of "):
		return "loading"
	case has("checkpoints", ".step-*.old"):
		return "pruning"
	case has("checkpoints", ".step-*.tmp"):
		return "saving"
	case has("previews", ".*.tmp-*"), has("", ".loss.png.tmp-*"):
		return "previews"
	case has("checkpoints", fmt.Sprintf("step-%08d", killSteps)):
		return "final"
	}
	return "training"
}

// check checks what has to be true after any kill: the checkpoints are the newest ones without a gap, each whole,
// none older than what was seen before, and the log has every step up to there.
func (v *victim) check(whole []string) {
	v.t.Helper()
	var steps []int
	for _, name := range v.names("checkpoints") {
		if step := stepOf(name); step >= 0 {
			steps = append(steps, step)
			if err := checkpoints.Verify(v.t.Context(), filepath.Join(v.dir, "checkpoints", name)); err != nil {
				v.t.Errorf("after a kill: %v", err)
			}
		}
	}
	newest := 0
	if len(steps) > 0 {
		newest = slices.Max(steps)
	}
	if newest < v.seen {
		v.t.Errorf("the newest checkpoint is of step %d, and that of step %d had been there", newest, v.seen)
	}
	slices.Sort(steps)
	for i, step := range steps {
		if step != newest-len(steps)+1+i {
			v.t.Errorf("checkpoints of steps %d: there is a gap", steps)
		}
	}
	if len(steps) < min(newest, killKeep) || len(steps) > killKeep+1 {
		v.t.Errorf("checkpoints of steps %d: %d are kept, one more while the oldest is about to go", steps, killKeep)
	}
	v.seen = newest
	if newest == 0 {
		return
	}
	lines := logNumbers(v.t, filepath.Join(v.dir, "log.jsonl"))
	if len(lines) < newest || len(lines) > killSteps || !slices.Equal(lines, whole[:len(lines)]) {
		v.t.Errorf("the newest checkpoint is of step %d, and the log says\n%s", newest, strings.Join(lines, "\n"))
	}
}

// resumed checks where the program said it went on from, if it lived to say it.
func (v *victim) resumed(from int) {
	v.t.Helper()
	_, said, found := strings.Cut(v.stderr.String(), "going on from step ")
	if want := fmt.Sprintf("%d, ", from); found && !strings.HasPrefix(said, want) || found && from == 0 {
		v.t.Errorf("it did not go on from step %d:\n%s", from, &v.stderr)
	}
	if strings.Contains(v.stderr.String(), "skipped") {
		v.t.Errorf("a checkpoint was skipped:\n%s", &v.stderr)
	}
}

// sameFiles compares all that two runs have left: the same files, with the same bytes but for times.
func sameFiles(t *testing.T, want, got string) {
	t.Helper()
	a, b := files(t, want), files(t, got)
	for path, text := range a {
		other, ok := b[filepath.ToSlash(got)+strings.TrimPrefix(path, filepath.ToSlash(want))]
		switch name := filepath.Base(path); {
		case !ok:
			t.Errorf("%s: there is no such file in %s", path, got)
		case name == "manifest.json": // its sums are compared by Verify
		case name == "log.jsonl", strings.Contains(name, "tfevents"):
		case name == "state.json":
			if a, b := withoutTimes(t, text), withoutTimes(t, other); a != b {
				t.Errorf("%s is\n%s\nwant\n%s", path, b, a)
			}
		case text != other:
			t.Errorf("%s differs", path)
		}
	}
	for path := range b {
		if _, ok := a[filepath.ToSlash(want)+strings.TrimPrefix(path, filepath.ToSlash(got))]; !ok {
			t.Errorf("%s is left over", path)
		}
	}
	if a, b := eventtest.Lines(t, want), eventtest.Lines(t, got); !slices.Equal(a, b) {
		t.Errorf("TensorBoard's file has\n%s\nwant\n%s", strings.Join(b, "\n"), strings.Join(a, "\n"))
	}
	la, lb := logNumbers(t, filepath.Join(want, "log.jsonl")), logNumbers(t, filepath.Join(got, "log.jsonl"))
	if !slices.Equal(la, lb) {
		t.Errorf("the log is\n%s\nwant\n%s", strings.Join(lb, "\n"), strings.Join(la, "\n"))
	}
}

// withoutTimes is a state.json without the seconds spent.
func withoutTimes(t *testing.T, text string) string {
	t.Helper()
	var state checkpoints.State
	if err := json.Unmarshal([]byte(text), &state); err != nil {
		t.Fatal(err)
	}
	state.TrainSeconds = 0
	plain, err := json.Marshal(state)
	if err != nil {
		t.Fatal(err)
	}
	return string(plain)
}

// A run whose program is killed again and again, at any moment, ends with the files of an undisturbed run, bit for
// bit, and never has an older newest checkpoint than before.
//
//	go test ./cmd/diffusion -run TestKills -v -timeout 0 -kills 1000 -seed 7
func TestKills(t *testing.T) {
	n := *kills
	if testing.Short() {
		n = min(n, 5)
	}
	workspace(t)
	kill(t, killedUNet, n)
}

// So does a classifier's, with its tests.
func TestAKilledClassifierGoesOn(t *testing.T) {
	n := 10
	if testing.Short() {
		n = 4
	}
	workspace(t)
	fillClasses(t, ".")
	kill(t, killedClassifier, n)
}

// kill kills runs of train with the given arguments n times, in the current directory.
func kill(t *testing.T, args []string, n int) {
	t.Helper()
	undisturbed := &victim{t: t, args: args, dir: "undisturbed"}
	begin := time.Now()
	undisturbed.finish()
	duration := time.Since(begin)
	whole := logNumbers(t, "undisturbed/log.jsonl")
	if _, err := train.ReadLog("undisturbed/log.jsonl"); err != nil || len(whole) != killSteps {
		t.Fatalf("the undisturbed run's log has %d lines (%v)", len(whole), err)
	}

	r := rand.New(rand.NewPCG(*killSeed, 0))
	hit := map[string]int{}
	runs, done := 0, 0
	for done < n && !t.Failed() {
		v := &victim{t: t, args: args, dir: fmt.Sprintf("run-%d", runs)}
		for complete := false; !complete && done < n && !t.Failed(); {
			from := v.seen
			m := chooseMoment(r, duration, killSteps-from)
			if complete = !v.strike(m); !complete {
				done++
				hit[v.phase()]++
				v.check(whole)
			}
			v.resumed(from)
			if t.Failed() {
				t.Logf("seed %d, kill %d, %v, %s, in %s", *killSeed, done, m, v.phase(), v.dir)
			}
		}
		if t.Failed() {
			break
		}
		v.finish() // also of a run that is complete: what a kill left goes
		sameFiles(t, "undisturbed", v.dir)
		if t.Failed() {
			t.Logf("seed %d, after %d kills, in %s", *killSeed, done, v.dir)
		}
		os.RemoveAll(v.dir)
		runs++
	}
	var counts []string
	for _, phase := range []string{"loading", "training", "saving", "pruning", "previews", "final"} {
		counts = append(counts, fmt.Sprintf("%d in %s", hit[phase], phase))
	}
	t.Logf("seed %d: %d kills in %d runs of %d steps, %v: %s", *killSeed, done, runs, killSteps, time.Since(begin).Round(time.Second), strings.Join(counts, ", "))
}
