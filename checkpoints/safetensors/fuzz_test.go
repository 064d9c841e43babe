package safetensors

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"unstir/internal/alloctest"
	"unstir/internal/errortest"
)

// everyDType is a file with two elements of every type that is known, then four halves and a scalar.
func everyDType() []byte {
	var b strings.Builder
	at := 0
	for _, d := range []DType{BOOL, U8, I8, U16, I16, U32, I32, U64, I64, F16, BF16, F32, F64} {
		fmt.Fprintf(&b, `"%s":{"dtype":"%s","shape":[2,1],"data_offsets":[%d,%d]},`, strings.ToLower(string(d)), d, at, at+2*d.size())
		at += 2 * d.size()
	}
	data := make([]byte, at)
	for i := range data {
		data[i] = byte(i) & 1
	}
	return file("{"+b.String()+`"__metadata__":{"format":"pt"}}`, data...)
}

// FuzzReader: whatever the bytes, opening either fails in one line that names the file or gives a Reader that can read
// every tensor it lists, within the memory that the bytes allow. What is float32 is written and read back the same.
func FuzzReader(f *testing.F) {
	var good bytes.Buffer
	err := Write(context.Background(), &good, []Tensor{constant("a", 1, 2, 3), constant("b", 2), constant("c", 3, 0)}, Options{})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good.Bytes())
	f.Add(good.Bytes()[:good.Len()-3])
	f.Add(everyDType())
	f.Add(file("{}"))
	f.Add(file(`{"x":{"dtype":"BOOL","shape":[1],"data_offsets":[0,1]}}`, 1))
	f.Add(file(`{"x":{"dtype":"F64","shape":[9223372036854775807,2],"data_offsets":[0,8]}}`, make([]byte, 8)...))
	f.Add(file(`{"x":{"dtype":"F16","shape":[2],"data_offsets":[0,4]},"y":{"dtype":"BF16","shape":[],"data_offsets":[4,6]},"__metadata__":{"a":"b"}}`, 1, 2, 3, 4, 5, 6))
	f.Add(file(`{"x\n":["\n"]}`))
	f.Add([]byte{255, 255, 255, 255, 255, 255, 255, 255, '{'})
	f.Add([]byte("version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		var r *Reader
		var err error
		alloctest.Parse(t, len(b), func() { r, err = open(b) })
		if err != nil {
			errortest.OneLine(t, err, "model.safetensors")
			return
		}
		if n := readAll(t, r); n > len(b) {
			t.Fatalf("%d bytes of tensors in a file of %d", n, len(b))
		}
		writeAgain(t, r)
	})
}

// readAll reads every tensor as each of the types that it can be read as, and returns their bytes. The arrays that are
// read into are known to be no larger than eight times the file.
func readAll(t *testing.T, r *Reader) (total int) {
	for _, name := range r.Names() {
		info, ok := r.Lookup(name)
		if !ok {
			t.Fatalf("%q is listed and not found", name)
		}
		n := info.Len()
		total += n * info.DType.size()
		if total > 1<<30 {
			t.Fatalf("%q: %v has %d elements", name, info.Shape, n)
		}
		narrow, wide, ints := r.ReadFloat32(name, make([]float32, n)), r.ReadFloat64(name, make([]float64, n)), r.ReadInt64(name, make([]int64, n))
		if info.DType.isFloat() {
			if wide != nil || narrow != nil && info.DType != F64 || ints == nil {
				t.Fatalf("%q, %s: %v, %v, %v", name, info.DType, narrow, wide, ints)
			}
		} else if ints != nil && info.DType != U64 || narrow == nil || wide == nil { // a U64 may be beyond int64
			t.Fatalf("%q, %s: %v, %v, %v", name, info.DType, narrow, wide, ints)
		}
		for _, err := range []error{narrow, wide, ints, r.ReadFloat32(name, make([]float32, n+1)), r.ReadInt64(name+"?", nil)} {
			if err != nil {
				errortest.OneLine(t, err)
			}
		}
	}
	return total
}

