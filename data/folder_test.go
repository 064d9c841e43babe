package data

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"image"
	"image/color"
	"image/draw"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// plain is a w x h image of one colour.
func plain(w, h int, c color.Color) image.Image {
	m := image.NewRGBA(image.Rect(0, 0, w, h))
	draw.Draw(m, m.Rect, image.NewUniform(c), image.Point{}, draw.Src)
	return m
}

var (
	red  = color.RGBA{255, 0, 0, 255}
	blue = color.RGBA{0, 0, 255, 255}
)

func TestFolderIsReadRecursivelyWithLabels(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "dog", "deep", "er", "b.JPG"), jpegBytes(t, plain(9, 9, blue)))
	write(t, filepath.Join(dir, "cat", "a.png"), pngBytes(t, plain(6, 4, red)))
	write(t, filepath.Join(dir, "cat", "c.jpeg"), jpegBytes(t, plain(4, 6, color.Gray{100})))
	write(t, filepath.Join(dir, "top.png"), pngBytes(t, plain(5, 5, color.White)))
	write(t, filepath.Join(dir, "cat", ".hidden.png"), []byte("no image"))
	write(t, filepath.Join(dir, ".thumbs", "x.png"), []byte("no image"))
	write(t, filepath.Join(dir, "empty", "notes.txt"), []byte("text"))
	var log bytes.Buffer
	var seen []Progress
	ds, err := Open(context.Background(), Config{Dataset: Folder, Dir: dir, Size: Size{4, 4}},
		Options{Log: &log, Progress: func(p Progress) { seen = append(seen, p) }})
	if err != nil {
		t.Fatal(err)
	}
	in := ds.Info()
	if d := cmp.Diff([]string{"cat", "dog"}, in.Classes); d != "" {
		t.Errorf("classes: %s", d)
	}
	if in.Count != 4 || in.Channels != 3 || in.Height != 4 || in.Width != 4 || in.Name != Folder {
		t.Fatalf("%+v", in)
	}
	var labels []int
	for i := range in.Count {
		labels = append(labels, ds.Label(i))
	}
	if d := cmp.Diff([]int{0, 0, 1, -1}, labels); d != "" {
		t.Errorf("labels: %s", d)
	}
	for i, want := range []color.RGBA{red, {100, 100, 100, 255}, {0, 0, 254, 255}, {255, 255, 255, 255}} {
		p := pixels(ds, i)
		for j := range 16 {
			if got := (color.RGBA{p[j], p[16+j], p[32+j], 255}); got != want {
				t.Fatalf("image %d, pixel %d: %v, want %v", i, j, got, want)
			}
		}
	}
	if !strings.Contains(log.String(), "left out 1 file ("+filepath.Join("empty", "notes.txt")+"): not a picture\n") {
		t.Errorf("log %q does not speak of notes.txt", log.String())
	}
	if len(seen) == 0 || seen[len(seen)-1].Done != 4 || seen[0].Total != 4 || seen[0].Unit != "images" {
		t.Errorf("progress %v", seen)
	}
}

func TestFolderWithoutSizeKeepsTheImagesSize(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "a.png"), pngBytes(t, plain(7, 5, red)))
	write(t, filepath.Join(dir, "b.png"), pngBytes(t, plain(7, 5, color.White)))
	ds, err := Open(context.Background(), Config{Dataset: Folder, Dir: dir, Channels: 1}, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if in := ds.Info(); in.Height != 5 || in.Width != 7 || in.Channels != 1 || in.Classes != nil || ds.Label(0) != -1 {
		t.Errorf("%+v", in)
	}
	if p := pixels(ds, 0); p[0] != 76 { // 0.299 * 255
		t.Errorf("red is gray %d, want 76", p[0])
	}
	odd := write(t, filepath.Join(dir, "c.png"), pngBytes(t, plain(7, 6, red)))
	_, err = Open(context.Background(), Config{Dataset: Folder, Dir: dir}, Options{})
	wantError(t, err, odd, "5 x 7", "a.png", "data.size", "found 6 x 7")
}

