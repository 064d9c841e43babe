// Package safetensors reads and writes tensors in the safetensors format: eight
// bytes with the length of a JSON header (little endian), the header with every
// tensor's dtype, shape and byte range, and the tensors' values, row-major and
// little endian, one after the other without holes.
//
// A file is untrusted input. Open and NewReader check the whole header before
// anything is allocated by what it says: the limits of the reference
// implementation, names that occur twice, byte ranges that overlap, leave a
// hole, run past the end or do not match shape and dtype, shapes whose product
// overflows. Whoever has a Reader can read every tensor it lists. A header takes
// at most 64 MB and eight times its length of memory: a file may have some
// 32,000 tensors, of at most 64 dimensions.
//
// Values are read straight into the caller's slices and written straight from a
// callback, so that neither direction holds a copy of the file in memory. Equal
// tensors give equal bytes.
//
// Models that are split over several files are opened by their index
// (model.safetensors.index.json) and look like one file.
package safetensors

import "math"

// DType is the type of a tensor's elements, by the format's own name.
type DType string

// The types that this package knows. A file that holds any other is refused.
const (
	BOOL DType = "BOOL" // one byte, 0 or 1
	U8   DType = "U8"
	I8   DType = "I8"
	U16  DType = "U16"
	I16  DType = "I16"
	U32  DType = "U32"
	I32  DType = "I32"
	U64  DType = "U64"
	I64  DType = "I64"
	F16  DType = "F16"  // IEEE 754 binary16
	BF16 DType = "BF16" // the upper half of a binary32
	F32  DType = "F32"
	F64  DType = "F64"
)

// Size returns the bytes of one element, 0 for a type that is not known.
func (d DType) size() int {
	switch d {
	case BOOL, U8, I8:
		return 1
	case U16, I16, F16, BF16:
		return 2
	case U32, I32, F32:
		return 4
	case U64, I64, F64:
		return 8
	}
	return 0
}

func (d DType) isFloat() bool { return d == F16 || d == BF16 || d == F32 || d == F64 }

// Info describes one tensor of a file.
type Info struct {
	Name  string
	DType DType
	Shape []int // no dimensions: a scalar
}

// Len returns the number of elements, the product of the shape.
func (i Info) Len() int {
	n := 1
	for _, d := range i.Shape {
		n *= d
	}
	return n
}

// maxHeader is the reference implementation's limit on the length of a header.
const maxHeader = 100_000_000

// mulSize returns a*b, or false where that is more than an int (or an offset in
// a file) can hold. Both are at least 0.
func mulSize(a, b int) (int, bool) {
	if a != 0 && b > math.MaxInt/a {
		return 0, false
	}
	return a * b, true
}
