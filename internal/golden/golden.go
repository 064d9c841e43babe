// Package golden reads reference tensors for tests: directories with fixture.json, which says what is compared,
// and fixture.safetensors. It is imported by tests only.
//
// UNSTIR_GOLDEN names a directory of such directories that is run beside each package's own; a relative path
// counts from the module's root.
package golden

import (
	"encoding/json"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"unstir/checkpoints/safetensors"
)

// Fixture is one directory of reference tensors.
type Fixture struct {
	Dir      string
	Manifest []byte // fixture.json

	reader *safetensors.Reader
}

// Find lists the fixtures below the given directories and below UNSTIR_GOLDEN whose manifest has something that
// wanted accepts.
func Find(t testing.TB, wanted func(manifest map[string]json.RawMessage) bool, dirs ...string) []*Fixture {
	t.Helper()
	if extra := os.Getenv("UNSTIR_GOLDEN"); extra != "" {
		dirs = append(dirs, fromRoot(t, extra))
	}
	var out []*Fixture
	for _, dir := range dirs {
		err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.Name() != "fixture.json" {
				return err
			}
			f, err := open(path, wanted)
			if f != nil {
				t.Cleanup(func() { f.reader.Close() })
				out = append(out, f)
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if len(out) == 0 {
		t.Fatalf("no fixtures of this kind in %s", strings.Join(dirs, ", "))
	}
	return out
}

// open returns nil for a fixture of another kind.
func open(path string, wanted func(map[string]json.RawMessage) bool) (*Fixture, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var keys map[string]json.RawMessage
	if err := json.Unmarshal(text, &keys); err != nil {
		return nil, &fs.PathError{Op: "parse", Path: path, Err: err}
	}
	if !wanted(keys) {
		return nil, nil
	}
	f := &Fixture{Dir: filepath.Dir(path), Manifest: text}
	f.reader, err = safetensors.Open(filepath.Join(f.Dir, "fixture.safetensors"))
	if err != nil {
		return nil, err
	}
	return f, nil
}

// fromRoot makes a relative path count from the module's root: tests run in their package's directory.
func fromRoot(t testing.TB, path string) string {
	t.Helper()
	if filepath.IsAbs(path) {
		return path
	}
	for dir := "."; ; dir = filepath.Join(dir, "..") {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return filepath.Join(dir, path)
		}
		if len(dir) > 64 {
			t.Fatalf("UNSTIR_GOLDEN=%s: no go.mod above the test's directory", path)
		}
	}
}

// Name is the fixture's directory without what is before it, for subtests.
func (f *Fixture) Name() string { return filepath.Base(f.Dir) }

// Decode reads the manifest.
func (f *Fixture) Decode(t testing.TB, v any) {
	t.Helper()
	if err := json.Unmarshal(f.Manifest, v); err != nil {
		t.Fatalf("%s: %v", f.Dir, err)
	}
}

// Has tells whether the fixture has a tensor.
func (f *Fixture) Has(name string) bool {
	_, ok := f.reader.Lookup(name)
	return ok
}

// Shape is the shape of a tensor.
func (f *Fixture) Shape(t testing.TB, name string) []int {
	t.Helper()
	info, ok := f.reader.Lookup(name)
	if !ok {
		t.Fatalf("%s has no tensor %q", f.Dir, name)
	}
	return info.Shape
}

// Sides are the rows and columns of a tensor of images [..., H, W]. A fixture's images have the size of its tensors,
// whatever its model's sample_size says: that may be null, and a UNet takes any size.
func (f *Fixture) Sides(t testing.TB, name string) (h, w int) {
	t.Helper()
	shape := f.Shape(t, name)
	if len(shape) < 2 {
		t.Fatalf("%s: the tensor %q of shape %v is not an image", f.Dir, name, shape)
	}
	return shape[len(shape)-2], shape[len(shape)-1]
}

func size(shape []int) int {
	n := 1
	for _, d := range shape {
		n *= d
	}
	return n
}

// Floats reads a tensor of floating-point numbers.
func (f *Fixture) Floats(t testing.TB, name string) []float64 {
	t.Helper()
	out := make([]float64, size(f.Shape(t, name)))
	if err := f.reader.ReadFloat64(name, out); err != nil {
		t.Fatal(err)
	}
	return out
}

// Float32s is Floats rounded to float32.
func (f *Fixture) Float32s(t testing.TB, name string) []float32 {
	t.Helper()
	wide := f.Floats(t, name)
	out := make([]float32, len(wide))
	for i, v := range wide {
		out[i] = float32(v)
	}
	return out
}

// Ints reads a tensor of whole numbers.
func (f *Fixture) Ints(t testing.TB, name string) []int {
	t.Helper()
	wide := make([]int64, size(f.Shape(t, name)))
	if err := f.reader.ReadInt64(name, wide); err != nil {
		t.Fatal(err)
	}
	out := make([]int, len(wide))
	for i, v := range wide {
		out[i] = int(v)
	}
	return out
}

// Tolerance picks the bound for direct convolutions or for Winograd's, whose rounding errors are larger.
func Tolerance(direct, winograd float64) float64 {
	if os.Getenv("UNSTIR_CONV") == "direct" {
		return direct
	}
	return winograd
}

// RelErr is the largest error over the largest value; NaN where got has one.
func RelErr[F float32 | float64](got []F, want []float64) float64 {
	var largest float64
	for _, w := range want {
		largest = math.Max(largest, math.Abs(w))
	}
	return MaxErr(got, want) / largest
}

// MaxErr is the largest error; NaN where got has one or is of another length.
func MaxErr[F float32 | float64](got []F, want []float64) float64 {
	if len(got) != len(want) {
		return math.NaN()
	}
	var worst float64
	for i, w := range want {
		worst = math.Max(worst, math.Abs(float64(got[i])-w)) // Max passes a NaN on
	}
	return worst
}
