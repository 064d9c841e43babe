package main

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
	"image"
	"image/color"
	"image/gif"
	"image/png"
	"os"
	"slices"
	"strings"
	"testing"
)

// sideways is m as a PNG picture that is stored turned, with the EXIF orientation 6 that turns it back.
func sideways(t *testing.T, m image.Image) []byte {
	t.Helper()
	w, h := m.Bounds().Dx(), m.Bounds().Dy()
	turned := image.NewGray(image.Rect(0, 0, h, w))
	for y := range h {
		for x := range w {
			turned.Set(y, w-1-x, m.At(x, y))
		}
	}
	var b bytes.Buffer
	if err := png.Encode(&b, turned); err != nil {
		t.Fatal(err)
	}
	chunk := []byte("\x00\x00\x00\x1aeXIfMM\x00*\x00\x00\x00\x08\x00\x01\x01\x12\x00\x03\x00\x00\x00\x01\x00\x06\x00\x00\x00\x00\x00\x00")
	chunk = binary.BigEndian.AppendUint32(chunk, crc32.ChecksumIEEE(chunk[4:]))
	return slices.Insert(b.Bytes(), b.Len()-12, chunk...)
}

// A picture is seen upright, whatever it is called, by every command that reads one.
func TestPicturesEnterUprightAndByTheirContent(t *testing.T) {
	workspaceWithRun(t)
	m, err := png.Decode(bytes.NewReader(readFile(t, "images/4.png")))
	if err != nil {
		t.Fatal(err)
	}
	still := image.NewPaletted(m.Bounds(), color.Palette{color.Black, color.White})
	for y := range tinySize {
		for x := range tinySize {
			still.Set(x, y, m.At(x, y))
		}
	}
	var asGIF bytes.Buffer
	if err := gif.Encode(&asGIF, still, nil); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir("others", 0o755); err != nil {
		t.Fatal(err)
	}
	writeFile(t, "others/0.png", sideways(t, m))
	writeFile(t, "others/1.png", asGIF.Bytes())
	writeFile(t, "others/2", asGIF.Bytes()) // without an ending
	writeFile(t, "others/3.jpg", []byte("\x00\x00\x00\x18ftypheic\x00\x00\x00\x00"))

	encoded := func(images string) []float32 {
		t.Helper()
		must(t, strings.Fields("encode --model runs/tiny --steps 3 --out e.npy --images "+images)...)
		return readArray(t, "e.npy").Data
	}
	want := encoded("images/4.png")
	for _, name := range []string{"others/0.png", "others/1.png", "others/2"} {
		if !slices.Equal(encoded(name), want) {
			t.Errorf("%s is encoded as another picture", name)
		}
	}
	if !slices.Equal(encoded("others"), slices.Repeat(want, 3)) {
		t.Error("the directory is encoded as other pictures")
	}
	r := call(strings.Fields("encode --model runs/tiny --steps 3 --out e.npy --images others")...)
	has(t, "encode of a directory", r.stderr, "left out 1 file (3.jpg): a HEIC picture; convert to PNG or JPEG", "1 of 3 pictures are turned upright")

	walk := func(from string) []float32 {
		t.Helper()
		must(t, strings.Fields("interpolate --model runs/tiny --steps 3 --frames 2 --out w.npy --to 1 --from "+from)...)
		return readArray(t, "w.npy").Data
	}
	end := walk("images/4.png")
	for _, name := range []string{"others/0.png", "others/1.png", "others/2"} {
		if !slices.Equal(walk(name), end) {
			t.Errorf("the walk from %s begins at another picture", name)
		}
	}

	r = call(strings.Fields("train --config tiny.toml --set data.dir=others --set train.batch_size=3 --steps 2 --out runs/others")...)
	if r.code != exitDone {
		t.Fatal(r.stderr)
	}
	has(t, "train", r.stderr, "data folder: 3 images of 1x8x8", "left out 1 file (3.jpg): a HEIC picture", "1 of 3 pictures are turned upright")
	// A picture that is turned otherwise is another picture to a run that goes on.
	b := readFile(t, "others/0.png")
	at := bytes.Index(b, []byte("\x01\x12\x00\x03"))
	b[at+9] = 8
	binary.BigEndian.PutUint32(b[at+16:], crc32.ChecksumIEEE(b[at-14:at+16]))
	writeFile(t, "others/0.png", b)
	r = call(strings.Fields("train --resume auto --out runs/others --steps 2")...)
	if r.code == exitDone {
		t.Error("the run went on with a picture that is turned otherwise")
	}
	has(t, "resume", r.stderr, "1 of 3 pictures are turned upright, as their EXIF orientation says", "the dataset was folder: 3 images")
}
