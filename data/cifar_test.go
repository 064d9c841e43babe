package data

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"testing"

	"unstir/internal/alloctest"
)

// cifarDir writes data_batch_1..5.bin of 2 records each and test_batch.bin of 3.
func cifarDir(t testing.TB, dir string) map[string][]byte {
	files := map[string][]byte{"test_batch.bin": cifarBytes(3, 100)}
	for i := range 5 {
		files[fmt.Sprintf("data_batch_%d.bin", i+1)] = cifarBytes(2, 10*i)
	}
	for name, b := range files {
		write(t, filepath.Join(dir, name), b)
	}
	return files
}

func tarGz(files map[string][]byte, order ...string) []byte {
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, name := range order {
		w.WriteHeader(&tar.Header{Name: "cifar-10-batches-bin/" + name, Mode: 0o644, Size: int64(len(files[name])), Typeflag: tar.TypeReg})
		w.Write(files[name])
	}
	w.Close()
	return gz(b.Bytes())
}

// The archive does not have the files in the order of their names.
var cifarOrder = []string{"data_batch_5.bin", "batches.meta.txt", "data_batch_1.bin", "data_batch_4.bin", "test_batch.bin", "data_batch_3.bin", "data_batch_2.bin"}

func TestCIFARIsReadFromFilesAndArchive(t *testing.T) {
	hash := map[Split]string{}
	for _, layout := range []string{"", "cifar10", "cifar-10-batches-bin", "cifar10/cifar-10-batches-bin", "archive", "cifar10/archive"} {
		dir := t.TempDir()
		if filepath.Base(layout) == "archive" {
			files := cifarDir(t, t.TempDir())
			write(t, filepath.Join(dir, filepath.Dir(layout), "cifar-10-binary.tar.gz"), tarGz(files, cifarOrder...))
		} else {
			cifarDir(t, filepath.Join(dir, layout))
		}
		for split, n := range map[Split]int{Train: 10, Test: 3} {
			ds, err := Open(context.Background(), Config{Dataset: CIFAR10, Dir: dir}, Options{Split: split})
			if err != nil {
				t.Fatalf("%q: %v", layout, err)
			}
			in := ds.Info()
			if in.Count != n || in.Channels != 3 || in.Height != 32 || in.Width != 32 || in.Split != split {
				t.Fatalf("%q: %+v", layout, in)
			}
			if hash[split] == "" {
				hash[split] = in.Hash
			}
			if in.Hash != hash[split] {
				t.Errorf("%q: the same data has another hash", layout)
			}
			if split == Train {
				// Image 5 is record 1 of data_batch_3.
				if want := cifarBytes(2, 20)[cifarRecord+1:]; !bytes.Equal(pixels(ds, 5), want) || ds.Label(5) != 1 {
					t.Errorf("%q: image 5 is wrong", layout)
				}
			}
		}
	}
	if hash[Train] == hash[Test] {
		t.Error("both splits have the same hash")
	}
}

func TestBadCIFARNamesFileExpectedAndFound(t *testing.T) {
	badLabel := cifarBytes(3, 0)
	badLabel[2*cifarRecord] = 10
	tests := []struct {
		name  string
		bytes []byte
		parts []string
	}{
		{"empty", nil, []string{"records of 3073 bytes", "0 bytes"}},
		{"cut", cifarBytes(2, 0)[:5000], []string{"records of 3073 bytes", "5000 bytes"}},
		{"pickle", append([]byte{0x80, 2}, make([]byte, 500)...), []string{"502 bytes of a Python pickle", "binary version"}},
		{"label", badLabel, []string{"labels from 0 to 9", "label 10 at image 2"}},
		{"gzip", gz(make([]byte, 10)), []string{"records of 3073 bytes"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			cifarDir(t, dir)
			path := write(t, filepath.Join(dir, "data_batch_4.bin"), tt.bytes)
			_, err := Open(context.Background(), Config{Dataset: CIFAR10, Dir: dir}, Options{})
			wantError(t, err, append(tt.parts, path)...)
			var fe *FileError
			if !errors.As(err, &fe) {
				t.Errorf("%v is no FileError", err)
			}
		})
	}
}

func TestOfTwoMembersWithOneNameTheLaterCounts(t *testing.T) {
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for i := range 2 {
		body := cifarBytes(1+i, 50*i)
		w.WriteHeader(&tar.Header{Name: "test_batch.bin", Mode: 0o644, Size: int64(len(body)), Typeflag: tar.TypeReg})
		w.Write(body)
	}
	w.Close()
	path := write(t, filepath.Join(t.TempDir(), "a.tar.gz"), gz(b.Bytes()))
	r, err := openCIFARArchive(context.Background(), path, []string{"test_batch.bin"}, 10)
	if err != nil || r.count() != 2 || r.pixels[0] != 50 {
		t.Errorf("%v", err)
	}
}

func TestBadArchiveNamesFileExpectedAndFound(t *testing.T) {
	files := cifarDir(t, t.TempDir())
	bad := map[string][]byte{}
	for n, b := range files {
		bad[n] = b
	}
	bad["data_batch_2.bin"] = files["data_batch_2.bin"][:3000]
	whole := tarGz(files, cifarOrder...)
	tests := []struct {
		name  string
		bytes []byte
		parts []string
	}{
		{"cut", whole[:len(whole)/2], []string{"cut off"}},
		{"no archive", bytes.Repeat([]byte("no archive "), 100), []string{"a .tar.gz archive"}},
		{"empty", nil, []string{"a member data_batch_1.bin", "none"}},
		{"member missing", tarGz(files, cifarOrder[1:]...), []string{"a member data_batch_5.bin"}},
		{"member cut", tarGz(bad, cifarOrder...), []string{"data_batch_2.bin", "records of 3073 bytes", "3000 bytes"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			path := write(t, filepath.Join(dir, "cifar-10-binary.tar.gz"), tt.bytes)
			_, err := Open(context.Background(), Config{Dataset: CIFAR10, Dir: dir}, Options{})
			wantError(t, err, append(tt.parts, path)...)
			var fe *FileError
			if !errors.As(err, &fe) {
				t.Errorf("%v is no FileError", err)
			}
		})
	}
}

