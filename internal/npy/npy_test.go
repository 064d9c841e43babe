package npy

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func wantError(t *testing.T, err error, says ...string) {
	t.Helper()
	if err == nil {
		t.Errorf("no error; want one that says %q", says)
		return
	}
	for _, s := range says {
		if !strings.Contains(err.Error(), s) {
			t.Errorf("error %q does not say %q", err, s)
		}
	}
}

func roundTrip[T Element](t *testing.T, shape []int, data []T) {
	t.Helper()
	var b bytes.Buffer
	if err := Write(&b, Array[T]{shape, data}); err != nil {
		t.Fatal(err)
	}
	if (b.Len()-len(data)*binary.Size(*new(T)))%64 != 0 {
		t.Errorf("the data begin at byte %d, no multiple of 64", b.Len()-len(data)*binary.Size(*new(T)))
	}
	got, err := read[T](&b)
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(got.Shape, shape) || !slices.Equal(got.Data, data) {
		t.Errorf("%T of shape %v comes back as %v, or its values differ", *new(T), shape, got.Shape)
	}
}

func TestRoundTrips(t *testing.T) {
	roundTrip(t, []int{2, 3}, []float32{1, -2, 3.5, 0, 1e-40, float32(math.Inf(1))})
	roundTrip(t, []int{3}, []float64{math.Pi, -0.1, 1e300})
	roundTrip(t, []int{}, []int64{math.MinInt64})
	roundTrip(t, []int{1, 2, 1, 2}, []uint8{0, 127, 128, 255})
	roundTrip(t, []int{4, 0, 2}, []float32{})
	long := make([]float32, 3<<16+5)
	for i := range long {
		long[i] = float32(i)
	}
	roundTrip(t, []int{len(long)}, long)
}

// file is an .npy file put together by hand.
func file(version, header string, data ...byte) []byte {
	b := []byte(magic + version)
	if version == "\x02\x00" {
		b = binary.LittleEndian.AppendUint32(b, uint32(len(header)))
	} else {
		b = binary.LittleEndian.AppendUint16(b, uint16(len(header)))
	}
	return append(append(b, header...), data...)
}

const v1 = "\x01\x00"

func TestReadsOtherWritersHeaders(t *testing.T) {
	for _, b := range [][]byte{
		file(v1, "{'descr': '<f4', 'fortran_order': False, 'shape': (2,), }\n", 0, 0, 128, 63, 0, 0, 0, 192),
		file("\x02\x00", "{'descr': '<f4', 'fortran_order': False, 'shape': (2,), }      \n", 0, 0, 128, 63, 0, 0, 0, 192),
		file(v1, `{"shape":(2,),"fortran_order":False,"descr":"<f4"}`, 0, 0, 128, 63, 0, 0, 0, 192),
		file(v1, "{'descr': '<f8', 'fortran_order': False, 'shape': (2,), }", 0, 0, 0, 0, 0, 0, 240, 63, 0, 0, 0, 0, 0, 0, 0, 192),
	} {
		a, err := read[float32](bytes.NewReader(b))
		if err != nil || !slices.Equal(a.Shape, []int{2}) || !slices.Equal(a.Data, []float32{1, -2}) {
			t.Errorf("%q: %v, %v", b, a, err)
		}
	}
}

// float32 is read as float64, exactly.
func TestWidens(t *testing.T) {
	b := file(v1, "{'descr': '<f4', 'fortran_order': False, 'shape': (3,), }", 0, 0, 128, 63, 0, 0, 0, 192, 205, 204, 204, 61)
	a, err := read[float64](bytes.NewReader(b))
	if want := []float64{1, -2, float64(float32(0.1))}; err != nil || !slices.Equal(a.Shape, []int{3}) || !slices.Equal(a.Data, want) {
		t.Errorf("%v, %v; want %v", a, err, want)
	}
	if _, err := read[float64](bytes.NewReader(b[:len(b)-1])); err == nil {
		t.Error("a cut file is read")
	}
}