func TestHashOfAFolderFollowsItsImagesNamesAndShape(t *testing.T) {
	open := func(files map[string]image.Image, c Config) string {
		dir := t.TempDir()
		for n, m := range files {
			write(t, filepath.Join(dir, n), pngBytes(t, m))
		}
		c.Dataset, c.Dir = Folder, dir
		ds, err := Open(context.Background(), c, Options{})
		if err != nil {
			t.Fatal(err)
		}
		return ds.Info().Hash
	}
	a, b := plain(4, 4, red), plain(4, 4, blue)
	base := open(map[string]image.Image{"a.png": a, "b.png": b}, Config{})
	if again := open(map[string]image.Image{"a.png": a, "b.png": b}, Config{}); again != base {
		t.Error("the same files in another directory have another hash")
	}
	for what, h := range map[string]string{
		"order":    open(map[string]image.Image{"a.png": b, "b.png": a}, Config{}),
		"labels":   open(map[string]image.Image{"x/a.png": a, "x/b.png": b}, Config{}),
		"size":     open(map[string]image.Image{"a.png": a, "b.png": b}, Config{Size: Size{8, 8}}),
		"channels": open(map[string]image.Image{"a.png": a, "b.png": b}, Config{Channels: 1}),
		"one more": open(map[string]image.Image{"a.png": a, "b.png": b, "c.png": b}, Config{}),
	} {
		if h == base {
			t.Errorf("another %s, the same hash", what)
		}
	}
}

// pngHeader is a PNG whose header promises w x h pixels and that ends there.
func pngHeader(w, h uint32) []byte {
	ihdr := binary.BigEndian.AppendUint32([]byte("IHDR"), w)
	ihdr = binary.BigEndian.AppendUint32(ihdr, h)
	ihdr = append(ihdr, 8, 2, 0, 0, 0)
	b := append([]byte("\x89PNG\r\n\x1a\n"), 0, 0, 0, 13)
	b = append(b, ihdr...)
	return binary.BigEndian.AppendUint32(b, crc32.ChecksumIEEE(ihdr))
}

func TestBadImagesAreNamed(t *testing.T) {
	good := pngBytes(t, plain(16, 16, red))
	photo := jpegBytes(t, plain(16, 16, red))
	tests := []struct {
		name  string
		bytes []byte
		parts []string
	}{
		{"m.png", nil, []string{wantPicture, "an empty file"}},
		{"m.jpg", []byte("GIF89a"), []string{"a whole GIF picture", "6 bytes that do not decode"}},
		{"m.png", good[:len(good)-30], []string{"a whole PNG picture", "do not decode"}},
		{"m.jpg", photo[:len(photo)-20], []string{"a whole JPEG picture", "do not decode"}},
		{"m.png", append(pngHeader(9000, 8000), make([]byte, 10000)...), []string{"1 to 67108864 pixels", "8000 x 9000 in the header"}},
		{"m.png", pngHeader(1000, 1000), []string{"1000 x 1000 in the header of a PNG file of 33 bytes"}},
	}
	for _, tt := range tests {
		for _, size := range []Size{{}, {16, 16}} {
			dir := t.TempDir()
			for _, n := range []string{"a.png", "z.png"} {
				write(t, filepath.Join(dir, n), good)
			}
			bad := write(t, filepath.Join(dir, tt.name), tt.bytes)
			_, err := Open(context.Background(), Config{Dataset: Folder, Dir: dir, Size: size}, Options{})
			wantError(t, err, append(tt.parts, bad)...)
			var fe *FileError
			if !errors.As(err, &fe) {
				t.Errorf("%v is no FileError", err)
			}
		}
	}
}

func TestFolderErrors(t *testing.T) {
	dir := t.TempDir()
	file := write(t, filepath.Join(dir, "sub", "x.txt"), []byte("x"))
	for _, tt := range []struct {
		dir   string
		split Split
		parts []string
	}{
		{"", Train, []string{"data.dir", "--data-dir"}},
		{filepath.Join(dir, "none"), Train, []string{"none", "--data-dir"}},
		{file, Train, []string{file, "a directory"}},
		{dir, Train, []string{dir, "*.png", "none; left out 1 file (" + filepath.Join("sub", "x.txt") + "): not a picture"}},
		{dir, Test, []string{"no test split"}},
	} {
		_, err := Open(context.Background(), Config{Dataset: Folder, Size: Size{4, 4}}, Options{Dir: tt.dir, Split: tt.split})
		wantError(t, err, tt.parts...)
	}
}

func TestFolderFollowsALinkAtItsRootAndToFiles(t *testing.T) {
	dir := t.TempDir()
	img := write(t, filepath.Join(dir, "real", "a.png"), pngBytes(t, plain(4, 4, red)))
	if err := os.Symlink(img, filepath.Join(dir, "real", "b.png")); err != nil {
		t.Skip("no symbolic links here:", err)
	}
	if err := os.Symlink(filepath.Join(dir, "real"), filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	ds, err := Open(context.Background(), Config{Dataset: Folder, Dir: filepath.Join(dir, "link")}, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if ds.Info().Count != 2 {
		t.Errorf("%d images, want 2", ds.Info().Count)
	}
}
