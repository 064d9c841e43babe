package main

import (
	"bytes"
	"image/gif"
	"slices"
	"strings"
	"testing"

	"unstir/internal/images"
)

// Strength 0 gives the images back, each in turn; the more of the steps are run, the less is left of them.
func TestSampleBeginsWithImages(t *testing.T) {
	workspaceWithRun(t)
	const run = "--sampler ddim --steps 20 --init images --strength "
	sampled(t, "all.npy", strings.Fields(run+"0")...)
	all := readArray(t, "all.npy")
	isShape(t, all, 7, 1, 8, 8)
	for i, name := range []string{"0.png", "1.png", "2.png", "3.png", "4.png", "5.png", "6.png"} {
		for j, v := range decoded(t, "images/"+name).Pix {
			if got := (all.Data[i*64+j] + 1) * 127.5; got != float32(v) {
				t.Fatalf("%s: pixel %d is %v, was %d", name, j, got, v)
			}
		}
	}
	last := 0.0
	for _, strength := range []string{"0.2", "0.5", "1"} {
		sampled(t, "b.npy", strings.Fields(run+strength)...)
		e := rms(t, readArray(t, "b.npy"), all)
		if e <= last {
			t.Errorf("strength %s is %.3f away from the images, the one before %.3f", strength, e, last)
		}
		last = e
	}

	// More images than there are begin with them again; image i is the same whatever is sampled beside it.
	sampled(t, "nine.npy", strings.Fields(run+"0.5 --n 9 --batch 2 --threads 1")...)
	sampled(t, "seven.npy", strings.Fields(run+"0.5")...)
	nine, seven := readArray(t, "nine.npy"), readArray(t, "seven.npy")
	isShape(t, nine, 9, 1, 8, 8)
	if !slices.Equal(nine.Data[:7*64], seven.Data) || slices.Equal(nine.Data[7*64:8*64], seven.Data[:64]) {
		t.Error("of nine images the first seven are not those of seven, or the eighth is the first")
	}
	sampled(t, "one.npy", strings.Fields("--sampler ddim --steps 20 --init images/0.png --strength 0.5")...)
	if !slices.Equal(readArray(t, "one.npy").Data, seven.Data[:64]) {
		t.Error("a picture alone comes out differently")
	}

	// The noise may come from a file, which says how many images there are.
	sampled(t, "noise.npy", "--sampler", "ddim", "--steps", "2", "--n", "3")
	sampled(t, "c.npy", strings.Fields("--sampler ddim --steps 20 --init images --noise noise.npy")...)
	isShape(t, readArray(t, "c.npy"), 3, 1, 8, 8)
}

// Every sampler that makes images takes them to begin with; a walk shows the steps that are run, and the picture says how
// it was made.
func TestSampleBeginsWithImagesByEverySampler(t *testing.T) {
	workspaceWithRun(t)
	for _, name := range []string{"ddpm", "ddim", "dpm++1", "dpm++2m", "dpm++2m-heun", "heun"} {
		sampled(t, "walk.gif", "--sampler", name, "--steps", "5", "--init", "images/3.png", "--strength", "0.6")
		g, err := gif.DecodeAll(bytes.NewReader(readFile(t, "walk.gif")))
		if err != nil || len(g.Image) != 3 {
			t.Errorf("%s: the walk has %d frames, %v, want 3 of 5 steps", name, len(g.Image), err)
		}
	}
	sampled(t, "a.png", "--compare", "ddpm,heun", "--steps", "5", "--init", "images/3.png", "--n", "2", "--strength", "0.60")
	texts, err := images.ReadText(bytes.NewReader(readFile(t, "a.png")))
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []images.Text{{Key: "init", Value: "3.png"}, {Key: "strength", Value: "0.60"}, {Key: "steps heun", Value: "5"}} {
		if !slices.Contains(texts, want) {
			t.Errorf("the picture lacks %+v: %+v", want, texts)
		}
	}
	r := call("sample", "--sampler", "ddim", "--init", "images/3.png", "--strength", "0.01", "--steps", "20", "--out", "b.npy")
	if r.code != exitDone {
		t.Fatal(r.stderr)
	}
	has(t, "stderr", r.stderr, "note: strength 0.01 leaves none of the 20 steps: the images are those given")
}

// A directory of such images is of one strength and of the same images.
func TestADirectoryOfImagesFromImages(t *testing.T) {
	workspaceWithRun(t)
	args := []string{"sample", "--sampler", "ddim", "--steps", "4", "--init", "images", "--out", "set"}
	must(t, append(args, "--strength", "0.5")...)
	must(t, append(args, "--strength", "0.50", "--n", "8")...)
	if got := pngs(t, "set"); len(got) != 8 {
		t.Errorf("%d pictures", len(got))
	}
	r := call(append(args, "--strength", "0.6", "--n", "8")...)
	if r.code != exitUsage || !strings.Contains(r.stderr, "made with strength = 0.5, this command has 0.6") {
		t.Errorf("another strength: exit code %d: %s", r.code, r.stderr)
	}
}
