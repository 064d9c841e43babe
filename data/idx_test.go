package data

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"unstir/internal/alloctest"
)

func TestIDXIsReadUnderEveryName(t *testing.T) {
	images, labels := idxPair(12, 3, 5)
	names := [][2]string{
		{"train-images-idx3-ubyte", "train-labels-idx1-ubyte"},
		{"train-images.idx3-ubyte", "train-labels.idx1-ubyte"},
		{"train-images", "train-labels"},
	}
	want, hash := []byte(nil), ""
	for _, n := range names {
		for _, packed := range []bool{false, true} {
			dir := t.TempDir()
			im, lb, ext := images, labels, ""
			if packed {
				im, lb, ext = gz(images), gz(labels), ".gz"
			}
			write(t, filepath.Join(dir, n[0]+ext), im)
			write(t, filepath.Join(dir, n[1]+ext), lb)
			ds, err := Open(context.Background(), Config{Dataset: MNIST, Dir: dir}, Options{})
			if err != nil {
				t.Fatal(err)
			}
			in := ds.Info()
			if in.Count != 12 || in.Channels != 1 || in.Height != 3 || in.Width != 5 || len(in.Classes) != 10 || in.Split != Train {
				t.Fatalf("info %+v", in)
			}
			if want = counting(12 * 15)[15*7 : 15*8]; !bytes.Equal(pixels(ds, 7), want) || ds.Label(11) != 1 {
				t.Errorf("%s%s: image 7 is %v, want %v; label 11 is %d", n[0], ext, pixels(ds, 7), want, ds.Label(11))
			}
			if hash == "" {
				hash = in.Hash
			}
			if in.Hash != hash {
				t.Errorf("%s%s: the same data has another hash", n[0], ext)
			}
		}
	}
}

func TestGzipIsSeenByContentNotByName(t *testing.T) {
	dir := t.TempDir()
	images, labels := idxPair(4, 2, 2)
	write(t, filepath.Join(dir, "train-images-idx3-ubyte"), gz(images))
	write(t, filepath.Join(dir, "train-labels-idx1-ubyte.gz"), labels)
	if _, err := Open(context.Background(), Config{Dataset: FashionMNIST, Dir: dir}, Options{}); err != nil {
		t.Fatal(err)
	}
}

