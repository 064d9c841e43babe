// Package npy reads and writes single arrays in NumPy's .npy format: little
// endian, row-major float32, float64, int64 and uint8. It writes version 1.0 and
// reads 1.0 and 2.0.
package npy

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"strings"

	"unstir/internal/atomicfile"
	"unstir/internal/filekind"
)

const magic = "\x93NUMPY"

// Element is a type that an array can have.
type Element interface {
	float32 | float64 | int64 | uint8
}

// Array is a whole array, row-major.
type Array[T Element] struct {
	Shape []int // no dimensions: a scalar
	Data  []T   // as many as the product of the shape
}

// CheckShape compares the shape with the wanted one, in which -1 stands for any
// size.
func (a Array[T]) CheckShape(want ...int) error {
	ok := len(want) == len(a.Shape)
	for i := 0; ok && i < len(want); i++ {
		ok = want[i] == -1 || want[i] == a.Shape[i]
	}
	if !ok {
		return fmt.Errorf("the array has shape %s, want %s", tuple(a.Shape), tuple(want))
	}
	return nil
}

// descr is the format's name of an element type.
func descr[T Element]() string {
	switch any(*new(T)).(type) {
	case float32:
		return "<f4"
	case float64:
		return "<f8"
	case int64:
		return "<i8"
	}
	return "|u1"
}

// tuple writes a shape as Python does, with * for any size.
func tuple(shape []int) string {
	var b strings.Builder
	for i, d := range shape {
		if i > 0 {
			b.WriteString(", ")
		}
		if d == -1 {
			b.WriteByte('*')
		} else {
			fmt.Fprint(&b, d)
		}
	}
	if len(shape) == 1 {
		b.WriteByte(',')
	}
	return "(" + b.String() + ")"
}

// count returns the elements of a shape, or an error where the bytes of as many
// of the given size cannot be counted.
func count(shape []int, size int) (int, error) {
	n := 1
	for _, d := range shape {
		if d < 0 {
			return 0, fmt.Errorf("shape %s has a negative dimension", tuple(shape))
		}
		if d > 0 && n > math.MaxInt/size/d {
			return 0, fmt.Errorf("shape %s overflows: more bytes than can be counted", tuple(shape))
		}
		n *= d
	}
	return n, nil
}

// Write writes an array as version 1.0.
func Write[T Element](w io.Writer, a Array[T]) error {
	n, err := count(a.Shape, binary.Size(*new(T)))
	if err != nil {
		return err
	}
	if n != len(a.Data) {
		return fmt.Errorf("shape %s takes %d elements, there are %d", tuple(a.Shape), n, len(a.Data))
	}
	header := fmt.Sprintf("{'descr': '%s', 'fortran_order': False, 'shape': %s, }", descr[T](), tuple(a.Shape))
	const before = len(magic) + 2 + 2
	header += strings.Repeat(" ", 63-(before+len(header))%64) + "\n" // the data begin at a multiple of 64
	if len(header) > math.MaxUint16 {
		return fmt.Errorf("shape of %d dimensions does not fit a header", len(a.Shape))
	}
	b := bufio.NewWriterSize(w, 1<<16)
	b.WriteString(magic + "\x01\x00")
	b.Write(binary.LittleEndian.AppendUint16(nil, uint16(len(header))))
	b.WriteString(header)
	for data := a.Data; len(data) > 0; {
		k := min(len(data), 1<<13)
		if err := binary.Write(b, binary.LittleEndian, data[:k]); err != nil {
			return err
		}
		data = data[k:]
	}
	return b.Flush()
}

// read reads an array whose element type is T. Where T is float32, a file of
// float64 (what NumPy makes unless told otherwise) is accepted too and each
// value rounded; one beyond the range of float32 is an error. Where T is
// float64, a file of float32 is accepted too.
func read[T Element](r io.Reader) (Array[T], error) {
	b := bufio.NewReaderSize(r, 1<<16)
	h, err := readHeader(b)
	if err != nil {
		return Array[T]{}, err
	}
	a := Array[T]{Shape: h.shape}
	want := descr[T]()
	switch {
	case h.descr == want:
		a.Data, err = readData[T](b, h.shape)
	case h.descr == "<f8" && want == "<f4":
		var wide []float64
		if wide, err = readData[float64](b, h.shape); err == nil {
			a.Data, err = narrow[T](wide)
		}
	case h.descr == "<f4" && want == "<f8":
		var narrow []float32
		if narrow, err = readData[float32](b, h.shape); err == nil {
			a.Data = make([]T, len(narrow))
			for i, v := range narrow {
				a.Data[i] = T(v)
			}
		}
	default:
		err = fmt.Errorf("the elements are %.40q, want %s (%s): convert with .astype('%s')", h.descr, want, typeName[want], want)
	}
	if err != nil {
		return Array[T]{}, err
	}
	if _, err := b.ReadByte(); err != io.EOF {
		return Array[T]{}, errors.New("there are bytes after the array's last element")
	}
	return a, nil
}

var typeName = map[string]string{"<f4": "float32", "<f8": "float64", "<i8": "int64", "|u1": "uint8"}

func narrow[T Element](wide []float64) ([]T, error) {
	data := make([]T, len(wide))
	for i, v := range wide {
		data[i] = T(v)
		if math.Abs(v) > math.MaxFloat32 && math.IsInf(float64(data[i]), 0) && !math.IsInf(v, 0) {
			return nil, fmt.Errorf("element %d is %g, beyond the range of float32", i, v)
		}
	}
	return data, nil
}

// readData reads piece by piece into memory that doubles, so that a shape that lies about the file's length allocates
// no more than about four times what is there.
func readData[T Element](r io.Reader, shape []int) ([]T, error) {
	n, err := count(shape, binary.Size(*new(T)))
	if err != nil {
		return nil, err
	}
	const piece = 1 << 16
	data := make([]T, 0, min(n, piece))
	buf := make([]byte, min(n, piece)*binary.Size(*new(T)))
	for len(data) < n {
		if len(data) == cap(data) {
			data = append(make([]T, 0, min(n, 2*cap(data))), data...)
		}
		at, end := len(data), min(cap(data), len(data)+piece)
		part := buf[:(end-at)*binary.Size(*new(T))]
		_, err := io.ReadFull(r, part)
		if err == nil {
			data = data[:end]
			_, err = binary.Decode(part, binary.LittleEndian, data[at:])
		}
		if err != nil {
			return nil, fmt.Errorf("shape %s takes %d elements, the file ends before (truncated?): %w", tuple(shape), n, err)
		}
	}
	return data, nil
}

// WriteFile writes an array to a file, which is replaced as a whole.
func WriteFile[T Element](path string, a Array[T]) error {
	return atomicfile.Write(path, func(w io.Writer) error { return Write(w, a) })
}

// ReadFile reads the array of a file.
func ReadFile[T Element](path string) (Array[T], error) {
	f, err := os.Open(path)
	if err != nil {
		return Array[T]{}, err
	}
	defer f.Close()
	a, err := read[T](f)
	if err != nil {
		if what := filekind.Of(path, filekind.Array); what != "" {
			err = filekind.Error(what)
		}
		return Array[T]{}, &fs.PathError{Op: "read", Path: path, Err: err}
	}
	return a, nil
}
