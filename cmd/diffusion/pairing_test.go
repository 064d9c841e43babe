package main

import (
	"bytes"
	"slices"
	"strings"
	"testing"

	"unstir/internal/images"
)

// The tiny model has T = 20: 14 steps do not tile it, and of its linear betas
// the topmost do differ.
const gap = "with 14 steps and spacing trailing pairs each timestep with the one 1 below, though the next of its list lies 1.4"

// Steps that leave noise in the images have a note on stderr, with the nearest
// numbers of steps that tile and the option; --pairing next has none.
func TestStepsThatDoNotTileAreNoted(t *testing.T) {
	workspaceWithRun(t)
	const helps = "; take 10 or 20 steps, or --pairing next, which draws clean images with any number of steps\n"
	for _, c := range []struct{ args, want string }{
		{"sample --n 1 --out a.npy --sampler ddim --spacing trailing --steps 14", "note: ddim " + gap},
		{"sample --n 1 --out a.png --compare ddim,heun --spacing trailing --steps 14", "note: ddim " + gap},
		{"encode --images images/4.png --out e.npy --spacing trailing --steps 14", "note: ddim-inverse " + gap},
		{"interpolate --from 1 --to 2 --frames 2 --out w.npy --spacing trailing --steps 14", "note: ddim " + gap},
		{"interpolate --from images/4.png --to images/5.png --frames 2 --out w.npy --sampler heun --spacing trailing --steps 14", "note: ddim-inverse " + gap},
	} {
		args := append(strings.Fields(c.args), "--model", "runs/tiny")
		r := call(args...)
		if r.code != exitDone || strings.Count(r.stderr, "note: ") != 1 || !strings.Contains(r.stderr, c.want) || !strings.Contains(r.stderr, helps) {
			t.Errorf("diffusion %s: exit code %d, stderr\n%s", c.args, r.code, r.stderr)
		}
		if r := call(append(args, "--pairing", "next")...); r.code != exitDone || strings.Contains(r.stderr, "note: ") {
			t.Errorf("diffusion %s --pairing next: exit code %d, stderr\n%s", c.args, r.code, r.stderr)
		}
	}
	for _, steps := range []string{"10", "20"} {
		r := call("sample", "--model", "runs/tiny", "--n", "1", "--out", "a.npy", "--sampler", "ddim", "--spacing", "trailing", "--steps", steps)
		if r.code != exitDone || strings.Contains(r.stderr, "note: ") {
			t.Errorf("%s steps tile T = 20, and yet: %s", steps, r.stderr)
		}
	}
}

// The images of an encoding come back where both are paired alike.
func TestEncodePairsAsSampleDoes(t *testing.T) {
	workspaceWithRun(t)
	must(t, strings.Fields("encode --model runs/tiny --images images --steps 14 --refine 10 --pairing next --out x.npy")...)
	back := func(pairing string) float64 {
		sampled(t, "back.npy", strings.Fields("--model runs/tiny --noise x.npy --sampler ddim --steps 14 --clip none --pairing "+pairing)...)
		must(t, strings.Fields("encode --model runs/tiny --images back.npy --steps 14 --refine 10 --pairing next --out again.npy")...)
		return rms(t, readArray(t, "again.npy"), readArray(t, "x.npy"))
	}
	if next, stride := back("next"), back("stride"); !(next < 0.05 && next < stride/2) {
		t.Errorf("encoded again, the images are off by %.3g with --pairing next, and by %.3g with another pairing", next, stride)
	}
	r := call(strings.Fields("encode --model runs/tiny --images images --steps 14 --refine 10 --pairing next --out x.npy --check")...)
	has(t, "encode --check", r.stderr, "decoded, the images differ by 0.0")
}

// A picture says how its steps were paired, where that was chosen.
func TestPairingIsInThePicture(t *testing.T) {
	workspaceWithRun(t)
	want := images.Text{Key: "pairing", Value: "next"}
	must(t, strings.Fields("sample --model runs/tiny --n 1 --sampler ddim --steps 3 --pairing next --out a.png")...)
	must(t, strings.Fields("interpolate --model runs/tiny --from 1 --to 2 --frames 2 --steps 3 --pairing next --out b.png")...)
	for _, name := range []string{"a.png", "b.png"} {
		got, err := images.ReadText(bytes.NewReader(readFile(t, name)))
		if err != nil || !slices.Contains(got, want) {
			t.Errorf("%s says %v, %v", name, got, err)
		}
	}
}
