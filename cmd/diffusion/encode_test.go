package main

import (
	"bytes"
	"image/gif"
	"image/png"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"unstir/internal/npy"
)

// rms is the root mean square of the difference of two arrays of one shape.
func rms(t *testing.T, a, b npy.Array[float32]) float64 {
	t.Helper()
	isShape(t, a, b.Shape...)
	sum := 0.0
	for i, v := range a.Data {
		d := float64(v) - float64(b.Data[i])
		sum += d * d
	}
	return math.Sqrt(sum / float64(len(a.Data)))
}

// Images that are encoded and decoded come back, from a directory, a picture and an array; the encoding of one image
// does not depend on the others.
func TestEncodeThenSampleReturnsTheImages(t *testing.T) {
	workspaceWithRun(t)
	const decode = "--sampler ddim --steps 20 --clip none"
	must(t, strings.Fields("encode --model runs/tiny --images images --steps 20 --refine 10 --out all.npy")...)
	all := readArray(t, "all.npy")
	isShape(t, all, 7, 1, tinySize, tinySize)
	sampled(t, "back.npy", strings.Fields("--model runs/tiny --noise all.npy "+decode)...)
	back := readArray(t, "back.npy")

	must(t, strings.Fields("encode --model runs/tiny --images images/4.png --steps 20 --refine 10 --out four.npy")...)
	if four := readArray(t, "four.npy"); !slices.Equal(four.Data, all.Data[4*64:5*64]) {
		t.Error("image 4 alone has another encoding")
	}
	for y := range tinySize {
		for x := range tinySize {
			want := float32(-1)
			if (x+4)%3 == 0 || y == 4 {
				want = 1
			}
			if got := back.Data[4*64+y*tinySize+x]; math.Abs(float64(got-want)) > 0.05 {
				t.Errorf("pixel %d, %d of image 4 comes back as %g, was %g", x, y, got, want)
			}
		}
	}

	must(t, strings.Fields("encode --model runs/tiny --images back.npy --steps 20 --refine 10 --out again.npy")...)
	if e := rms(t, readArray(t, "again.npy"), all); e > 0.05 {
		t.Errorf("the encoding of the decoded images is off by %g", e)
	}
	r := call(strings.Fields("encode --model runs/tiny --images images/4.png --steps 20 --out checked.npy --check")...)
	has(t, "encode --check", r.stderr, "decoded, the images differ by 0.0")
}

// A walk has its frames in the form that the name asks for, and its ends are the images of the ends.
func TestInterpolateWalksFromEndToEnd(t *testing.T) {
	workspaceWithRun(t)
	walk := func(out string, args string) {
		t.Helper()
		if got := must(t, append(strings.Fields("interpolate --model runs/tiny --steps 8 --out "+out), strings.Fields(args)...)...); got != out+"\n" {
			t.Errorf("the output is %q, want the file's name", got)
		}
	}
	walk("walk.npy", "--from 1 --to 2 --frames 4")
	w := readArray(t, "walk.npy")
	isShape(t, w, 4, 1, tinySize, tinySize)
	for i, seed := range map[int]string{0: "1", 3: "2"} {
		sampled(t, "end.npy", strings.Fields("--model runs/tiny --n 1 --sampler ddim --steps 8 --seed "+seed)...)
		frame := npy.Array[float32]{Shape: []int{1, 1, tinySize, tinySize}, Data: w.Data[i*64 : (i+1)*64]}
		if e := rms(t, frame, readArray(t, "end.npy")); e > 1e-4 {
			t.Errorf("frame %d is off the image of seed %s by %g", i, seed, e)
		}
	}
	must(t, strings.Fields("encode --model runs/tiny --images images --steps 8 --out e.npy")...)
	walk("picture.npy", "--from images/2.png --to 5 --frames 3")
	walk("array.npy", "--from e.npy:2 --to 5 --frames 3")
	if !slices.Equal(readArray(t, "picture.npy").Data, readArray(t, "array.npy").Data) {
		t.Error("the walk from a picture is not the walk from its encoding")
	}
	walk("strip.png", "--from 1 --to e.npy:0 --frames 5")
	if m, err := png.Decode(bytes.NewReader(readFile(t, "strip.png"))); err != nil || m.Bounds().Dx() < 4*m.Bounds().Dy() {
		t.Errorf("the strip is %v, %v", m.Bounds(), err)
	}
	walk("walk.gif", "--from 1 --to 2 --frames 6 --sampler dpm++2m")
	if g, err := gif.DecodeAll(bytes.NewReader(readFile(t, "walk.gif"))); err != nil || len(g.Image) != 6 {
		t.Errorf("the animation has %d frames, %v", len(g.Image), err)
	}
}

