package images

import (
	"bytes"
	"encoding/binary"
	"image"
	"image/color"
	"image/png"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

var provenance = []Text{
	{"unstir:model", "runs/mnist/checkpoints/step-00002000"},
	{"seed", "7"},
	{"empty", ""},
	{"Title", "Übung 3: x₀"},
	{"lines", "one\ntwo"},
}

func encode(t *testing.T, m image.Image, texts []Text) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := EncodePNG(&b, m, texts); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestPNGsSayHowTheyWereMade(t *testing.T) {
	want := graySolid(5, 4, 123)
	b := encode(t, want, provenance)
	m, err := png.Decode(bytes.NewReader(b)) // checks the CRC of every chunk
	if err != nil {
		t.Fatal(err)
	}
	if g, ok := m.(*image.Gray); !ok || !bytes.Equal(g.Pix, want.(*image.Gray).Pix) {
		t.Errorf("the pixels are not kept (%T)", m)
	}
	got, err := ReadText(bytes.NewReader(b))
	if err != nil || !slices.Equal(got, provenance) {
		t.Errorf("texts %q, %v", got, err)
	}
	if !bytes.Contains(b, []byte("tEXtseed\x007")) || !bytes.Contains(b, []byte("iTXtTitle\x00\x00\x00\x00\x00Übung")) {
		t.Error("the chunks are not the specification's")
	}
	if !bytes.Equal(b, encode(t, want, provenance)) {
		t.Error("the bytes are not the same each time")
	}
}

func TestRGBPixelsSurvive(t *testing.T) {
	c := color.RGBA{1, 200, 77, 255}
	m, err := png.Decode(bytes.NewReader(encode(t, solid(3, 3, c), nil)))
	if err != nil || color.RGBAModel.Convert(m.At(2, 2)) != c {
		t.Errorf("%v, %v", m.At(2, 2), err)
	}
}

func TestTextsThatPNGCannotHoldAreRefused(t *testing.T) {
	for _, text := range []Text{{"", "x"}, {strings.Repeat("k", 80), "x"}, {" k", "x"}, {"a  b", "x"}, {"schlüssel", "x"}, {"a\x00", "x"},
		{"k", "a\x00b"}, {"k", "\xff"}, {"k", strings.Repeat("x", maxText)}} {
		if err := EncodePNG(&bytes.Buffer{}, graySolid(1, 1, 0), []Text{text}); err == nil {
			t.Errorf("key %.20q with value %.20q was written", text.Key, text.Value)
		}
	}
}

func TestDamagedTextIsRefused(t *testing.T) {
	good := encode(t, graySolid(2, 2, 0), provenance)
	at := bytes.Index(good, []byte("step-00002000"))
	bad := slices.Clone(good)
	bad[at] ^= 1
	_, err := ReadText(bytes.NewReader(bad))
	wantError(t, err, "tEXt", "CRC")
	for n := range len(good) - 12 { // without IEND
		if _, err := ReadText(bytes.NewReader(good[:n])); err == nil {
			t.Fatalf("the first %d bytes of %d were accepted", n, len(good))
		}
	}
	huge := slices.Clone(good[:pngHead])
	huge = append(binary.BigEndian.AppendUint32(huge, 1<<31-1), "tEXt"...)
	_, err = ReadText(bytes.NewReader(huge))
	wantError(t, err, "limit")
	_, err = ReadText(strings.NewReader("GIF89a and more"))
	wantError(t, err, "not a PNG")
}

func TestWritePNG(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.png")
	if err := WritePNG(path, graySolid(2, 2, 9), provenance); err != nil {
		t.Fatal(err)
	}
	if got, err := textsOf(path); err != nil || !slices.Equal(got, provenance) {
		t.Errorf("%q, %v", got, err)
	}
	if err := WritePNG(path, graySolid(2, 2, 9), []Text{{"", ""}}); err == nil {
		t.Error("a wrong text was written")
	}
	if got, err := textsOf(path); err != nil || len(got) != len(provenance) {
		t.Errorf("the old file is gone: %q, %v", got, err)
	}
}

func textsOf(path string) ([]Text, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	return ReadText(bytes.NewReader(b))
}
