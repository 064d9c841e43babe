package main

import (
	"bytes"
	"context"
	"fmt"
	"image/gif"
	"image/png"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"unstir"
	"unstir/internal/images"
	"unstir/internal/npy"
)

// sampled is the .npy file of a sampling run.
func sampled(t *testing.T, name string, args ...string) []byte {
	t.Helper()
	out := must(t, append([]string{"sample", "--out", name}, args...)...)
	if out != name+"\n" {
		t.Errorf("the output is %q, want the file's name", out)
	}
	return readFile(t, name)
}

func readArray(t *testing.T, name string) npy.Array[float32] {
	t.Helper()
	a, err := npy.ReadFile[float32](name)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func isShape(t *testing.T, a npy.Array[float32], want ...int) {
	t.Helper()
	if !slices.Equal(a.Shape, want) {
		t.Errorf("shape %v, want %v", a.Shape, want)
	}
}

// The output's name says what is written.
func TestSampleWritesWhatTheNameAsksFor(t *testing.T) {
	workspaceWithRun(t)
	sampled(t, "a.npy", "--n", "3", "--sampler", "ddim", "--steps", "4")
	a := readArray(t, "a.npy")
	isShape(t, a, 3, 1, tinySize, tinySize)
	for _, v := range a.Data {
		if v < -1 || v > 1 {
			t.Fatalf("a sample of the clipping sampler has the value %v", v)
		}
	}

	sampled(t, "a.png", "--n", "3", "--sampler", "ddim", "--steps", "4", "--eta", "0.5", "--seed", "7")
	if m, err := png.Decode(bytes.NewReader(readFile(t, "a.png"))); err != nil || m.Bounds().Dx() < 3*tinySize {
		t.Errorf("the grid is %v, %v", m.Bounds(), err)
	}
	texts, err := images.ReadText(bytes.NewReader(readFile(t, "a.png")))
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []images.Text{{Key: "sampler", Value: "ddim"}, {Key: "steps ddim", Value: "4"}, {Key: "eta", Value: "0.5"},
		{Key: "seed", Value: "7"}, {Key: "weights", Value: "ema"}, {Key: "training step", Value: "6"},
		{Key: "model", Value: "runs/tiny/checkpoints/step-00000006"}} {
		if !slices.Contains(texts, want) {
			t.Errorf("the PNG's provenance lacks %+v: %+v", want, texts)
		}
	}

	sampled(t, "a.gif", "--n", "2", "--sampler", "ddpm")
	g, err := gif.DecodeAll(bytes.NewReader(readFile(t, "a.gif")))
	if err != nil {
		t.Fatal(err)
	}
	if len(g.Image) != 20 {
		t.Errorf("the walk of 20 steps has %d frames", len(g.Image))
	}

	must(t, "sample", "--out", "many", "--n", "3", "--sampler", "ddim", "--steps", "4")
	for i := range 3 {
		m, err := png.Decode(bytes.NewReader(readFile(t, filepath.Join("many", fmt.Sprintf("%05d.png", i)))))
		if err != nil || m.Bounds().Dx() != tinySize {
			t.Fatalf("image %d: %v", i, err)
		}
		gray, _, _, _ := m.At(2, 5).RGBA()
		if want := (a.Data[i*64+5*8+2] + 1) * 127.5; float64(gray>>8)-float64(want) > 1 || float64(want)-float64(gray>>8) > 1 {
			t.Errorf("image %d has %d where the sample has %v", i, gray>>8, want)
		}
	}
}

// Without --out, the first free name is taken: samples are never overwritten unasked.
func TestSampleTakesAFreeName(t *testing.T) {
	workspaceWithRun(t)
	args := []string{"sample", "--n", "1", "--sampler", "ddim", "--steps", "2"}
	for _, want := range []string{"samples.png\n", "samples-2.png\n", "samples-3.png\n"} {
		if got := must(t, args...); got != want {
			t.Errorf("wrote %q, want %q", got, want)
		}
	}
}

// Samplers are compared side by side, from one x_T, in a grid and in a walk. Flags go to the samplers that take them.
func TestCompare(t *testing.T) {
	workspaceWithRun(t)
	width := func(name string) int {
		if strings.HasSuffix(name, ".gif") {
			g, err := gif.DecodeAll(bytes.NewReader(readFile(t, name)))
			if err != nil {
				t.Fatal(err)
			}
			if len(g.Image) != 20 {
				t.Errorf("%s has %d frames, want as many as the longest walk has steps", name, len(g.Image))
			}
			return g.Config.Width
		}
		m, err := png.Decode(bytes.NewReader(readFile(t, name)))
		if err != nil {
			t.Fatal(err)
		}
		return m.Bounds().Dx()
	}
	for _, ext := range []string{".png", ".gif"} {
		must(t, "sample", "--sampler", "ddpm", "--n", "2", "--out", "one"+ext)
		must(t, "sample", "--compare", "ddpm, ddim", "--eta", "1", "--variance", "beta", "--n", "2", "--out", "two"+ext)
		if one, two := width("one"+ext), width("two"+ext); two <= one {
			t.Errorf("%s: two samplers take %d pixels, one takes %d", ext, two, one)
		}
	}
}

// The newest run is the one whose checkpoint was written last.
func TestSampleTakesTheNewestRun(t *testing.T) {
	workspaceWithRun(t)
	must(t, "train", "--config", "tiny.toml", "--out", "runs/second", "--stop-at", "1")
	ago := time.Now().Add(-time.Hour)
	for run, want := range map[string]string{"second": "runs/tiny/checkpoints/step-00000006", "tiny": "runs/second/checkpoints/step-00000001"} {
		manifests, err := filepath.Glob("runs/" + run + "/checkpoints/*/manifest.json")
		if err != nil || len(manifests) == 0 {
			t.Fatalf("%v, %v", manifests, err)
		}
		ago = ago.Add(-time.Hour)
		for _, m := range manifests {
			if err := os.Chtimes(m, ago, ago); err != nil {
				t.Fatal(err)
			}
		}
		r := call("sample", "--n", "1", "--sampler", "ddim", "--steps", "1")
		if r.code != exitDone {
			t.Fatal(r.stderr)
		}
		has(t, "stderr", r.stderr, "model "+native(want)+"\n")
	}
}

// Image i has the same bits in every batch, on any number of threads, and whatever is sampled with it.
func TestAnImageDependsOnSeedAndNumberAlone(t *testing.T) {
	workspaceWithRun(t)
	args := []string{"--n", "5", "--sampler", "ddpm", "--seed", "11"}
	want := sampled(t, "want.npy", args...)
	for _, more := range [][]string{{"--batch", "1"}, {"--batch", "3"}, {"--batch", "64"}, {"--threads", "1"}, {"--threads", "2"},
		{"--batch", "2", "--threads", "2"}, {"--model", "runs/tiny"}, {"--model", "runs/tiny/checkpoints/step-00000006"}} {
		if !bytes.Equal(want, sampled(t, "got.npy", append(more, args...)...)) {
			t.Errorf("%v changes the images", more)
		}
	}
	sampled(t, "two.npy", "--n", "2", "--sampler", "ddpm", "--seed", "11")
	if all, two := readArray(t, "want.npy"), readArray(t, "two.npy"); !slices.Equal(all.Data[:len(two.Data)], two.Data) {
		t.Error("the first two of five images are not those of a run of two")
	}
	for _, more := range [][]string{{"--seed", "12"}, {"--ema=false"}, {"--clip", "none"}, {"--variance", "beta"}, {"--steps", "10"}} {
		if bytes.Equal(want, sampled(t, "got.npy", append(args, more...)...)) {
			t.Errorf("%v does not change the images", more)
		}
	}
}

// --step-seed varies the noise of the steps and leaves x_T: ddpm's images change, those of ddim without noise do
// not, and a walk of one deterministic step from the same x_T stays.
func TestStepSeedKeepsXT(t *testing.T) {
	workspaceWithRun(t)
	for _, c := range []struct {
		args    []string
		changes bool
	}{
		{[]string{"--sampler", "ddpm"}, true},
		{[]string{"--sampler", "ddim", "--eta", "0.8"}, true},
		{[]string{"--sampler", "ddim", "--eta", "hat"}, true},
		{[]string{"--sampler", "ddim"}, false},
		{[]string{"--sampler", "ddpm", "--steps", "1"}, false}, // no noise in the last step: a function of x_T
		{[]string{"--sampler", "dpm++2m", "--steps", "9"}, false},
	} {
		args := append([]string{"--n", "2"}, c.args...)
		a, b := sampled(t, "a.npy", append(args, "--step-seed", "1")...), sampled(t, "b.npy", append(args, "--step-seed", "2")...)
		if changes := !bytes.Equal(a, b); changes != c.changes {
			t.Errorf("%v: the step seed changes the images: %v, want %v", c.args, changes, c.changes)
		}
	}
	same := []string{"--n", "2", "--sampler", "ddpm", "--seed", "5"}
	if !bytes.Equal(sampled(t, "a.npy", same...), sampled(t, "b.npy", append(same, "--step-seed", "5")...)) {
		t.Error("without --step-seed, the steps' noise is not that of --seed")
	}
}

// --noise starts from the file's x_T, and the file says how many images there are.
func TestNoiseFromAFile(t *testing.T) {
	workspaceWithRun(t)
	p, err := unstir.Open(t.Context(), "runs/tiny")
	if err != nil {
		t.Fatal(err)
	}
	x := npy.Array[float32]{Shape: []int{3, 1, tinySize, tinySize}, Data: make([]float32, 3*64)}
	for i := range x.Data {
		x.Data[i] = float32(i%13)/6 - 1
	}
	if err := npy.WriteFile("x.npy", x); err != nil {
		t.Fatal(err)
	}
	sampled(t, "a.npy", "--noise", "x.npy", "--sampler", "ddim", "--steps", "5")
	want, err := p.Sample(t.Context(), unstir.SampleOptions{N: 3, Sampler: "ddim", Steps: 5, XT: x.Data})
	if err != nil {
		t.Fatal(err)
	}
	a := readArray(t, "a.npy")
	isShape(t, a, 3, 1, tinySize, tinySize)
	if !slices.Equal(a.Data, want.Data) {
		t.Error("the images are not the library's")
	}
}

// Deterministic sampling is undone by ddim-inverse, up to the error of its steps.
func TestInversionReturnsTheNoise(t *testing.T) {
	workspaceWithRun(t)
	args := []string{"--clip", "none", "--steps", "20"}
	sampled(t, "x0.npy", append(args, "--sampler", "ddim", "--n", "2")...)
	sampled(t, "xT.npy", append(args, "--sampler", "ddim-inverse", "--noise", "x0.npy")...)
	sampled(t, "again.npy", append(args, "--sampler", "ddim", "--noise", "xT.npy")...)
	a, b := readArray(t, "x0.npy"), readArray(t, "again.npy")
	var off, size float64
	for i, v := range a.Data {
		off += float64(v-b.Data[i]) * float64(v-b.Data[i])
		size += float64(v) * float64(v)
	}
	if off > 0.05*size {
		t.Errorf("the round trip is off by %.3g of the images", off/size)
	}
}

// An interrupted run of sampling writes nothing, and says so.
func TestInterruptedSamplingWritesNothing(t *testing.T) {
	workspaceWithRun(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for _, args := range [][]string{{"sample", "--out", "a.png"}, {"predict", "--x", "a.npy", "--t", "1", "--out", "b.npy"}} {
		r := callContext(ctx, args...)
		if r.code != exitFailed || !strings.HasPrefix(r.stderr, "diffusion: interrupted") {
			t.Errorf("%v: exit code %d, %q", args, r.code, r.stderr)
		}
	}
	for _, name := range []string{"a.png", "b.npy"} {
		if exists(name) {
			t.Errorf("%s was written", name)
		}
	}
}

// A checkpoint with one byte changed is refused by name, and passed over in a run.
func TestDamagedCheckpoints(t *testing.T) {
	workspaceWithRun(t)
	dir := "runs/tiny/checkpoints/step-00000006"
	for _, name := range []string{"unet/diffusion_pytorch_model.safetensors", "scheduler/scheduler_config.json", "training/state.json", "manifest.json"} {
		flipByte(t, filepath.Join(dir, name))
		r := call("sample", "--model", dir, "--n", "1", "--out", "a.png")
		if r.code != exitFailed || strings.Count(r.stderr, "\n") != 1 || exists("a.png") {
			t.Errorf("%s: exit code %d, %q", name, r.code, r.stderr)
		}
		has(t, "stderr", r.stderr, native(dir), name)
		r = call("inspect", dir)
		if r.code != exitFailed || r.out != "" {
			t.Errorf("inspect, %s: exit code %d, %q", name, r.code, r.out)
		}
		r = call("sample", "--model", "runs/tiny", "--sampler", "ddim", "--steps", "1", "--n", "1", "--out", "b.png")
		if r.code != exitDone {
			t.Errorf("%s: %s", name, r.stderr)
		}
		has(t, "stderr", r.stderr, "skipped a damaged checkpoint: ", native(dir), name, native("model runs/tiny/checkpoints/step-00000004\n"))
		flipByte(t, filepath.Join(dir, name)) // back again
	}
	must(t, "inspect", dir)
}