// An exported model predicts what the run's does, as the moving average or raw, and in half precision nearly.
func TestExport(t *testing.T) {
	workspaceWithRun(t)
	x := npy.Array[float32]{Shape: []int{2, 1, tinySize, tinySize}, Data: make([]float32, 128)}
	for i := range x.Data {
		x.Data[i] = float32(i%11)/5 - 1
	}
	if err := npy.WriteFile("x.npy", x); err != nil {
		t.Fatal(err)
	}
	predict := func(model string, args ...string) npy.Array[float32] {
		t.Helper()
		must(t, append(strings.Fields("predict --x x.npy --t 3,15 --out e.npy --model "+model), args...)...)
		return readArray(t, "e.npy")
	}
	must(t, strings.Fields("export --model runs/tiny --out full")...)
	must(t, strings.Fields("export --model runs/tiny --out raw --ema=false")...)
	must(t, strings.Fields("export --model runs/tiny --out half --dtype float16")...)
	want, raw := predict("runs/tiny"), predict("runs/tiny", "--ema=false")
	if !slices.Equal(predict("full").Data, want.Data) || !slices.Equal(predict("raw").Data, raw.Data) {
		t.Error("an exported model predicts something else")
	}
	if slices.Equal(want.Data, raw.Data) {
		t.Error("the average and the raw weights predict the same: the test shows nothing")
	}
	if e := rms(t, predict("half"), want); e == 0 || e > 5e-3 {
		t.Errorf("in half precision the prediction is off by %g", e)
	}
	if isDir(filepath.Join("full", "training")) {
		t.Error("the export has the training's files")
	}
}

// What the three commands cannot do is told in one line; no file is made.
func TestBadEncodings(t *testing.T) {
	workspaceWithRun(t)
	writeFile(t, "text.png", []byte("no picture"))
	writeFile(t, "phone.jpg", []byte("\x00\x00\x00\x18ftypheic\x00\x00\x00\x00"))
	must(t, strings.Fields("sample --n 1 --sampler ddim --steps 2 --out walk.gif")...)
	if err := os.Mkdir("full", 0o755); err != nil {
		t.Fatal(err)
	}
	writeFile(t, "full/mine", nil)
	must(t, strings.Fields("encode --model runs/tiny --images images --steps 1 --refine 0 --out e.npy")...)
	before := files(t, ".")
	for _, c := range []struct {
		args string
		code int
		want string
	}{
		{"encode --out o.npy", 2, "--images is missing"},
		{"encode --images images", 2, "--out is missing"},
		{"encode --images images --out o.png", 2, "must end in .npy"},
		{"encode --images images --steps 0 --out o.npy", 2, "--steps 0: it must be at least 1"},
		{"encode --images images --steps 21 --out o.npy", 2, "at most 20"},
		{"encode --images images --refine -1 --out o.npy", 2, "--refine -1"},
		{"encode --images images --label 1 --out o.npy", 2, "not class-conditional"},
		{"encode --images none.png --out o.npy", 1, "none.png"},
		{"encode --images text.png --out o.npy", 1, `expected a picture (PNG, JPEG, WebP, GIF or BMP), found 10 bytes that begin with "no pictu"`},
		{"encode --images walk.gif --out o.npy", 1, "found an animated GIF; save the frames that are wanted as PNG"},
		{"encode --images phone.jpg --out o.npy", 1, "--images phone.jpg: expected a picture (PNG, JPEG, WebP, GIF or BMP), found a HEIC picture; convert to PNG or JPEG"},
		{"interpolate --from 1 --to phone.jpg --steps 5 --out o.png", 1, "--to phone.jpg: expected a picture (PNG, JPEG, WebP, GIF or BMP), found a HEIC picture"},
		{"encode --images images --spacing odd --out o.npy", 2, "it must be leading, trailing, linspace, quad"},
		{"interpolate --from 1", 2, "--from and --to are needed"},
		{"interpolate --from 1 --to 2 --sampler ddpm", 2, "it must be one that draws no noise: ddim, "},
		{"interpolate --from 1 --to 2 --frames 1", 2, "--frames 1: it must be at least 2"},
		{"interpolate --from 1 --to 2 --out o.jpg", 2, "must end in .png, .gif or .npy"},
		{"interpolate --from 1 --to e.npy --steps 5 --out o.png", 2, "has 7 images; name one, such as e.npy:0"},
		{"interpolate --from 1 --to e.npy:7 --steps 5 --out o.png", 2, "counted from 0"},
		{"interpolate --from 1 --to images --steps 5 --out o.png", 2, "it is a directory"},
		{"export", 2, "--out is missing"},
		{"export --out o --dtype int8", 2, "it must be float32 or float16"},
		{"export --out full", 1, "it holds mine, name a new directory: file already exists"},
	} {
		r := call(append(strings.Fields(c.args), "--model", "runs/tiny")...)
		if r.code != c.code || r.out != "" || !strings.Contains(said(r.stderr), c.want) {
			t.Errorf("diffusion %s: exit code %d, want %d; output %q; says %q, want %q", c.args, r.code, c.code, r.out, said(r.stderr), c.want)
		}
	}
	if after := files(t, "."); len(after) != len(before) {
		t.Errorf("there are %d files, and were %d", len(after), len(before))
	}
}