func TestBadIDXNamesFileExpectedAndFound(t *testing.T) {
	images, labels := idxPair(12, 3, 5)
	flip := func(b []byte, at int) []byte {
		b = bytes.Clone(b)
		b[at] ^= 0xff
		return b
	}
	huge := idxBytes(idxImages, []uint32{0xffffffff, 4096, 4096}, nil)
	badLabel := bytes.Clone(labels)
	badLabel[8+5] = 10
	_, fewer := idxPair(11, 3, 5)
	packed := gz(images)
	tests := []struct {
		name           string
		images, labels []byte
		parts          []string
	}{
		{"empty", nil, labels, []string{"train-images", "magic number 0x00000803", "end of the file after 0 bytes"}},
		{"short header", images[:10], labels, []string{"train-images", "header of IDX images", "end of the file after 10 bytes"}},
		{"labels as images", labels, labels, []string{"train-images", "magic number 0x00000803 (IDX images)", "0x00000801 (IDX labels)"}},
		{"images as labels", images, images, []string{"train-labels", "magic number 0x00000801 (IDX labels)", "0x00000803 (IDX images)"}},
		{"floats", idxBytes(0x0d03, []uint32{1, 1, 1}, nil), labels, []string{"0x00000d03 (IDX of type 0x0d with 3 dimensions)"}},
		{"text", []byte("<!DOCTYPE html>"), labels, []string{"train-images", "0x3c21444f (no IDX file)"}},
		{"cut", images[:len(images)-1], labels, []string{"train-images", "196 bytes (12 x 3 x 5", "a file of 195 bytes"}},
		{"too long", append(bytes.Clone(images), 0), labels, []string{"train-images", "196 bytes", "a file of 197 bytes"}},
		{"no images", idxBytes(idxImages, []uint32{0, 3, 5}, nil), labels, []string{"train-images", "at least one", "count of 0"}},
		{"no rows", idxBytes(idxImages, []uint32{3, 0, 5}, nil), labels, []string{"rows and columns from 1 to 4096", "0 in its header"}},
		{"many rows", idxBytes(idxImages, []uint32{3, 1 << 31, 5}, nil), labels, []string{"rows and columns from 1 to 4096", "2147483648"}},
		{"huge", huge, labels, []string{"4294967295 x 4096 x 4096", "a file of 16 bytes"}},
		{"huge gzip", gz(huge), labels, []string{"4294967295 x 4096 x 4096", "cannot hold that much"}},
		{"cut gzip", packed[:len(packed)-20], labels, []string{"train-images", "196 bytes", "gzip data", "cut off"}},
		{"cut gzip header", packed[:5], labels, []string{"train-images", "gzip", "cut off"}},
		{"no gzip trailer", packed[:len(packed)-8], labels, []string{"train-images", "cut off"}},
		{"wrong gzip checksum", flip(packed, len(packed)-6), labels, []string{"train-images", "damaged gzip data", "checksum"}},
		{"damaged gzip", flip(packed, 14), labels, []string{"train-images", "gzip"}},
		{"bad gzip header", append([]byte{0x1f, 0x8b, 99}, packed[3:]...), labels, []string{"train-images", "gzip", "header"}},
		{"gzip too long", gz(append(bytes.Clone(images), 1)), labels, []string{"train-images", "196 bytes", "more bytes"}},
		{"gzip too short", gz(images[:100]), labels, []string{"train-images", "196 bytes", "after 100 bytes unpacked"}},
		{"label out of range", images, badLabel, []string{"train-labels", "labels from 0 to 9", "label 10 at image 5"}},
		{"fewer labels", images, fewer, []string{"train-labels", "12 labels", "train-images", "found 11"}},
		{"cut labels", images, labels[:15], []string{"train-labels", "20 bytes", "a file of 15 bytes"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			write(t, filepath.Join(dir, "train-images-idx3-ubyte"), tt.images)
			write(t, filepath.Join(dir, "train-labels-idx1-ubyte"), tt.labels)
			_, err := Open(context.Background(), Config{Dataset: MNIST}, Options{Dir: dir})
			wantError(t, err, append(tt.parts, "mnist", dir)...)
			var fe *FileError
			if !errors.As(err, &fe) || fe.Path == "" || fe.Want == "" || fe.Got == "" {
				t.Errorf("%v is no whole FileError", err)
			}
		})
	}
}

// A gzip file of 1 MB can unpack to 1 GB, and its header can promise as much.
func TestHeaderDoesNotDecideWhatIsAllocated(t *testing.T) {
	body := make([]byte, 1<<20)
	rand.NewChaCha8([32]byte{}).Read(body) // does not get smaller: the header's promise stays below deflate's best
	b := gz(append(idxBytes(idxImages, []uint32{1 << 20, 28, 28}, nil), body...))
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	in, err := newInput(context.Background(), "x", bytes.NewReader(b), int64(len(b)))
	if err != nil {
		t.Fatal(err)
	}
	_, _, err = readIDX(in, idxImages)
	runtime.ReadMemStats(&after)
	wantError(t, err, "x: expected", "after 1048592 bytes unpacked")
	if got := after.TotalAlloc - before.TotalAlloc; got > 16<<20 {
		t.Errorf("%d bytes allocated for a file of %d that promises 784 MiB", got, len(b))
	}
}

func TestReadingStopsWithTheContext(t *testing.T) {
	dir := t.TempDir()
	images, labels := idxPair(12, 3, 5)
	write(t, filepath.Join(dir, "train-images.gz"), gz(images))
	write(t, filepath.Join(dir, "train-labels"), labels)
	for i := range 5 {
		write(t, filepath.Join(dir, "data_batch_"+string(rune('1'+i))+".bin"), cifarBytes(2, 0))
	}
	write(t, filepath.Join(dir, "a.png"), nil)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	for _, name := range []string{MNIST, CIFAR10, Folder, MNIST10K} {
		o := Options{Dir: dir}
		if name == MNIST10K {
			o.Dir = ""
		}
		if _, err := Open(ctx, Config{Dataset: name}, o); !errors.Is(err, context.Canceled) {
			t.Errorf("%s: %v, want context canceled", name, err)
		}
	}
}

