package main

import (
	"encoding/json"
	"maps"
	"math"
	"os"
	"slices"
	"strings"
	"testing"

	"unstir/nn/kernel"
)

// readPlan reads the JSON of inspect --plan, and checks that each operation has exactly its keys and numbers that are possible.
func readPlan(t *testing.T, text string) (ops []plannedOp) {
	t.Helper()
	var raw []map[string]any
	if err := json.Unmarshal([]byte(text), &raw); err != nil {
		t.Fatalf("%v:\n%s", err, text)
	}
	if err := json.Unmarshal([]byte(text), &ops); err != nil {
		t.Fatal(err)
	}
	passes := []string{kernel.Forward.String(), kernel.BackwardData.String(), kernel.WeightGradient.String()}
	for i, op := range ops {
		want := []string{"algorithm", "gflops", "op", "pass", "shape", "time_us"}
		if keys := slices.Sorted(maps.Keys(raw[i])); !slices.Equal(keys, want) {
			t.Errorf("%s has the keys %v, want %v", op.Op, keys, want)
		}
		if op.Op == "" || !slices.Contains(passes, op.Pass) || op.Shape == "" || op.Algorithm == "" {
			t.Errorf("operation %d: %+v", i, op)
		}
		if v := op.TimeUS + op.GFLOPS; math.IsInf(v, 0) || math.IsNaN(v) || op.TimeUS < 0 || op.GFLOPS < 0 {
			t.Errorf("operation %d: %+v", i, op)
		}
	}
	return ops
}

// find is the only operation of a name and pass.
func find(t *testing.T, ops []plannedOp, name, pass string) plannedOp {
	t.Helper()
	var found []plannedOp
	for _, op := range ops {
		if op.Op == name && op.Pass == pass {
			found = append(found, op)
		}
	}
	if len(found) != 1 {
		t.Fatalf("%d operations are called %s, %s:\n%+v", len(found), name, pass, ops)
	}
	return found[0]
}

// inspect --plan tells how each operation is computed: in sampling, and in training with the passes of the gradient.
func TestInspectPlan(t *testing.T) {
	workspaceWithRun(t)
	if kernel.ThisCPU().Direct {
		t.Skip("UNSTIR_CONV=direct has other algorithms")
	}
	sampling := readPlan(t, must(t, "inspect", "--plan", "--json", "-"))
	const layer = "down_blocks.1.resnets.0.conv2"
	if op := find(t, sampling, layer, "forward"); op.Shape != "16x4x4x16 to 16, 3x3, fixed filter" || op.Algorithm != "winograd F(4x4,3x3), packed once" {
		t.Errorf("%+v", op)
	}
	for _, op := range sampling {
		if op.Pass != "forward" {
			t.Errorf("sampling has %+v", op)
		}
	}
	training := readPlan(t, must(t, "inspect", "--plan", "--train", "--json", "-"))
	for _, want := range []plannedOp{
		{Op: layer, Pass: "forward", Algorithm: "winograd F(4x4,3x3), packed"},
		{Op: layer + " dx", Pass: "backward data", Algorithm: "winograd F(4x4,3x3), packed"},
		{Op: layer + " dw", Pass: "weight gradient", Algorithm: "winograd F(4x4,3x3)"},
	} {
		if op := find(t, training, want.Op, want.Pass); op.Shape != "3x4x4x16 to 16, 3x3" || op.Algorithm != want.Algorithm { // the run's slices are of 3
			t.Errorf("%+v, want %s", op, want.Algorithm)
		}
	}
	if op := find(t, training, "loss.loss", "forward"); op.Algorithm != "squared error" || op.Shape != "1" || op.GFLOPS != 0 {
		t.Errorf("%+v", op)
	}

	out := must(t, "inspect", "--plan", "--train", "--batch", "2", "--json", "plan.json")
	has(t, "inspect --plan --train", out, "manifest   holds", "training: ", "operations on 2 images", "GFLOP/s", "arena", "time us", kernel.ThisCPU().Level.String(), "2x4x4x16 to 16, 3x3")
	text, err := os.ReadFile("plan.json")
	if err != nil {
		t.Fatal(err)
	}
	ops := readPlan(t, string(text))
	last := -1
	for _, op := range ops { // the table has them in the order in which they run
		at := strings.Index(out[last+1:], " "+op.Op+" ")
		if at < 0 {
			t.Fatalf("the table lacks %s behind what runs before:\n%s", op.Op, out)
		}
		last += at + 1
	}
	if !strings.Contains(out[last:], "operations  pass") {
		t.Errorf("no sums follow:\n%s", out)
	}
}

// The sums have every operation once.
func TestSumsOfAPlan(t *testing.T) {
	sums, total := sumOps([]plannedOp{
		{Pass: "forward", Algorithm: "GEMM", TimeUS: 1, flops: 2000},
		{Pass: "forward", Algorithm: "winograd", TimeUS: 5, flops: 5000},
		{Pass: "forward", Algorithm: "GEMM", TimeUS: 2, flops: 1000},
		{Pass: "weight gradient", Algorithm: "GEMM", TimeUS: 0, flops: 1000},
	})
	want := []plannedOp{
		{Op: "1", Pass: "forward", Algorithm: "winograd", TimeUS: 5, GFLOPS: 1, flops: 5000},
		{Op: "2", Pass: "forward", Algorithm: "GEMM", TimeUS: 3, GFLOPS: 1, flops: 3000},
		{Op: "1", Pass: "weight gradient", Algorithm: "GEMM", flops: 1000},
	}
	for i := range sums { // but for rounding
		sums[i].GFLOPS = math.Round(1e9*sums[i].GFLOPS) / 1e9
	}
	if !slices.Equal(sums, want) || total.TimeUS != 8 || total.flops != 9000 {
		t.Errorf("the sums are %+v of %+v", sums, total)
	}
}

// What does not fit into memory is refused with the number of images that does.
func TestInspectPlanBeyondMemory(t *testing.T) {
	workspaceWithRun(t)
	t.Setenv("UNSTIR_MEMORY", "3000000")
	for _, args := range [][]string{{"inspect", "--plan", "--batch", "1000"}, {"inspect", "--plan", "--train", "--batch", "1000"}} {
		r := call(args...)
		has(t, strings.Join(args, " "), r.stderr, "1000 images: ", "3 MB available (UNSTIR_MEMORY)")
		if r.code != exitFailed {
			t.Errorf("%v: exit code %d", args, r.code)
		}
		_, fits, _ := strings.Cut(r.stderr, "--batch ")
		n, _, ok := strings.Cut(fits, " fits")
		if !ok {
			t.Fatalf("%v: %s", args, r.stderr)
		}
		must(t, append(args[:len(args)-1:len(args)-1], n)...)
	}
}

// UNSTIR_CONV=direct shows.
func TestInspectPlanDirect(t *testing.T) {
	workspaceWithRun(t)
	c := command(t.Context(), "inspect", "--plan", "--train", "--json", "-")
	c.Env = append(c.Env, "UNSTIR_CONV=direct")
	out, err := c.Output()
	if err != nil {
		t.Fatal(err)
	}
	ops := readPlan(t, string(out))
	if op := find(t, ops, "down_blocks.1.resnets.0.conv2", "forward"); op.Algorithm != "implicit GEMM, packed" {
		t.Errorf("%+v", op)
	}
	for _, op := range ops {
		if strings.Contains(op.Algorithm, "winograd") {
			t.Errorf("%+v", op)
		}
	}
}
