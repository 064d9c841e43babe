package main

import (
	"bytes"
	"image"
	"image/png"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"unstir/internal/images"
)

// sample --demo needs nothing but the program: by default it draws four digits of each class by DDIM in 25 steps, in columns
// by class.
func TestSampleDemo(t *testing.T) {
	t.Chdir(t.TempDir())
	for _, c := range []struct {
		args       string
		steps, eta string
		size       image.Point
	}{
		{"--steps 1", "1", "1", image.Pt(10, 4)},
		{"--n 1", "25", "1", image.Pt(1, 1)},
		{"--n 1 --eta 0.5 --steps 2", "2", "0.5", image.Pt(1, 1)},
		{"--n 2 --label 7 --sampler heun --steps 2", "2", "", image.Pt(2, 1)},
	} {
		r := call(append(strings.Fields("sample --demo --out a.png"), strings.Fields(c.args)...)...)
		if r.code != exitDone || r.out != "a.png\n" {
			t.Fatalf("%s: exit code %d, %s", c.args, r.code, r.stderr)
		}
		has(t, "stderr", r.stderr, "model demo, which is part of the program\n")
		b := readFile(t, "a.png")
		m, err := png.DecodeConfig(bytes.NewReader(b))
		if err != nil {
			t.Fatal(err)
		}
		const cell, border = 2 * (28 + gridPadding), 2 * gridPadding
		if m.Width != c.size.X*cell+border || m.Height != c.size.Y*cell+border {
			t.Errorf("%s: the picture is %dx%d, want %v images", c.args, m.Width, m.Height, c.size)
		}
		texts, err := images.ReadText(bytes.NewReader(b))
		if err != nil {
			t.Fatal(err)
		}
		sampler := "ddim"
		if strings.Contains(c.args, "heun") {
			sampler = "heun"
		}
		for _, want := range []images.Text{{Key: "model", Value: "demo"}, {Key: "sampler", Value: sampler}, {Key: "steps " + sampler, Value: c.steps}, {Key: "seed", Value: "0"}, {Key: "eta", Value: c.eta}} {
			if want.Value == "" {
				continue
			}
			if !slices.Contains(texts, want) {
				t.Errorf("%s: the picture's provenance lacks %+v: %+v", c.args, want, texts)
			}
		}
	}
	if out := must(t, strings.Fields("sample --demo --n 1 --steps 1")...); out != "samples.png\n" {
		t.Errorf("without --out it prints %q", out)
	}
	must(t, strings.Fields("sample --demo --compare ddpm,ddim --n 2 --steps 2 --out walks.gif")...)
	must(t, strings.Fields("sample --demo --n 3 --steps 1 --out many")...)
	if names, err := filepath.Glob("many/*.png"); err != nil || len(names) != 3 {
		t.Errorf("a directory of 3 images has %q (%v)", names, err)
	}
}

// The demo is a model for every command that takes one.
func TestDemoElsewhere(t *testing.T) {
	t.Chdir(t.TempDir())
	must(t, strings.Fields("sample --demo --eta 0 --label 7 --n 1 --steps 3 --out seven.npy")...)
	r := call(strings.Fields("encode --demo --images seven.npy --label 7 --refine 1 --steps 3 --out xT.npy --check")...)
	if r.code != exitDone {
		t.Fatal(r.stderr)
	}
	has(t, "encode", r.stderr, "decoded, the images differ by ")
	isShape(t, readArray(t, "xT.npy"), 1, 1, 28, 28)
	must(t, strings.Fields("interpolate --demo --label 3,8 --from 1 --to xT.npy --frames 3 --steps 2 --out walk.npy")...)
	isShape(t, readArray(t, "walk.npy"), 3, 1, 28, 28)
	must(t, strings.Fields("predict --demo --label 3 --x xT.npy --t 900 --out v.npy")...)
	isShape(t, readArray(t, "v.npy"), 1, 1, 28, 28)
	has(t, "inspect", must(t, "inspect", "--demo"), "demo, part of the program", "of 6000 steps", "mnist: 60000 images", "v_prediction", "total ", "1624577")

	must(t, "export", "--demo", "--out", "pipeline", "--dtype", "float16")
	for _, from := range []string{"--demo", "--model pipeline"} {
		must(t, strings.Fields("sample "+from+" --sampler ddim --eta 0 --label 7 --n 1 --steps 3 --out again.npy")...)
		if !slices.Equal(readArray(t, "again.npy").Data, readArray(t, "seven.npy").Data) {
			t.Errorf("sample %s draws another seven", from)
		}
	}
}

// encode, interpolate and sample take as many steps of the demo by default, so that an encoding is decoded.
func TestDemoStepsAgree(t *testing.T) {
	t.Chdir(t.TempDir())
	must(t, strings.Fields("sample --demo --eta 0 --label 7 --n 1 --seed 2 --out one.npy --clip none")...)
	must(t, strings.Fields("interpolate --demo --label 7 --from 2 --to 3 --frames 2 --out two.npy --clip none")...)
	must(t, strings.Fields("encode --demo --label 7 --images one.npy --refine 2 --out xT.npy")...)
	must(t, strings.Fields("sample --demo --label 7 --noise xT.npy --clip none --out back.npy")...)
	one, two, back := readArray(t, "one.npy").Data, readArray(t, "two.npy").Data, readArray(t, "back.npy").Data
	if !slices.Equal(one, two[:len(one)]) {
		t.Error("interpolate begins with another image than sample")
	}
	sum := 0.0
	for i, v := range one {
		sum += float64((v - back[i]) * (v - back[i]))
	}
	if rms := sum / float64(len(one)); rms > 0.05*0.05 {
		t.Errorf("decoded, the image differs by %g (mean square)", rms)
	}
}

// eval --demo needs no data.
func TestEvalDemo(t *testing.T) {
	if testing.Short() {
		t.Skip("it measures 10,000 images")
	}
	t.Chdir(t.TempDir())
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	t.Setenv("HOME", t.TempDir())
	m := resultOf(t, must(t, strings.Fields("eval --demo --n 100 --steps 2 --json -")...))
	for key, want := range map[string]any{"dataset": "mnist", "n": 100.0, "sampler": "ddim", "steps": 2.0, "model_step": 6000.0} {
		if m[key] != want {
			t.Errorf("%s is %v, want %v", key, m[key], want)
		}
	}
	for _, key := range []string{"frechet", "frechet_real", "class_accuracy"} {
		if m[key] == nil {
			t.Errorf("%s is null", key)
		}
	}
}
