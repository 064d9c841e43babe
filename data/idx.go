package data

import (
	"context"
	"encoding/binary"
	"fmt"
	"math"
)

// The IDX format: two zero bytes, the type of a value (8 is a byte), the number
// of dimensions; each dimension as a big-endian uint32; the values.
const (
	idxImages = 0x00000803 // count, rows, columns
	idxLabels = 0x00000801 // count
)

func idxName(magic uint32) string {
	switch {
	case magic == idxImages:
		return "IDX images"
	case magic == idxLabels:
		return "IDX labels"
	case magic>>16 == 0 && magic>>8 != 0 && magic&0xff != 0:
		return fmt.Sprintf("IDX of type 0x%02x with %d dimensions", magic>>8, magic&0xff)
	}
	return "no IDX file"
}

// readIDX reads the bytes of in and their dimensions; magic is idxImages or
// idxLabels.
func readIDX(in *input, magic uint32) ([]byte, []int64, error) {
	var head [16]byte
	want := fmt.Sprintf("the header of %s (magic number 0x%08x)", idxName(magic), magic)
	if err := in.read(head[:4], 0, want); err != nil {
		return nil, nil, err
	}
	if m := binary.BigEndian.Uint32(head[:]); m != magic {
		return nil, nil, &FileError{Path: in.path,
			Want: fmt.Sprintf("magic number 0x%08x (%s)", magic, idxName(magic)),
			Got:  fmt.Sprintf("0x%08x (%s)", m, idxName(m))}
	}
	dims := make([]int64, magic&0xff)
	if err := in.read(head[4:4+4*len(dims)], 4, want); err != nil {
		return nil, nil, err
	}
	headLen, n := int64(4+4*len(dims)), int64(1)
	for i := range dims {
		d := binary.BigEndian.Uint32(head[4+4*i:])
		if i > 0 && (d < 1 || d > MaxSide) {
			return nil, nil, &FileError{Path: in.path, Want: fmt.Sprintf("rows and columns from 1 to %d", MaxSide),
				Got: fmt.Sprintf("%d in its header", d)}
		}
		n *= int64(d) // at most 2^32 * 2^12 * 2^12
		dims[i] = int64(d)
	}
	if n == 0 {
		return nil, nil, &FileError{Path: in.path, Want: "at least one entry", Got: "a count of 0 in its header"}
	}
	want = fmt.Sprintf("%d bytes (%v and a header of %d)", headLen+n, product(dims), headLen)
	if in.gz && headLen+n > in.limit() || !in.gz && headLen+n != in.size {
		got := fmt.Sprintf("a file of %d bytes", in.size)
		if in.gz {
			got = fmt.Sprintf("a gzip file of %d bytes, which cannot hold that much", in.size)
		}
		return nil, nil, &FileError{Path: in.path, Want: want, Got: got}
	}
	if n > min(maxSetBytes, math.MaxInt) {
		return nil, nil, &FileError{Path: in.path, Want: fmt.Sprintf("at most %d bytes of images", int64(min(maxSetBytes, math.MaxInt))), Got: product(dims)}
	}
	b, err := in.body(n, headLen, want)
	if err == nil {
		err = in.end(headLen+n, want)
	}
	return b, dims, err
}

// product is dims as "60000 x 28 x 28".
func product(dims []int64) string {
	s := ""
	for i, d := range dims {
		if i > 0 {
			s += " x "
		}
		s += fmt.Sprint(d)
	}
	return s
}

// readIDXPair reads a set from its file of images and its file of labels;
// labels are below classes.
func readIDXPair(images, labels *input, classes int) (*rawSet, error) {
	pixels, dims, err := readIDX(images, idxImages)
	if err != nil {
		return nil, err
	}
	bytes, n, err := readIDX(labels, idxLabels)
	if err != nil {
		return nil, err
	}
	if n[0] != dims[0] {
		return nil, &FileError{Path: labels.path,
			Want: fmt.Sprintf("%d labels (%s has %d images)", dims[0], images.path, dims[0]),
			Got:  fmt.Sprintf("%d", n[0])}
	}
	r := &rawSet{shape: shape{1, int(dims[1]), int(dims[2])}, pixels: pixels, labels: make([]int32, n[0])}
	for i, l := range bytes {
		if int(l) >= classes {
			return nil, labelError(labels.path, i, int(l), classes)
		}
		r.labels[i] = int32(l)
	}
	return r, nil
}

func labelError(path string, i, label, classes int) error {
	return &FileError{Path: path, Want: fmt.Sprintf("labels from 0 to %d", classes-1), Got: fmt.Sprintf("label %d at image %d", label, i)}
}

// openIDXPair is readIDXPair of two files.
func openIDXPair(ctx context.Context, images, labels string, classes int) (*rawSet, error) {
	in, err := openInput(ctx, images)
	if err != nil {
		return nil, err
	}
	defer in.Close()
	lab, err := openInput(ctx, labels)
	if err != nil {
		return nil, err
	}
	defer lab.Close()
	return readIDXPair(in, lab, classes)
}
