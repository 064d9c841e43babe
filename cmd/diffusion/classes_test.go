package main

import (
	"bytes"
	"image/png"
	"os"
	"slices"
	"strings"
	"testing"
)

// A folder's subdirectories are classes: they reach the model in training, and --label asks for one in sampling,
// predicting, encoding and interpolating.
func TestClassesFromFolderToSample(t *testing.T) {
	workspace(t)
	for _, class := range []string{"a", "b"} {
		if err := os.Mkdir("images/"+class, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for i := range 7 {
		name := string(rune('0'+i)) + ".png"
		if err := os.Rename("images/"+name, "images/"+string("ab"[i%2])+"/"+name); err != nil {
			t.Fatal(err)
		}
	}
	must(t, strings.Fields("train --config tiny.toml --set model.num_class_embeds=3 --steps 4 --set preview.every=4 --set preview.images=5 --set preview.steps=2")...) // class 2 has no images

	sampled(t, "both.npy", strings.Fields("--n 2 --label 0,1 --sampler ddim --steps 4")...)
	sampled(t, "zero.npy", strings.Fields("--n 2 --label 0 --sampler ddim --steps 4")...)
	both, zero := readArray(t, "both.npy").Data, readArray(t, "zero.npy").Data
	if !slices.Equal(both[:64], zero[:64]) {
		t.Error("image 0 of class 0 is another one beside an image of class 1")
	}
	if slices.Equal(both[64:], zero[64:]) {
		t.Error("image 1 is the same for both classes: the label changes nothing")
	}
	sampled(t, "turns.npy", strings.Fields("--n 2 --sampler ddim --steps 4")...)
	sampled(t, "all.npy", strings.Fields("--n 2 --label all --sampler ddim --steps 4")...)
	sampled(t, "names.npy", strings.Fields("--n 2 --label a,b --sampler ddim --steps 4")...)
	for _, name := range []string{"turns.npy", "all.npy", "names.npy"} {
		if !slices.Equal(readArray(t, name).Data, both) {
			t.Errorf("%s is not an image of each class", name)
		}
	}
	if out := must(t, "inspect"); !strings.Contains(out, "0 to 1: a, b") {
		t.Errorf("inspect does not name the classes:\n%s", out)
	}
	must(t, strings.Fields("sample --n 5 --sampler ddim --steps 4 --out turns.png")...)
	for _, name := range []string{"turns.png", "runs/tiny/previews/step-00000004.png"} {
		grid, err := png.Decode(bytes.NewReader(readFile(t, name)))
		if err != nil {
			t.Fatal(err)
		}
		if size := grid.Bounds().Size(); size.X != 8*(4*(8+2)+2) || size.Y != 8*(2*(8+2)+2) {
			t.Errorf("%s, 5 images of two classes in turn, is %v, not two pairs wide", name, size)
		}
	}
	must(t, strings.Fields("encode --images images/a/0.png --label 0 --steps 3 --out e.npy")...)
	must(t, strings.Fields("interpolate --from 1 --to e.npy --label 1 --steps 3 --frames 3 --out w.npy")...)
	walk := func(label string) []float32 {
		t.Helper()
		must(t, strings.Fields("interpolate --from images/a/0.png --to 2 --steps 3 --frames 4 --out w.npy --label "+label)...)
		return readArray(t, "w.npy").Data
	}
	if w := walk("0,1"); !slices.Equal(w[:2*64], walk("0")[:2*64]) || slices.Equal(w[2*64:], walk("0")[2*64:]) {
		t.Error("a walk from class 0 to class 1 is not half of class 0")
	}
	for args, want := range map[string]string{
		"predict --x e.npy --t 5 --out o.npy":                               "--label is missing: the model is class-conditional, with classes 0 to 1: a, b",
		"sample --noise e.npy --sampler ddim --out o.npy":                   "--label is missing: the model is class-conditional, with classes 0 to 1: a, b",
		"sample --n 1 --label 2 --out o.npy":                                `--label "2": the classes are 0 to 1: a, b`,
		"sample --n 1 --label c --out o.npy":                                `--label "c": the classes are 0 to 1: a, b`,
		"interpolate --from 1 --to 2 --out o.png --label all":               `--label "all": the classes are 0 to 1: a, b`,
		"interpolate --from 1 --to 2 --out o.png --label 0,x":               `--label "x": the classes are 0 to 1`,
		"interpolate --from 1 --to 2 --out o.png --label 0,1,0":             "--label 0,1,0: one class is wanted, or those of the two ends",
		"encode --images images/a/0.png --out o.npy":                        "--label is missing",
		"train --config tiny.toml --set model.num_class_embeds=1 --out one": "num_class_embeds is 1, but folder has 2 classes",
	} {
		if r := call(strings.Fields(args)...); r.code == 0 || !strings.Contains(said(r.stderr), want) {
			t.Errorf("diffusion %s: exit code %d, says %q, want %q", args, r.code, said(r.stderr), want)
		}
	}
}