func FuzzIDX(f *testing.F) {
	images, labels := idxPair(3, 2, 2)
	f.Add(images, labels)
	f.Add(gz(images), gz(labels))
	f.Add(images[:20], labels)
	f.Add(idxBytes(idxImages, []uint32{0xffffffff, 0xffffffff, 0xffffffff}, nil), labels)
	f.Add(gz(images)[:20], []byte{0x1f, 0x8b})
	f.Fuzz(func(t *testing.T, images, labels []byte) {
		var r *rawSet
		var plain bool
		limit := alloctest.Limit(len(images)+len(labels)) + 8*(unpacked(images)+unpacked(labels))
		alloctest.Within(t, limit, func() {
			im, err := newInput(context.Background(), "images", bytes.NewReader(images), int64(len(images)))
			if err != nil {
				return
			}
			lb, err := newInput(context.Background(), "labels", bytes.NewReader(labels), int64(len(labels)))
			if err != nil {
				return
			}
			plain = !im.gz
			r, _ = readIDXPair(im, lb, 10)
		})
		if r == nil {
			return
		}
		// What is accepted is whole: it can be written again and is then the same.
		if r.count() == 0 || len(r.pixels) != r.count()*r.dim() || len(r.labels) != r.count() {
			t.Fatalf("%d pixels, %d labels of shape %v", len(r.pixels), len(r.labels), r.shape)
		}
		again := idxBytes(idxImages, []uint32{uint32(r.count()), uint32(r.h), uint32(r.w)}, r.pixels)
		if plain && !cmp.Equal(images, again) {
			t.Fatalf("%x was read as %x", images, again)
		}
	})
}

// Packed, files are read as plain ones are, whatever is in them.
func FuzzIDXGzip(f *testing.F) {
	images, labels := idxPair(3, 2, 2)
	f.Add(images, labels)
	f.Add(images[:20], labels)
	f.Add(images, append(labels, 0))
	f.Add(idxBytes(idxImages, []uint32{1000, 1000, 1000}, nil), labels)
	f.Fuzz(func(t *testing.T, images, labels []byte) {
		read := func(images, labels []byte) (r *rawSet, err error) {
			im, err := newInput(context.Background(), "images", bytes.NewReader(images), int64(len(images)))
			if err != nil {
				return nil, err
			}
			lb, err := newInput(context.Background(), "labels", bytes.NewReader(labels), int64(len(labels)))
			if err != nil {
				return nil, err
			}
			return readIDXPair(im, lb, 10)
		}
		if len(images) > 1 && images[0] == 0x1f || len(labels) > 1 && labels[0] == 0x1f {
			return // packed twice
		}
		want, plainErr := read(images, labels)
		packedImages, packedLabels := gz(images), gz(labels)
		var got *rawSet
		var err error
		alloctest.Within(t, alloctest.Limit(len(packedImages)+len(packedLabels))+8*uint64(len(images)+len(labels)), func() {
			got, err = read(packedImages, packedLabels)
		})
		switch {
		case (err == nil) != (plainErr == nil):
			t.Fatalf("packed: %v, plain: %v", err, plainErr)
		case err == nil && (!bytes.Equal(got.pixels, want.pixels) || !slices.Equal(got.labels, want.labels)):
			t.Fatalf("packed: %v, plain: %v", got, want)
		}
	})
}

func TestADirectoryInPlaceOfAFile(t *testing.T) {
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "f"), 0o755); err != nil {
		t.Fatal(err)
	}
	_, err := openInput(context.Background(), filepath.Join(dir, "f"))
	wantError(t, err, "expected a file")
	if _, err := openInput(context.Background(), filepath.Join(dir, "none")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("%v", err)
	}
	in := &input{path: "p", r: iotestErr{}}
	wantError(t, in.read(make([]byte, 1), 0, "w"), "reading p", "broken disk")
}

type iotestErr struct{}

func (iotestErr) Read([]byte) (int, error) {
	return 0, errors.Join(io.ErrNoProgress, errors.New("broken disk"))
}
