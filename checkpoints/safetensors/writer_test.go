package safetensors

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func constant(name string, v float32, shape ...int) Tensor {
	return Tensor{Name: name, Shape: shape, Fill: func(dst []float32) {
		for i := range dst {
			dst[i] = v
		}
	}}
}

func write(t *testing.T, o Options, tensors ...Tensor) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := Write(context.Background(), &b, tensors, o); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestTheBytesAreTheFormats(t *testing.T) {
	got := write(t, Options{}, constant("b", -2, 2), constant("a", 1))
	header := `{"__metadata__":{"format":"pt"},"a":{"dtype":"F32","shape":[],"data_offsets":[0,4]},"b":{"dtype":"F32","shape":[2],"data_offsets":[4,12]}}`
	for len(header)%8 != 0 {
		header += " "
	}
	want := file(header, 0, 0, 128, 63, 0, 0, 0, 192, 0, 0, 0, 192)
	if !bytes.Equal(got, want) {
		t.Errorf("wrote\n%q, want\n%q", got, want)
	}
}

func TestNamesAreSortedBytewiseAndOrderDoesNotMatter(t *testing.T) {
	ts := []Tensor{constant("exp_avg_sq.a", 1), constant("exp_avg.b", 2), constant("Z", 3), constant("é<&>\"\\", 4)}
	a := write(t, Options{}, ts...)
	slices.Reverse(ts)
	if b := write(t, Options{}, ts...); !bytes.Equal(a, b) {
		t.Error("the order of the tensors changes the bytes")
	}
	r := mustOpen(t, a)
	if want := []string{"Z", "exp_avg.b", "exp_avg_sq.a", "é<&>\"\\"}; !slices.Equal(r.Names(), want) {
		t.Errorf("names %q, want %q", r.Names(), want)
	}
	for i := 1; i < 4; i++ {
		if r.entries[r.names[i-1]].end != r.entries[r.names[i]].begin {
			t.Error("the values are not in the names' order")
		}
	}
}

func TestValuesBeginAtAMultipleOfEight(t *testing.T) {
	for n := range 9 {
		b := write(t, Options{}, constant(strings.Repeat("n", n), 1))
		if h := binary.LittleEndian.Uint64(b); h%8 != 0 {
			t.Errorf("a name of %d bytes gives a header of %d", n, h)
		}
	}
}

func TestRoundTripKeepsEveryBit(t *testing.T) {
	n := 3*chunkLen/4 + 17 // several chunks and a rest
	want := make([]float32, n)
	for i := range want {
		want[i] = math.Float32frombits(uint32(i) * 2654435761)
	}
	path := filepath.Join(t.TempDir(), "m.safetensors")
	err := WriteFile(context.Background(), path, []Tensor{
		{Name: "x", Shape: []int{n, 1}, Fill: func(dst []float32) { copy(dst, want) }},
		constant("empty", 0, 5, 0),
	}, Options{Metadata: map[string]string{"who": "a test", "b": ""}})
	if err != nil {
		t.Fatal(err)
	}
	r, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	got := make([]float32, n)
	if err := r.ReadFloat32("x", got); err != nil {
		t.Fatal(err)
	}
	for i := range got {
		if math.Float32bits(got[i]) != math.Float32bits(want[i]) {
			t.Fatalf("element %d: %x, want %x", i, math.Float32bits(got[i]), math.Float32bits(want[i]))
		}
	}
	if m := r.Metadata(); len(m) != 2 || m["who"] != "a test" {
		t.Errorf("metadata %v", m)
	}
}

func TestWriteRefuses(t *testing.T) {
	for says, c := range map[string]struct {
		ts []Tensor
		o  Options
	}{
		`"a": two tensors`:    {[]Tensor{constant("a", 1), constant("a", 1)}, Options{}},
		"keeps this name":     {[]Tensor{constant("__metadata__", 1)}, Options{}},
		"not valid UTF-8":     {[]Tensor{constant("\xff", 1)}, Options{}},
		"Fill is nil":         {[]Tensor{{Name: "a"}}, Options{}},
		"negative":            {[]Tensor{constant("a", 1, 2, -1)}, Options{}},
		"overflows":           {[]Tensor{constant("a", 1, math.MaxInt/2, 3)}, Options{}},
		"cannot be written":   {nil, Options{DType: BF16}},
		"metadata is not":     {nil, Options{Metadata: map[string]string{"a": "\xff"}}},
		"the value 65520":     {[]Tensor{constant("a", 65520, 2)}, Options{DType: F16}},
		"longer than can be ": {[]Tensor{constant("a", 1, math.MaxInt/8), constant("b", 1, math.MaxInt/8), constant("c", 1, math.MaxInt/8)}, Options{}},
	} {
		var b bytes.Buffer
		wantError(t, Write(context.Background(), &b, c.ts, c.o), says)
	}
}

