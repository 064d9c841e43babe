package data

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"path"
	"slices"
	"strings"
)

// The binary version of CIFAR-10 is records of one label byte and 32 x 32 bytes
// of red, then green, then blue, row by row.
const (
	cifarSide   = 32
	cifarPixels = 3 * cifarSide * cifarSide
	cifarRecord = 1 + cifarPixels
	// cifarMax is the most records of one file; the original files have 10,000.
	cifarMax = 100_000
)

// cifarSize checks that a file of size bytes can be CIFAR-10 records.
func cifarSize(path string, size int64, first []byte) error {
	if size > 0 && size%cifarRecord == 0 && size <= cifarMax*cifarRecord {
		return nil
	}
	got := fmt.Sprintf("%d bytes", size)
	if len(first) > 1 && first[0] == 0x80 && first[1] <= 5 {
		got += " of a Python pickle (the binary version of CIFAR-10 is needed, not the Python version)"
	}
	return &FileError{Path: path, Got: got,
		Want: fmt.Sprintf("records of %d bytes, from 1 to %d of them", cifarRecord, cifarMax)}
}

// readCIFAR adds the records of in, size bytes of them, to r.
func (r *rawSet) readCIFAR(in *input, size int64, classes int) error {
	var (
		chunk = make([]byte, 64*cifarRecord)
		want  = fmt.Sprintf("%d bytes of records", size)
	)
	for done := int64(0); done < size; {
		part := chunk[:min(int64(len(chunk)), size-done)]
		if err := in.read(part, done, want); err != nil {
			return err
		}
		done += int64(len(part))
		for ; len(part) > 0; part = part[cifarRecord:] {
			if int(part[0]) >= classes {
				return labelError(in.path, int((done-int64(len(part)))/cifarRecord), int(part[0]), classes)
			}
			r.labels = append(r.labels, int32(part[0]))
			r.pixels = append(r.pixels, part[1:cifarRecord]...)
		}
	}
	return nil
}

func newCIFAR() *rawSet { return &rawSet{shape: shape{3, cifarSide, cifarSide}} }

// openCIFAR reads a set from its files, in their order.
func openCIFAR(ctx context.Context, paths []string, classes int) (*rawSet, error) {
	var (
		files = make([]*input, 0, len(paths))
		total int64
	)
	defer func() {
		for _, in := range files {
			in.Close()
		}
	}()
	for _, p := range paths {
		in, err := openInput(ctx, p)
		if err != nil {
			return nil, err
		}
		files = append(files, in)
		if err := cifarSize(p, in.size, in.first); err != nil {
			return nil, err
		}
		total += in.size / cifarRecord * cifarPixels
	}
	r := newCIFAR()
	r.pixels = make([]byte, 0, total)
	for _, in := range files {
		if err := r.readCIFAR(in, in.size, classes); err != nil {
			return nil, err
		}
	}
	return r, nil
}

// openCIFARArchive reads a set from the files of that name in a .tar.gz.
func openCIFARArchive(ctx context.Context, archive string, names []string, classes int) (*rawSet, error) {
	in, err := openInput(ctx, archive)
	if err != nil {
		return nil, err
	}
	defer in.Close()
	return readCIFARArchive(in, names, classes)
}

func readCIFARArchive(in *input, names []string, classes int) (*rawSet, error) {
	parts := make([]*rawSet, len(names))
	err := walkArchive(in, names, func(i int, size int64, in *input) error {
		if err := cifarSize(in.path, size, nil); err != nil {
			return err
		}
		parts[i] = newCIFAR()
		return parts[i].readCIFAR(in, size, classes)
	})
	if err != nil {
		return nil, err
	}
	r := newCIFAR()
	total := 0
	for _, p := range parts {
		total += len(p.pixels)
	}
	r.pixels = make([]byte, 0, total)
	for i, p := range parts {
		r.pixels = append(r.pixels, p.pixels...)
		r.labels = append(r.labels, p.labels...)
		parts[i] = nil
	}
	return r, nil
}

// walkArchive calls f with each member of a .tar.gz whose base name is
// names[i], and fails where one is missing. Of two with one name the later one
// counts, as when tar unpacks them.
func walkArchive(in *input, names []string, f func(i int, size int64, in *input) error) error {
	seen := make([]bool, len(names))
	tr := tar.NewReader(in.r)
	for {
		h, err := tr.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			return archiveError(in, err)
		}
		i := slices.Index(names, path.Base(h.Name))
		if i < 0 || h.Typeflag != tar.TypeReg {
			continue
		}
		seen[i] = true
		member := &input{path: in.path + ": " + h.Name, r: tr, size: in.size, gz: in.gz}
		if err := memberSize(member, h); err != nil {
			return err
		}
		if err := f(i, h.Size, member); err != nil {
			return err
		}
	}
	for i, ok := range seen {
		if !ok {
			return &FileError{Path: in.path, Want: "a member " + names[i], Got: "none of that name"}
		}
	}
	return nil
}

// memberSize checks that the archive can hold what a member's header promises. A
// sparse member's holes are in no file: they may have any size.
func memberSize(in *input, h *tar.Header) error {
	for key := range h.PAXRecords {
		if strings.HasPrefix(key, "GNU.sparse.") {
			return &FileError{Path: in.path, Want: "a plain member", Got: "a sparse one"}
		}
	}
	if h.Size > in.limit() {
		return &FileError{Path: in.path, Want: fmt.Sprintf("a member of at most %d bytes, as an archive of %d can hold", in.limit(), in.size),
			Got: fmt.Sprintf("%d bytes in its header", h.Size)}
	}
	return nil
}

func archiveError(in *input, err error) error {
	if errors.Is(err, tar.ErrHeader) {
		return &FileError{Path: in.path, Want: "a .tar.gz archive", Got: "something else (" + err.Error() + ")", Err: err}
	}
	return in.readError("a complete .tar.gz archive", 0, err)
}
