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
	must(t, strings.Fields("sample --sampler ddim --steps 4 --out all.png")...)
	must(t, strings.Fields("sample --sampler ddim --steps 4 --label a,b,a --out three.png")...)
	must(t, strings.Fields("export --model runs/tiny --out exported")...) // which has three classes, as it has no names
	must(t, strings.Fields("sample --model exported --sampler ddim --steps 4 --out whole.png")...)
	must(t, strings.Fields("sample --model exported --sampler ddim --steps 4 --n 64 --out ragged.png")...)
	if sampled(t, "whole.npy", strings.Fields("--model exported --sampler ddim --steps 4")...); readArray(t, "whole.npy").Shape[0] != 64 {
		t.Error("an array has other than 64 images")
	}
	for name, want := range map[string]struct{ rows, cols int }{
		"whole.png":                            {9, 7}, // 63 images
		"ragged.png":                           {9, 8},
		"turns.png":                            {2, 3}, // a row of each class
		"all.png":                              {8, 8}, // four of each, of the 64 images that both classes fill
		"three.png":                            {9, 8}, // three in turn, asked for: all 64
		"runs/tiny/previews/step-00000004.png": {2, 4}, // in columns
	} {
		grid, err := png.Decode(bytes.NewReader(readFile(t, name)))
		if err != nil {
			t.Fatal(err)
		}
		if size := grid.Bounds().Size(); size.X != 8*(want.cols*(8+2)+2) || size.Y != 8*(want.rows*(8+2)+2) {
			t.Errorf("%s, images of two classes in turn, is %v, not %d rows of %d", name, size, want.rows, want.cols)
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
		"interpolate --from 1 --to 2 --out o.png --label 0,x":               `--label "x": the classes are 0 to 1`,
		"interpolate --from 1 --to 2 --out o.png --label 0,1,0":             "--label 0,1,0: these are 3 classes; one is wanted, or those of the two ends",
		"encode --images images/a/0.png --out o.npy":                        "--label is missing",
		"train --config tiny.toml --set model.num_class_embeds=1 --out one": "num_class_embeds is 1, but folder has 2 classes",
	} {
		if r := call(strings.Fields(args)...); r.code == 0 || !strings.Contains(said(r.stderr), want) {
			t.Errorf("diffusion %s: exit code %d, says %q, want %q", args, r.code, said(r.stderr), want)
		}
	}
}

// Every command asks for a class by its folder's name first: a name that is a number, that has a comma, or that another
// system wrote in another Unicode form. A number that no folder has is not a place in the list.
func TestLabelsByNameInEveryCommand(t *testing.T) {
	workspace(t)
	classes := []string{"1", "10", "cafe\u0301", "goldfish, Carassius auratus"} // in the order of their labels
	for i, class := range classes {
		if err := os.Mkdir("images/"+class, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename("images/"+string(rune('0'+i))+".png", "images/"+class+"/0.png"); err != nil {
			t.Fatal(err)
		}
	}
	for _, spare := range []string{"4", "5", "6"} {
		if err := os.Rename("images/"+spare+".png", "images/1/"+spare+".png"); err != nil {
			t.Fatal(err)
		}
	}
	must(t, strings.Fields("train --config tiny.toml --set model.num_class_embeds=6 --steps 4 --set preview.every=0")...)
	commands := map[string]string{
		"sample":      "--n 4 --sampler ddim --steps 3",
		"encode":      "--images x.npy --steps 3",
		"predict":     "--x x.npy --t 7",
		"interpolate": "--from 1 --to 2 --frames 4 --steps 3",
		"inpaint":     "--image x.npy --mask images/10/0.png --sampler ddim --steps 3 --resample 2",
	}
	run := func(command, label string) (result, []string) {
		args := append([]string{command, "--model", "runs/tiny", "--out", "o.npy", "--label", label}, strings.Fields(commands[command])...)
		return call(args...), args
	}
	read := func(command, label string) []float32 {
		t.Helper()
		if r, args := run(command, label); r.code != exitDone {
			t.Fatalf("diffusion %q: exit code %d, %s", args, r.code, r.stderr)
		}
		return readArray(t, "o.npy").Data
	}
	sampled(t, "x.npy", "--n", "4", "--sampler", "ddim", "--steps", "3") // each class in turn
	turns := slices.Clone(readArray(t, "x.npy").Data)
	for command := range commands {
		first := read(command, classes[0])
		for i, label := range []string{"1", "10", "caf\u00e9", "goldfish, Carassius auratus"} {
			got := read(command, label)
			if command == "sample" && !slices.Equal(got[i*64:(i+1)*64], turns[i*64:(i+1)*64]) {
				t.Errorf("--label %s is not class %d", label, i)
			}
			if i > 0 && slices.Equal(got, first) {
				t.Errorf("%s: --label %s changes nothing", command, label)
			}
			if !slices.Equal(read(command, `"`+classes[i]+`"`), got) {
				t.Errorf("%s: the name of class %d in quotes is another class", command, i)
			}
		}
		a, b := `10 , "goldfish, Carassius auratus"`, `"10","goldfish, Carassius auratus"`
		if ab := read(command, a); !slices.Equal(ab, read(command, b)) || slices.Equal(ab, read(command, "10")) {
			t.Errorf("%s: --label %s is not two classes", command, a)
		}
		for label, want := range map[string]string{
			"0":        `--label "0": the classes are 1, 10, cafe` + "\u0301" + `, "goldfish, Carassius auratus"`,
			"2":        `--label "2": the classes are 1, 10, cafe` + "\u0301" + `, "goldfish, Carassius auratus"`,
			"01":       `--label "01": the classes are 1, 10, cafe` + "\u0301" + `, "goldfish, Carassius auratus" (did you mean 1?)`,
			"goldfish": `--label "goldfish": the classes are 1, 10, cafe` + "\u0301" + `, "goldfish, Carassius auratus" (did you mean "goldfish, Carassius auratus"?)`,
			"":         `--label "": the classes are 1, 10, cafe` + "\u0301" + `, "goldfish, Carassius auratus"`,
		} {
			if r, args := run(command, label); r.code != exitUsage || said(r.stderr) != want {
				t.Errorf("diffusion %q: exit code %d, says %q, want %q", args, r.code, said(r.stderr), want)
			}
		}
	}
	if !slices.Equal(read("sample", "all"), turns) || !slices.Equal(read("sample", `1,10,café,"goldfish, Carassius auratus"`), turns) {
		t.Error("all classes in turn are not what they are without --label")
	}
	if r, _ := run("interpolate", "all"); r.code != exitUsage || said(r.stderr) != "--label all: these are 4 classes; one is wanted, or those of the two ends" {
		t.Errorf("a walk through all classes: exit code %d, says %q", r.code, said(r.stderr))
	}
	if out := must(t, "inspect"); !strings.Contains(out, `1, 10, cafe`+"\u0301"+`, "goldfish, Carassius auratus"`+"\n") || strings.Contains(out, "0 to 3") {
		t.Errorf("inspect does not list the names as --label takes them:\n%s", out)
	}
}
