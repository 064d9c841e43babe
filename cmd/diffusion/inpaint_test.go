package main

import (
	"bytes"
	"image"
	"image/color"
	"image/gif"
	"image/png"
	"math"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"unstir/internal/images"
	"unstir/internal/npy"
)

// decoded is a gray picture's pixels.
func decoded(t *testing.T, name string) *image.Gray {
	t.Helper()
	m, err := png.Decode(bytes.NewReader(readFile(t, name)))
	if err != nil {
		t.Fatal(err)
	}
	gray, ok := m.(*image.Gray)
	if !ok {
		t.Fatalf("%s is a %T, want a gray picture", name, m)
	}
	return gray
}

// writeMask writes a mask that is white, or nearly, in the rows from the first to the last.
func writeMask(t *testing.T, name string, first, last int) {
	t.Helper()
	m := image.NewGray(image.Rect(0, 0, tinySize, tinySize))
	for y := range tinySize {
		for x := range tinySize {
			v := uint8(127 * (x % 2)) // black enough
			if first <= y && y <= last {
				v = uint8(128 + 127*(x%2))
			}
			m.SetGray(x, y, color.Gray{Y: v})
		}
	}
	var b bytes.Buffer
	if err := png.Encode(&b, m); err != nil {
		t.Fatal(err)
	}
	writeFile(t, name, b.Bytes())
}

// writeRamp writes a gray picture in which no two pixels are the same.
func writeRamp(t *testing.T, name string) {
	t.Helper()
	m := image.NewGray(image.Rect(0, 0, tinySize, tinySize))
	for i := range m.Pix {
		m.Pix[i] = uint8(4*i + 1)
	}
	var b bytes.Buffer
	if err := png.Encode(&b, m); err != nil {
		t.Fatal(err)
	}
	writeFile(t, name, b.Bytes())
}

// What the mask keeps is in a picture to the byte and in an array to the bit, and the rest is filled.
func TestInpaintKeepsWhatTheMaskKeeps(t *testing.T) {
	workspaceWithRun(t)
	writeRamp(t, "ramp.png")
	writeMask(t, "mask.png", 2, 4)
	run := strings.Fields("inpaint --image ramp.png --mask mask.png --sampler ddim --steps 5 --resample 2 --out")
	must(t, append(run, "one.png")...)
	got, want := decoded(t, "one.png"), decoded(t, "ramp.png")
	if got.Rect != want.Rect {
		t.Fatalf("the picture has the size %v, want %v", got.Rect.Size(), want.Rect.Size())
	}
	filled := 0
	for i, v := range got.Pix {
		switch row := i / tinySize; {
		case row < 2 || row > 4:
			if v != want.Pix[i] {
				t.Errorf("pixel %d is %d, was %d", i, v, want.Pix[i])
			}
		case v != want.Pix[i]:
			filled++
		}
	}
	if filled < 20 {
		t.Errorf("%d of 24 pixels are filled", filled)
	}

	a := npy.Array[float32]{Shape: []int{2, 1, 8, 8}, Data: make([]float32, 128)}
	for i := range a.Data {
		a.Data[i] = float32(math.Sin(float64(i)))
	}
	a.Data[3] = float32(math.Copysign(0, -1))
	if err := npy.WriteFile("two.npy", a); err != nil {
		t.Fatal(err)
	}
	must(t, strings.Fields("inpaint --image two.npy --mask mask.png --sampler ddim --steps 5 --n 3 --out filled.npy")...)
	b := readArray(t, "filled.npy")
	isShape(t, b, 3, 1, 8, 8)
	for i, v := range b.Data {
		if row := i % 64 / 8; (row < 2 || row > 4) && math.Float32bits(v) != math.Float32bits(a.Data[i%128]) {
			t.Errorf("value %d is %v, was %v", i, v, a.Data[i%128])
		}
	}
}

// Where the mask is white everywhere, the images are those that sample draws; the batch and the threads change nothing.
func TestInpaintOfEverythingIsSampling(t *testing.T) {
	workspaceWithRun(t)
	writeMask(t, "all.png", 0, 7)
	writeMask(t, "some.png", 1, 5)
	for _, sampler := range []string{"ddpm", "ddim", "dpm++1", "heun"} {
		must(t, "inpaint", "--image", "images/3.png", "--mask", "all.png", "--sampler", sampler, "--steps", "5", "--n", "3", "--seed", "4", "--out", "filled.npy")
		sampled(t, "plain.npy", "--sampler", sampler, "--steps", "5", "--n", "3", "--seed", "4")
		if !bytes.Equal(readFile(t, "filled.npy"), readFile(t, "plain.npy")) {
			t.Errorf("%s: filled from nothing, the images are not those of sample", sampler)
		}
		args := []string{"inpaint", "--image", "images/3.png", "--mask", "some.png", "--sampler", sampler, "--steps", "5", "--n", "3"}
		must(t, append(args, "--out", "a.npy")...)
		must(t, append(args, "--batch", "2", "--threads", "1", "--out", "b.npy")...)
		if !bytes.Equal(readFile(t, "a.npy"), readFile(t, "b.npy")) {
			t.Errorf("%s: in batches of 2 on one thread the fillings have other bits", sampler)
		}
	}
}