// tarHeader is a tar header of 512 bytes.
func tarHeader(name string, kind byte, size int64) []byte {
	h := make([]byte, 512)
	copy(h, name)
	copy(h[100:], "0000644\x000000000\x000000000\x00")
	copy(h[124:], fmt.Sprintf("%011o\x0000000000000\x00        ", size))
	h[156] = kind
	copy(h[257:], "ustar\x0000")
	sum := 0
	for _, c := range h {
		sum += int(c)
	}
	copy(h[148:], fmt.Sprintf("%06o\x00 ", sum))
	return h
}

// sparseTar has a member of 100,000 records and not one of their bytes.
func sparseTar() []byte {
	body := ""
	for _, kv := range []string{"GNU.sparse.major=1", "GNU.sparse.minor=0", "GNU.sparse.name=test_batch.bin", "GNU.sparse.realsize=307300000"} {
		n := len(kv) + 4 // the length itself, a space and the end of the line
		body += fmt.Sprintf("%d %s\n", n, kv)
	}
	b := append(tarHeader("pax", 'x', int64(len(body))), body...)
	b = append(b, make([]byte, 512-len(body)%512)...)
	b = append(b, tarHeader("GNUSparseFile.0/test_batch.bin", '0', 512)...)
	b = append(b, "0\n"...)
	return append(b, make([]byte, 510+1024)...)
}

// A member whose size is in its header only, far more than the archive can hold.
func TestMembersThatPromiseTooMuchAreRefused(t *testing.T) {
	for what, tt := range map[string]struct {
		archive []byte
		want    string
	}{
		"sparse":         {sparseTar(), "expected a plain member, found a sparse one"},
		"sparse, packed": {gz(sparseTar()), "expected a plain member, found a sparse one"},
		"empty":          {tarHeader("test_batch.bin", '0', 307300000), "found 307300000 bytes in its header"},
		"empty, packed":  {gz(tarHeader("test_batch.bin", '0', 307300000)), "found 307300000 bytes in its header"},
	} {
		t.Run(what, func(t *testing.T) {
			path := write(t, filepath.Join(t.TempDir(), "a.tar.gz"), tt.archive)
			alloctest.Parse(t, len(tt.archive), func() {
				_, err := openCIFARArchive(context.Background(), path, []string{"test_batch.bin"}, 10)
				wantError(t, err, path+": ", "test_batch.bin", tt.want)
			})
		})
	}
}

func FuzzCIFAR(f *testing.F) {
	f.Add(cifarBytes(1, 0), int64(cifarRecord))
	f.Add(cifarBytes(2, 0), int64(cifarRecord))
	f.Add(cifarBytes(1, 0)[:100], int64(cifarRecord))
	f.Add([]byte{}, int64(0))
	f.Add([]byte{200}, int64(-3073))
	f.Fuzz(func(t *testing.T, b []byte, size int64) {
		if cifarSize("x", size, nil) != nil || size > 1<<20 {
			return
		}
		r := newCIFAR()
		var err error
		alloctest.Parse(t, len(b), func() {
			err = r.readCIFAR(&input{path: "x", r: bytes.NewReader(b), size: int64(len(b))}, size, 10)
		})
		if err != nil {
			return
		}
		if int64(len(b)) < size || int64(r.count()) != size/cifarRecord || len(r.labels) != r.count() {
			t.Fatalf("%d bytes were read as %d records of %d bytes", len(b), r.count(), size)
		}
		for i, l := range r.labels {
			if l < 0 || l > 9 || byte(l) != b[i*cifarRecord] || !bytes.Equal(r.pixels[i*cifarPixels:(i+1)*cifarPixels], b[i*cifarRecord+1:(i+1)*cifarRecord]) {
				t.Fatalf("record %d is not what the file holds", i)
			}
		}
	})
}

func FuzzArchive(f *testing.F) {
	whole := tarGz(map[string][]byte{"test_batch.bin": cifarBytes(1, 0)}, "batches.meta.txt", "test_batch.bin")
	f.Add(whole)
	f.Add(whole[:len(whole)-30])
	f.Add(sparseTar())
	f.Add(slices.Concat(tarHeader("test_batch.bin", '0', cifarRecord), cifarBytes(1, 0), make([]byte, 511+1024))) // not packed
	f.Add([]byte("x"))
	f.Fuzz(func(t *testing.T, b []byte) {
		var r *rawSet
		alloctest.Within(t, alloctest.Limit(len(b))+8*unpacked(b), func() {
			in, err := newInput(context.Background(), "a.tar.gz", bytes.NewReader(b), int64(len(b)))
			if err != nil {
				return
			}
			if r, err = readCIFARArchive(in, []string{"test_batch.bin"}, 10); err != nil {
				r = nil
			}
		})
		if r != nil && (r.count() == 0 || len(r.labels) != r.count()) {
			t.Fatalf("%d images and %d labels", r.count(), len(r.labels))
		}
	})
}