type failingWriter struct{ left int }

func (w *failingWriter) Write(p []byte) (int, error) {
	if w.left -= len(p); w.left < 0 {
		return 0, errors.New("disk full")
	}
	return len(p), nil
}

func TestAWriteErrorNamesTheTensor(t *testing.T) {
	err := Write(context.Background(), &failingWriter{300}, []Tensor{constant("a", 1), constant("b", 1, 1000)}, Options{})
	wantError(t, err, `"b"`, "disk full")
	wantError(t, Write(context.Background(), &failingWriter{3}, nil, Options{}), "disk full")
}

func TestCancellingStopsAndLeavesTheOldFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "m.safetensors")
	if err := WriteFile(context.Background(), path, []Tensor{constant("a", 1)}, Options{}); err != nil {
		t.Fatal(err)
	}
	old, _ := os.ReadFile(path)
	ctx, cancel := context.WithCancel(context.Background())
	err := WriteFile(ctx, path, []Tensor{constant("a", 1), {Name: "b", Shape: []int{9}, Fill: func([]float32) { cancel() }}}, Options{})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
	if now, _ := os.ReadFile(path); !bytes.Equal(old, now) {
		t.Error("the old file is gone")
	}
	if err := Write(ctx, &bytes.Buffer{}, nil, Options{}); !errors.Is(err, context.Canceled) {
		t.Errorf("a cancelled context wrote a file: %v", err)
	}
}

func TestEveryHalfSurvivesTheRoundTrip(t *testing.T) {
	for h := range 1 << 16 {
		f := halfToFloat(uint16(h))
		if math.IsNaN(float64(f)) {
			if h&0x7c00 != 0x7c00 || h&0x3ff == 0 || !math.IsNaN(float64(halfToFloat(floatToHalf(f)))) {
				t.Fatalf("%#04x is not kept as a NaN", h)
			}
			continue
		}
		if got := floatToHalf(f); got != uint16(h) {
			t.Fatalf("%#04x -> %g -> %#04x", h, f, got)
		}
		// The definition: (-1)^sign 2^(exp-15) 1.frac, or 2^-14 0.frac.
		exp, frac := h>>10&31, float64(h&0x3ff)/1024
		want := math.Ldexp(1+frac, exp-15)
		if exp == 0 {
			want = math.Ldexp(frac, -14)
		} else if exp == 31 {
			want = math.Inf(1)
		}
		if h&0x8000 != 0 {
			want = -want
		}
		if float64(f) != want {
			t.Fatalf("%#04x = %g, want %g", h, f, want)
		}
	}
}

func TestHalvesAreRoundedToTheNearestEven(t *testing.T) {
	// Between each two neighbours: the middle goes to the even one, what is a
	// little to either side goes there.
	for h := range uint16(0x7bff) {
		lo, hi := halfToFloat(h), halfToFloat(h+1)
		mid := (lo + hi) / 2 // exact
		even := h + h&1
		for _, c := range []struct {
			f    float32
			want uint16
		}{{mid, even}, {math.Nextafter32(mid, 0), h}, {math.Nextafter32(mid, 1e9), h + 1}} {
			if got := floatToHalf(c.f); got != c.want {
				t.Fatalf("%g -> %#04x, want %#04x", c.f, got, c.want)
			}
			if got := floatToHalf(-c.f); got != c.want|0x8000 {
				t.Fatalf("%g -> %#04x, want %#04x", -c.f, got, c.want|0x8000)
			}
		}
	}
	for f, want := range map[float32]uint16{65519.996: 0x7bff, 65520: 0x7c00, 1e30: 0x7c00, float32(math.Inf(-1)): 0xfc00, 1e-30: 0} {
		if got := floatToHalf(f); got != want {
			t.Errorf("%g -> %#04x, want %#04x", f, got, want)
		}
	}
}

func TestF16FilesReadBack(t *testing.T) {
	r := mustOpen(t, write(t, Options{DType: F16}, constant("x", 1.0009765625, 3)))
	got := make([]float32, 3)
	if err := r.ReadFloat32("x", got); err != nil || got[2] != 1.0009765625 {
		t.Errorf("%v, %v", got, err)
	}
	if info, _ := r.Lookup("x"); info.DType != F16 {
		t.Errorf("dtype %s", info.DType)
	}
}