// writeAgain writes the tensors of type F32 and the metadata, and reads the file.
func writeAgain(t *testing.T, r *Reader) {
	var list []Tensor
	for _, name := range r.Names() {
		if info, _ := r.Lookup(name); info.DType == F32 {
			list = append(list, Tensor{Name: name, Shape: info.Shape, Fill: func(dst []float32) {
				if err := r.ReadFloat32(name, dst); err != nil {
					t.Fatal(err)
				}
			}})
		}
	}
	var first, second bytes.Buffer
	if err := Write(context.Background(), &first, list, Options{Metadata: r.Metadata()}); err != nil {
		t.Fatal(err)
	}
	again, err := open(first.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	if len(again.Names()) != len(list) {
		t.Fatalf("%d of %d tensors are read back", len(again.Names()), len(list))
	}
	for i := range list {
		list[i].Fill = func(dst []float32) {
			if err := again.ReadFloat32(list[i].Name, dst); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := Write(context.Background(), &second, list, Options{Metadata: again.Metadata()}); err != nil || !bytes.Equal(first.Bytes(), second.Bytes()) {
		t.Errorf("tensors that are written and read differ: %v", err)
	}
}

// FuzzIndex: whatever an index and one of its shards are, opening it either fails in one line that names a file or
// gives every tensor, and nothing outside the index's directory is opened.
func FuzzIndex(f *testing.F) {
	shard := file(`{"b":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}}`, 7)
	f.Add([]byte(`{"metadata":{"total_size":2},"weight_map":{"a":"m-1.safetensors","b":"m-2.safetensors"}}`), shard)
	f.Add([]byte(`{"weight_map":{"b":"m-2.safetensors"}}`), shard)
	f.Add([]byte(`{"weight_map":{"b":"../m-2.safetensors"}}`), shard)
	f.Add([]byte(`{"weight_map":{"b":"."}}`), shard)
	f.Add([]byte(`{"weight_map":{"b":"m\u00002"}}`), shard)
	f.Add([]byte(`{"weight_map":{"b\n":"m\n"}}`), shard)
	f.Add([]byte(`{"weight_map":{"a":"m-1.safetensors","a":"m-2.safetensors"}}`), shard)
	f.Add([]byte(`{"weight_map":{}}`), []byte{})
	f.Fuzz(func(t *testing.T, index, shard []byte) {
		top := t.TempDir()
		dir := filepath.Join(top, "model")
		path := filepath.Join(dir, "m"+IndexSuffix)
		if err := os.Mkdir(dir, 0o777); err != nil {
			t.Fatal(err)
		}
		for name, b := range map[string][]byte{
			path:                                  index,
			filepath.Join(dir, "m-1.safetensors"): file(`{"a":{"dtype":"F16","shape":[1],"data_offsets":[0,2]}}`, 0, 60),
			filepath.Join(dir, "m-2.safetensors"): shard,
			filepath.Join(top, "m-2.safetensors"): shard, // which no index may name
		} {
			if err := os.WriteFile(name, b, 0o666); err != nil {
				t.Fatal(err)
			}
		}
		var r *Reader
		var err error
		alloctest.Parse(t, len(index)+len(shard), func() { r, err = Open(path) })
		if err != nil {
			errortest.OneLine(t, err, top)
			return
		}
		defer r.Close()
		for _, e := range r.entries {
			if filepath.Dir(e.file) != dir {
				t.Errorf("tensor %q is read from %s", e.Name, e.file)
			}
		}
		readAll(t, r)
	})
}

// A header of as much as is read takes no more memory than its bytes allow, and more is refused; so is an index.
func TestLargeHeadersTakeTheirShare(t *testing.T) {
	if testing.Short() {
		t.Skip("it parses megabytes")
	}
	tensors := func(n int) string {
		var b strings.Builder
		for i := range n {
			fmt.Fprintf(&b, `"%x":{"dtype":"U8","shape":[0],"data_offsets":[0,0]},`, i)
		}
		return b.String()
	}
	pairs := func(n int, value string) string {
		var b strings.Builder
		for i := range n {
			fmt.Fprintf(&b, `"%x":%s,`, i, value)
		}
		return "{" + strings.TrimSuffix(b.String(), ",") + "}"
	}
	for _, test := range []struct{ what, header, says string }{
		{"as many tensors and as much metadata as there may be", "{" + tensors(24000) + `"__metadata__":` + pairs(maxPairs, `""`) + "}", ""},
		{"too many tensors", "{" + tensors(maxNames/4) + `"x":{"dtype":"U8","shape":[0],"data_offsets":[0,0]}}`, "more than 131072 names"},
		{"too much metadata", `{"__metadata__":` + pairs(maxPairs+1, `""`) + "}", "more than 32768 names"},
		{"a key of another version", `{"x":{"dtype":"U8","shape":[0],"data_offsets":[0,0],"y":` + pairs(1<<17, "[{}]") + "}}", ""},
		{"many such keys", `{"x":` + pairs(1<<17+1, "[{}]") + "}", "more than 131072 names"},
		{"a shape of many dimensions", `{"x":{"dtype":"U8","shape":[` + strings.Repeat("0,", 1<<18) + `0],"data_offsets":[0,0]}}`, "more than 64 numbers"},
		{"a long name", `{"` + strings.Repeat("x", 1<<20) + `":{"dtype":"U8","shape":[1],"data_offsets":[0,0]}}`, "span 0 bytes"},
	} {
		b := file(test.header)
		var err error
		alloctest.Parse(t, len(b), func() { _, err = open(b) })
		if test.says == "" && err != nil {
			t.Errorf("%s: %v", test.what, err)
		}
		if test.says != "" {
			wantError(t, err, test.says)
			errortest.OneLine(t, err)
		}
	}
	path := filepath.Join(t.TempDir(), "m"+IndexSuffix)
	index := `{"weight_map":` + pairs(maxPairs, `"m-1.safetensors"`) + "}"
	if err := os.WriteFile(path, []byte(index), 0o666); err != nil {
		t.Fatal(err)
	}
	alloctest.Parse(t, len(index), func() {
		_, err := Open(path)
		wantError(t, err, "m-1.safetensors: no such file")
	})
}