func TestDamagedAndForeignFilesAreRefused(t *testing.T) {
	head := func(descr, order, shape string) string {
		return fmt.Sprintf("{'descr': '%s', 'fortran_order': %s, 'shape': %s, }\n", descr, order, shape)
	}
	for says, b := range map[string][]byte{
		"not an .npy file":             []byte("PK\x03\x04 something else"),
		"begin with":                   nil,
		"version 3.0":                  file("\x03\x00", head("<f4", "False", "(0,)")),
		"ends in its header":           []byte(magic + v1 + "\x40\x00{'descr"),
		"header (trunc":                []byte(magic + v1 + "\x40"),
		"limit":                        []byte(magic + "\x02\x00\xff\xff\xff\xff{"),
		"Fortran":                      file(v1, head("<f4", "True", "(1, 1)"), 0, 0, 0, 0),
		"big endian":                   file(v1, head(">f4", "False", "(1,)"), 0, 0, 0, 0),
		`elements are "<i4", want <f4`: file(v1, head("<i4", "False", "(1,)"), 0, 0, 0, 0),
		`elements are "|O"`:            file(v1, head("|O", "False", "(1,)"), 0, 0, 0, 0),
		"plain type":                   file(v1, "{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (1,)}", 0, 0, 0, 0),
		"missing":                      file(v1, "{'descr': '<f4', 'shape': (1,)}", 0, 0, 0, 0),
		`"descr" occurs twice`:         file(v1, "{'descr': '<f4', 'descr': '<f4', 'fortran_order': False, 'shape': ()}", 0, 0, 0, 0),
		`unknown key "x"`:              file(v1, "{'x': '<f4', 'fortran_order': False, 'shape': ()}"),
		"True or False":                file(v1, "{'descr': '<f4', 'fortran_order': 0, 'shape': ()}"),
		"want a dimension":             file(v1, head("<f4", "False", "(-1,)")),
		"9223372036854775808":          file(v1, head("<f4", "False", "(9223372036854775808,)")),
		"overflows":                    file(v1, head("<f4", "False", "(4294967296, 4294967296)")),
		"not a tuple":                  file(v1, head("<f4", "False", "(1)"), 0, 0, 0, 0),
		"string does not end":          file(v1, "{'descr"),
		"follows the dict":             file(v1, head("<f4", "False", "(1,)")+"}", 0, 0, 0, 0),
		"want ':'":                     file(v1, "{'descr' '<f4'}"),
		"want '}'":                     file(v1, "{'descr': '<f4' 'shape': ()}"),
		"want '{'":                     file(v1, "['descr']"),
		"want '('":                     file(v1, "{'shape': [1]}"),
		"(2,) takes 2":                 file(v1, head("<f4", "False", "(2,)"), 0, 0, 0, 0),
		"(1099511627776,) takes":       file(v1, head("<f4", "False", "(1099511627776,)"), 0, 0, 0, 0), // and does not allocate 4 TiB
		"after the array's last":       file(v1, head("<f4", "False", "(1,)"), 0, 0, 0, 0, 0),
		"element 0 is 1.7976931348623": file(v1, head("<f8", "False", "(1,)"), 255, 255, 255, 255, 255, 255, 239, 127),
	} {
		_, err := read[float32](bytes.NewReader(b))
		wantError(t, err, says)
	}
}

func TestWriteRefusesWrongShapes(t *testing.T) {
	wantError(t, Write(&bytes.Buffer{}, Array[float32]{[]int{2}, []float32{1}}), "(2,)", "there are 1")
	wantError(t, Write(&bytes.Buffer{}, Array[float32]{[]int{-1}, nil}), "negative")
	wantError(t, Write(&bytes.Buffer{}, Array[float32]{make([]int, 1<<16), nil}), "65536 dimensions")
}

func TestCheckShape(t *testing.T) {
	a := Array[uint8]{Shape: []int{4, 1, 28, 28}}
	if err := a.CheckShape(-1, 1, 28, 28); err != nil {
		t.Error(err)
	}
	wantError(t, a.CheckShape(-1, 3, 28, 28), "(4, 1, 28, 28)", "(*, 3, 28, 28)")
	wantError(t, a.CheckShape(-1), "(*,)")
}

func TestFilesRoundTripAndErrorsNameThem(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.npy")
	if err := WriteFile(path, Array[float32]{[]int{1}, []float32{7}}); err != nil {
		t.Fatal(err)
	}
	if a, err := ReadFile[float32](path); err != nil || a.Data[0] != 7 {
		t.Errorf("%v, %v", a, err)
	}
	_, err := ReadFile[int64](path)
	wantError(t, err, path, "<f4", "int64")
	_, err = ReadFile[int64](path + "x")
	wantError(t, err, path+"x")
}
