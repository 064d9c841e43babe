package data

import (
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"image"
	"image/jpeg"
	"image/png"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// idxBytes is an IDX file of the magic number, the dimensions and the body.
func idxBytes(magic uint32, dims []uint32, body []byte) []byte {
	b := binary.BigEndian.AppendUint32(nil, magic)
	for _, d := range dims {
		b = binary.BigEndian.AppendUint32(b, d)
	}
	return append(b, body...)
}

// counting is n bytes 0, 1, 2, ...
func counting(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(i)
	}
	return b
}

// idxPair is n images of h x w and the labels 0, 1, ... 9, 0, ...
func idxPair(n, h, w int) (images, labels []byte) {
	l := counting(n)
	for i := range l {
		l[i] %= 10
	}
	return idxBytes(idxImages, []uint32{uint32(n), uint32(h), uint32(w)}, counting(n*h*w)),
		idxBytes(idxLabels, []uint32{uint32(n)}, l)
}

// cifarBytes is n records; record i has label i mod 10 and pixels that begin at
// first+i.
func cifarBytes(n, first int) []byte {
	var b []byte
	for i := range n {
		b = append(b, byte(i%10))
		for j := range cifarPixels {
			b = append(b, byte(first+i+j))
		}
	}
	return b
}

func gz(b []byte) []byte {
	var out bytes.Buffer
	w := gzip.NewWriter(&out)
	w.Write(b)
	w.Close()
	return out.Bytes()
}

// unpacked is how many bytes a gzip file really has, 0 for any other file.
func unpacked(b []byte) uint64 {
	z, err := gzip.NewReader(bytes.NewReader(b))
	if err != nil {
		return 0
	}
	n, _ := io.Copy(io.Discard, z)
	return uint64(n)
}

func write(t testing.TB, path string, b []byte) string {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, b, 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

func pngBytes(t testing.TB, img image.Image) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := png.Encode(&b, img); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func jpegBytes(t testing.TB, img image.Image) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := jpeg.Encode(&b, img, &jpeg.Options{Quality: 100}); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// wantError fails unless err holds each of the parts.
func wantError(t testing.TB, err error, parts ...string) {
	t.Helper()
	if err == nil {
		t.Fatalf("no error, want one that holds %q", parts)
	}
	for _, p := range parts {
		if !strings.Contains(err.Error(), p) {
			t.Errorf("error %q does not hold %q", err, p)
		}
	}
}

// pixels is image i of ds.
func pixels(ds Dataset, i int) []byte {
	in := ds.Info()
	b := make([]byte, in.Channels*in.Height*in.Width)
	ds.Image(i, b)
	return b
}
