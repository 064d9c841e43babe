package npy

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"slices"
	"strings"
	"testing"

	"unstir/internal/alloctest"
	"unstir/internal/errortest"
)

// FuzzRead: whatever the bytes, reading as any type fails in one line or gives as many elements as the shape says,
// which are written and read back the same; and it allocates no more than the bytes allow.
func FuzzRead(f *testing.F) {
	f.Add(file(v1, "{'descr': '<f4', 'fortran_order': False, 'shape': (2,), }\n", 0, 0, 128, 63, 0, 0, 0, 192))
	f.Add(file("\x02\x00", "{'descr': '<f8', 'fortran_order': False, 'shape': (), }", make([]byte, 8)...))
	f.Add(file(v1, "{'descr': '<f4', 'fortran_order': True, 'shape': (3, 0), }\n"))
	f.Add(file(v1, "{'shape': (99999999999,), 'fortran_order': False, \"descr\": '<f4'}"))
	f.Add(file(v1, "{'shape': (2, 0, 4611686018427387904), 'fortran_order': False, 'descr': '<i8'}"))
	f.Add(file(v1, "{'shape': (2, 1, 1), 'fortran_order': False, 'descr': '|u1'}", 7, 255))
	f.Fuzz(func(t *testing.T, b []byte) {
		fuzzRead[float32](t, b)
		fuzzRead[float64](t, b)
		fuzzRead[int64](t, b)
		fuzzRead[uint8](t, b)
	})
}

func fuzzRead[T Element](t *testing.T, b []byte) {
	var a Array[T]
	var err error
	alloctest.Parse(t, len(b), func() { a, err = read[T](bytes.NewReader(b)) })
	if err != nil {
		errortest.OneLine(t, err)
		return
	}
	if n, err := count(a.Shape, binary.Size(*new(T))); err != nil || n != len(a.Data) {
		t.Fatalf("shape %v with %d elements", a.Shape, len(a.Data))
	}
	var out bytes.Buffer
	if err := Write(&out, a); err != nil {
		t.Fatal(err)
	}
	again, err := read[T](&out)
	if err != nil {
		t.Fatal(err)
	}
	bytesOf := func(data []T) []byte { // NaN is not equal to itself
		text, _ := binary.Append(nil, binary.LittleEndian, data)
		return text
	}
	if !slices.Equal(again.Shape, a.Shape) || !bytes.Equal(bytesOf(again.Data), bytesOf(a.Data)) {
		t.Errorf("shape %v comes back as %v, or its values differ", a.Shape, again.Shape)
	}
}

// A large array takes no more than its share, whether the file is whole or not, and neither does a header.
func TestLargeArraysTakeTheirShare(t *testing.T) {
	const n = 8 << 20
	for _, test := range []struct {
		what string
		b    []byte
		ok   bool
	}{
		{"float32", file(v1, fmt.Sprintf("{'descr': '<f4', 'fortran_order': False, 'shape': (%d,), }", n/4), make([]byte, n)...), true},
		{"float64, to be narrowed", file(v1, fmt.Sprintf("{'descr': '<f8', 'fortran_order': False, 'shape': (%d,), }", n/8), make([]byte, n)...), true},
		{"cut off", file(v1, fmt.Sprintf("{'descr': '<f4', 'fortran_order': False, 'shape': (%d,), }", n), make([]byte, n)...), false},
		{"many dimensions", file("\x02\x00", "{'descr': '<f4', 'fortran_order': False, 'shape': ("+strings.Repeat("0,", 32000)+"), }"), false},
	} {
		alloctest.Within(t, 4*uint64(len(test.b))+(4<<20), func() {
			if _, err := read[float32](bytes.NewReader(test.b)); (err == nil) != test.ok {
				t.Errorf("%s: error %v", test.what, err)
			}
		})
	}
}