// A jump length that was not given fits the steps, and the note and the picture say which it is.
func TestInpaintFitsItsJumpLength(t *testing.T) {
	workspaceWithRun(t)
	writeMask(t, "mask.png", 2, 4)
	args := strings.Fields("inpaint --image images/3.png --mask mask.png --sampler ddim --steps 4 --seed 9")
	r := call(args...)
	if r.code != exitDone || r.out != "inpainted.png\n" {
		t.Fatalf("exit code %d, output %q: %s", r.code, r.out, r.stderr)
	}
	has(t, "stderr", r.stderr, "note: the jump length is 3 in place of 10, to fit 4 steps")
	texts, err := images.ReadText(bytes.NewReader(readFile(t, "inpainted.png")))
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []images.Text{{Key: "image", Value: "3.png"}, {Key: "mask", Value: "mask.png"}, {Key: "jump length", Value: "3"},
		{Key: "resample", Value: "10"}, {Key: "steps ddim", Value: "4"}, {Key: "seed", Value: "9"}} {
		if !slices.Contains(texts, want) {
			t.Errorf("the picture lacks %+v: %+v", want, texts)
		}
	}
	r = call(append(args, "--jump-length", "2")...)
	if r.code != exitDone || r.out != "inpainted-2.png\n" || strings.Contains(r.stderr, "jump length") {
		t.Errorf("with a jump length of 2: exit code %d, output %q: %s", r.code, r.out, r.stderr)
	}
	must(t, append(args, "--out", "walk.gif")...)
	g, err := gif.DecodeAll(bytes.NewReader(readFile(t, "walk.gif")))
	if err != nil || len(g.Image) != 4+9*3 {
		t.Errorf("the walk has %d frames, %v, want one for each step", len(g.Image), err)
	}
}

// Pictures with colours are filled in gray by a gray model, which a note says.
func TestInpaintNotesColours(t *testing.T) {
	workspaceWithRun(t)
	writeMask(t, "mask.png", 2, 4)
	writeFile(t, "red.png", picture(t, 8, 8, color.RGBA{R: 255, A: 255}))
	r := call(strings.Fields("inpaint --image red.png --mask mask.png --sampler ddim --steps 3")...)
	if r.code != exitDone {
		t.Fatal(r.stderr)
	}
	has(t, "stderr", r.stderr, "note: --image red.png has colours, and the model's images are gray")
	if got := decoded(t, "inpainted.png").Pix[0]; got != 76 {
		t.Errorf("what was red is %d, want its luma, 76", got)
	}
}

// A directory of fillings goes on, and is of one image, one mask and one way to fill.
func TestInpaintFillsADirectory(t *testing.T) {
	workspaceWithRun(t)
	writeMask(t, "mask.png", 2, 4)
	writeMask(t, "other.png", 2, 5)
	args := strings.Fields("inpaint --image images/3.png --mask mask.png --sampler ddim --steps 3 --out set")
	must(t, append(args, "--n", "2")...)
	must(t, append(args, "--n", "3")...)
	if got := pngs(t, "set"); len(got) != 3 {
		t.Errorf("%d pictures", len(got))
	}
	one := decoded(t, filepath.Join("set", "00002.png"))
	if want := decoded(t, "images/3.png"); one.Rect != want.Rect || !bytes.Equal(one.Pix[:16], want.Pix[:16]) {
		t.Error("what is kept of image 2 is not as it was")
	}
	for _, c := range []struct{ old, new, want string }{
		{"images/3.png", "images/4.png", "made with given = "},
		{"mask.png", "other.png", "made with mask = "},
		{"--steps 3", "--steps 3 --resample 2", "made with resample = 10, this command has 2"},
		{"--steps 3", "--steps 3 --jump-length 1", "made with jump_length = 2, this command has 1"},
	} {
		changed := strings.Replace(strings.Join(args, " ")+" --n 3", c.old, c.new, 1)
		r := call(strings.Fields(changed)...)
		if r.code != exitUsage || !strings.Contains(r.stderr, c.want) {
			t.Errorf("%s: exit code %d: %s", changed, r.code, r.stderr)
		}
	}
}
