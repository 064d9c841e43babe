package checkpoints

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"unstir/checkpoints/safetensors"
	"unstir/internal/alloctest"
	"unstir/internal/errortest"
)

// replace writes a file.
func replace(t testing.TB, path string, b []byte) {
	t.Helper()
	if err := os.WriteFile(path, b, 0o666); err != nil {
		t.Fatal(err)
	}
}

func contents(t testing.TB, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// FuzzState: whatever a state.json is, reading it fails in one line that names it or gives a state that is valid and
// is written and read back the same.
func FuzzState(f *testing.F) {
	dir, err := Save(background, f.TempDir(), toy(3))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(contents(f, in(dir, fileState)))
	f.Add([]byte(`{"version": 1, "batch_size": 1, "slice": 1, "step": 9223372036854775807, "loss": -1e308, "data": {"classes": ["", "\ud800", "\u0000"]}}`))
	f.Add([]byte(`{"version": 2, "other": [1]}`))
	f.Add([]byte(`{"version": 1, "a\n": 1}`))
	f.Add([]byte(`{"version": 1, "batch_size": 1, "slice": 1} {}`))
	f.Add([]byte("null"))
	path := filepath.Join(f.TempDir(), "state.json")
	f.Fuzz(func(t *testing.T, b []byte) {
		replace(t, path, b)
		var s *State
		var err error
		alloctest.Parse(t, len(b), func() { s, err = readState(path) })
		if err != nil {
			errortest.OneLine(t, err, path)
			return
		}
		if err := s.validate(); err != nil {
			t.Error(err)
		}
		text, err := json.Marshal(s)
		if err != nil {
			t.Fatal(err)
		}
		replace(t, path, text)
		again, err := readState(path)
		if s.Data.Classes != nil && len(s.Data.Classes) == 0 {
			s.Data.Classes = nil // what an empty list is written as
		}
		if err != nil || !reflect.DeepEqual(s, again) {
			t.Errorf("read %+v, after writing %+v, %v", s, again, err)
		}
	})
}

// FuzzManifest: whatever a manifest.json is, reading it fails in one line or gives a list of files inside the
// checkpoint with all that it must have, which is written as it was.
func FuzzManifest(f *testing.F) {
	dir, err := Save(background, f.TempDir(), toy(3))
	if err != nil {
		f.Fatal(err)
	}
	good := contents(f, in(dir, fileManifest))
	f.Add(good)
	f.Add(bytes.Replace(good, []byte("model_index.json"), []byte("../model_index.json"), 1))
	f.Add(bytes.Replace(good, []byte("model_index.json"), []byte(`a\nb`), 1))
	f.Add([]byte(`{"version": 1, "files": [` + strings.Repeat("{},", 100) + `{}]}`))
	f.Add([]byte(`{"version": 2}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		replace(t, in(dir, fileManifest), b)
		var m *manifest
		var err error
		alloctest.Parse(t, len(b), func() { m, err = readManifest(dir) })
		if err != nil {
			errortest.OneLine(t, err, fileManifest)
			return
		}
		if !bytes.Equal(m.encode(), b) {
			t.Errorf("written as %s", m.encode())
		}
		for _, file := range m.Files {
			if !filepath.IsLocal(filepath.FromSlash(file.Path)) {
				t.Errorf("%q is outside the checkpoint", file.Path)
			}
		}
		if err := Verify(background, dir); err != nil {
			errortest.OneLine(t, err, dir)
		}
	})
}

// The ways in which FuzzOpen has a file replaced.
const (
	damaged = iota // in a checkpoint
	signed         // in a checkpoint whose manifest was made for it
	foreign        // in a pipeline, which has no manifest
	wayCount
)

// FuzzOpen: a checkpoint or a pipeline in which any one file is replaced by any bytes opens, or does not and the error
// is one line that names where; what opens can be read.
func FuzzOpen(f *testing.F) {
	saved, err := Save(background, f.TempDir(), toy(3))
	if err != nil {
		f.Fatal(err)
	}
	files := append([]string{fileManifest}, modelFiles...)
	originals := map[string][]byte{}
	for i, name := range files {
		originals[name] = contents(f, in(saved, name))
		for way := range uint8(wayCount) {
			f.Add(uint8(i), way, originals[name])
			f.Add(uint8(i), way, originals[name][:len(originals[name])/2])
		}
	}
	other := f.TempDir()
	for _, name := range []string{fileIndex, fileUNet, fileWeights, fileScheduler} {
		if err := os.MkdirAll(filepath.Dir(in(other, name)), 0o777); err != nil {
			f.Fatal(err)
		}
		replace(f, in(other, name), originals[name])
	}
	for _, text := range []string{
		`{"_class_name": "a\nb"}`, `{"_class_name": 1}`, `{"vae": ["diffusers", "Auto\nencoder"]}`, `{"unet": ["diffusers", "UNet2DConditionModel"]}`,
		"null", "[]", "{", "", "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12\n", `{"_class_name": "UNet2DModel", "x": NaN}`,
	} {
		for _, name := range []uint8{1, 2, 7} { // model_index.json and the two configs
			f.Add(name, uint8(foreign), []byte(text))
		}
	}
	f.Fuzz(func(t *testing.T, which, way uint8, b []byte) {
		name := files[int(which)%len(files)]
		dir := saved
		switch way % wayCount {
		case foreign:
			if dir = other; name == fileManifest || strings.HasPrefix(name, trainingDir) {
				return // a pipeline has none
			}
		case signed:
			if name == fileManifest {
				return
			}
			replace(t, in(dir, fileManifest), sign(t, originals[fileManifest], name, b))
			defer replace(t, in(dir, fileManifest), originals[fileManifest])
		}
		replace(t, in(dir, name), b)
		defer replace(t, in(dir, name), originals[name])
		var m *Model
		var err error
		alloctest.Parse(t, len(b), func() { m, err = Open(background, dir) })
		if err != nil {
			errortest.OneLine(t, err, dir)
			return
		}
		defer m.Close()
		if way%wayCount == damaged && !bytes.Equal(b, originals[name]) {
			t.Errorf("%s has changed and the checkpoint opens", name)
		}
		for _, r := range []*safetensors.Reader{m.Weights, m.Raw, m.Optimizer} {
			if r == nil {
				continue
			}
			for _, name := range r.Names() {
				if info, _ := r.Lookup(name); info.DType == safetensors.F32 {
					if err := r.ReadFloat32(name, make([]float32, info.Len())); err != nil {
						t.Error(err)
					}
				}
			}
		}
	})
}

// sign is a manifest in which the file of that name is b.
func sign(t *testing.T, text []byte, name string, b []byte) []byte {
	t.Helper()
	var m manifest
	if err := json.Unmarshal(text, &m); err != nil {
		t.Fatal(err)
	}
	for i := range m.Files {
		if m.Files[i].Path == name {
			sum := sha256.Sum256(b)
			m.Files[i].Size, m.Files[i].SHA256 = int64(len(b)), hex.EncodeToString(sum[:])
		}
	}
	return m.encode()
}

// The largest files that are read take the memory that their bytes allow, and larger ones are refused.
func TestLargeSmallFilesTakeTheirShare(t *testing.T) {
	if testing.Short() {
		t.Skip("it parses megabytes")
	}
	dir := t.TempDir()
	state := func(size int) string {
		const head, tail = `{"version":1,"batch_size":1,"slice":1,"data":{"classes":["a"`, `]}}`
		return head + strings.Repeat(`,""`, (size-len(head)-len(tail))/3) + tail
	}
	object := func(size int) string {
		var b strings.Builder
		for i := 0; b.Len() < size-20; i++ {
			b.WriteString(`"` + hex.EncodeToString([]byte{byte(i >> 16), byte(i >> 8), byte(i)}) + `":0,`)
		}
		return "{" + b.String() + `"x":0}`
	}
	readIndex := func(path string) error { return checkIndex(path) }
	for _, test := range []struct {
		name, text string
		read       func(path string) error
		ok         bool
	}{
		{"state.json", state(maxState), func(path string) error { _, err := readState(path); return err }, true},
		{"state.json", state(maxState + 10), func(path string) error { _, err := readState(path); return err }, false},
		{"config.json", object(maxSmall), func(path string) error { _, err := readConfig(path, "UNet2DModel"); return err }, true},
		{"config.json", object(maxSmall + 100), func(path string) error { _, err := readConfig(path, "UNet2DModel"); return err }, false},
		{"model_index.json", object(maxSmall), readIndex, true},
		{"model_index.json", object(maxSmall + 100), readIndex, false},
		{"manifest.json", `{"version":1,"files":[` + strings.Repeat("{},", maxManifest/3-20) + "{}]}", func(string) error { _, err := readManifest(dir); return err }, false},
	} {
		path := filepath.Join(dir, test.name)
		replace(t, path, []byte(test.text))
		var err error
		alloctest.Parse(t, len(test.text), func() { err = test.read(path) })
		if (err == nil) != test.ok {
			t.Errorf("%s of %d bytes: error %v", test.name, len(test.text), err)
		}
		if t.Failed() {
			t.Fatalf("%s of %d bytes", test.name, len(test.text))
		}
		if err != nil {
			errortest.OneLine(t, err, test.name)
		}
	}
}

// A state that could not be read again is not written.
func TestAStateOfTooManyClassesIsNotSaved(t *testing.T) {
	c := toy(1)
	for range 1 << 16 {
		c.State.Data.Classes = append(c.State.Data.Classes, strings.Repeat("n", 30))
	}
	_, err := Save(background, t.TempDir(), c)
	wantError(t, err, "state", "65538 classes", "at most 2097152")
}
