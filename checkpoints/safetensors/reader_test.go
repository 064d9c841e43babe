package safetensors

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// file puts a file together from its parts, right or wrong.
func file(header string, data ...byte) []byte {
	b := binary.LittleEndian.AppendUint64(nil, uint64(len(header)))
	return append(append(b, header...), data...)
}

func open(b []byte) (*Reader, error) {
	return NewReader(bytes.NewReader(b), int64(len(b)), "model.safetensors")
}

func mustOpen(t *testing.T, b []byte) *Reader {
	t.Helper()
	r, err := open(b)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// wantError checks that an error says all of the given things.
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

func TestReadsWhatTheFormatDescribes(t *testing.T) {
	header := `{"b":{"dtype":"F32","shape":[2,1],"data_offsets":[0,8]},` +
		`"empty":{"dtype":"F32","shape":[0,3],"data_offsets":[8,8]},` +
		`"a":{"dtype":"U8","shape":[],"data_offsets":[8,9],"later":{"x":[1]}},` +
		`"__metadata__":{"format":"pt","k":"v"}}  `
	r := mustOpen(t, file(header, 0, 0, 128, 63, 0, 0, 0, 192, 7))
	if got := r.Names(); !slices.Equal(got, []string{"a", "b", "empty"}) {
		t.Errorf("names %q", got)
	}
	if m := r.Metadata(); len(m) != 2 || m["format"] != "pt" || m["k"] != "v" {
		t.Errorf("metadata %v", m)
	}
	info, ok := r.Lookup("b")
	if !ok || info.DType != F32 || !slices.Equal(info.Shape, []int{2, 1}) || info.Len() != 2 {
		t.Errorf("b is %+v", info)
	}
	b := make([]float32, 2)
	if err := r.ReadFloat32("b", b); err != nil || b[0] != 1 || b[1] != -2 {
		t.Errorf("b = %v, %v", b, err)
	}
	a := make([]int64, 1)
	if err := r.ReadInt64("a", a); err != nil || a[0] != 7 {
		t.Errorf("a = %v, %v", a, err)
	}
	if err := r.ReadFloat32("empty", nil); err != nil {
		t.Error(err)
	}
}

func TestEveryDamagedHeaderIsRefused(t *testing.T) {
	one := func(entry string) string { return `{"x":` + entry + `}` }
	f32 := func(shape, offsets string) string {
		return fmt.Sprintf(`{"dtype":"F32","shape":%s,"data_offsets":%s}`, shape, offsets)
	}
	two := func(a, b string) string { return `{"x":` + f32("[1]", a) + `,"y":` + f32("[1]", b) + `}` }
	data := make([]byte, 8)
	for name, c := range map[string]struct {
		file []byte
		says string
	}{
		"empty file":            {nil, "it is empty"},
		"LFS pointer":           {[]byte("version https://git-lfs.github.com/spec/v1\noid sha256:ab\nsize 12345\n"), "Git LFS pointer, which stands for a file of 12345 bytes: run git lfs pull"},
		"a page":                {[]byte("<!doctype html><html></html>"), "HTML page"},
		"a pickle":              {[]byte("\x80\x02}q\x00(X\x0e\x00\x00\x00conv_in.weight"), "pickle"},
		"PyTorch's zip":         {[]byte("PK\x03\x04\x00\x00\x08\x08archive/data.pkl"), "PyTorch"},
		"FP8":                   {file(one(`{"dtype":"F8_E4M3","shape":[8],"data_offsets":[0,8]}`), data...), `tensor "x": unknown dtype "F8_E4M3"`},
		"seven bytes":           {make([]byte, 7), "truncated"},
		"header beyond file":    {binary.LittleEndian.AppendUint64(nil, 50), "only 0 follow"},
		"header beyond limit":   {binary.LittleEndian.AppendUint64(nil, maxHeader+1), "limit"},
		"header of 2^64-1":      {binary.LittleEndian.AppendUint64(nil, math.MaxUint64), "limit"},
		"no header":             {file(""), "nothing but zeros"},
		"an array":              {file("[]"), "'{'"},
		"a leading space":       {file(" {}"), "'{'"},
		"cut JSON":              {file(`{"x":`), "JSON"},
		"more than one value":   {file(`{}{}`), "JSON"},
		"zero bytes as padding": {file("{}\x00"), "JSON"},
		"not UTF-8":             {file("{\"\xff\":1}"), "UTF-8"},
		"entry not an object":   {file(one(`3`)), `"x"`},
		"missing dtype":         {file(one(`{"shape":[],"data_offsets":[0,0]}`)), "missing"},
		"missing shape":         {file(one(`{"dtype":"F32","data_offsets":[0,0]}`)), "missing"},
		"missing offsets":       {file(one(`{"dtype":"F32","shape":[]}`)), "missing"},
		"unknown dtype":         {file(one(`{"dtype":"F31","shape":[2],"data_offsets":[0,8]}`), data...), "F31"},
		"dtype not a string":    {file(one(`{"dtype":32,"shape":[2],"data_offsets":[0,8]}`), data...), "string"},
		"one offset":            {file(one(f32("[2]", "[8]")), data...), "two numbers"},
		"three offsets":         {file(one(f32("[2]", "[0,8,8]")), data...), "two numbers"},
		"end before begin":      {file(one(f32("[2]", "[8,0]")), data...), "before they begin"},
		"too short for shape":   {file(one(f32("[3]", "[0,8]")), data...), "takes 12"},
		"too long for shape":    {file(one(f32("[1]", "[0,8]")), data...), "takes 4"},
		"past the end":          {file(one(f32("[3]", "[0,12]")), data...), "only 8"},
		"negative dimension":    {file(one(f32("[-2]", "[0,8]")), data...), "not negative"},
		"fraction":              {file(one(f32("[2.0]", "[0,8]")), data...), "integer"},
		"exponent":              {file(one(f32("[2e0]", "[0,8]")), data...), "integer"},
		"dimension of 2^63":     {file(one(f32("[9223372036854775808]", "[0,8]")), data...), "63 bits"},
		"overflowing shape":     {file(one(f32("[4294967296,4294967296,4]", "[0,0]"))), "overflows"},
		"overflow, then zero":   {file(one(f32("[4294967296,4294967296,0]", "[0,0]"))), "overflows"},
		"overlap":               {file(two("[0,4]", "[0,4]"), data[:4]...), "overlaps"},
		"partial overlap":       {file(two("[0,4]", "[2,6]"), data[:6]...), "overlaps"},
		"hole":                  {file(two("[0,4]", "[5,9]"), make([]byte, 9)...), "hole"},
		"hole at the front":     {file(one(f32("[1]", "[4,8]")), data...), "hole"},
		"bytes at the end":      {file(one(f32("[1]", "[0,4]")), data...), "belong to none"},
		"data without tensors":  {file("{}", 1), "belong to none"},
		"a name twice":          {file(`{"x":`+f32("[1]", "[0,4]")+`,"x":`+f32("[1]", "[4,8]")+`}`, data...), `"x" occurs twice`},
		"a name twice, escaped": {file(`{"x":`+f32("[1]", "[0,4]")+`,"\u0078":`+f32("[1]", "[4,8]")+`}`, data...), `"x" occurs twice`},
		"a key twice":           {file(one(`{"dtype":"F32","dtype":"F32","shape":[2],"data_offsets":[0,8]}`), data...), "occurs twice"},
		"metadata twice":        {file(`{"__metadata__":{},"__metadata__":{}}`), "occurs twice"},
		"metadata not text":     {file(`{"__metadata__":{"a":1}}`), "__metadata__"},
	} {
		_, err := open(c.file)
		if err == nil {
			t.Errorf("%s: accepted", name)
			continue
		}
		if !strings.Contains(err.Error(), c.says) || !strings.HasPrefix(err.Error(), "model.safetensors: ") {
			t.Errorf("%s: error %q does not name the file or say %q", name, err, c.says)
		}
	}
}

func TestTensorErrorsNameTheTensor(t *testing.T) {
	header := `{"good":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"bad.weight":{"dtype":"F32","shape":[1],"data_offsets":[4,9]}}`
	_, err := open(file(header, make([]byte, 9)...))
	wantError(t, err, "model.safetensors", `"bad.weight"`, "span 5 bytes", "takes 4")
}

func TestReadRefusesWrongRequests(t *testing.T) {
	r := mustOpen(t, file(`{"mid.conv1.bias":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"n":{"dtype":"I64","shape":[1],"data_offsets":[8,16]}}`, make([]byte, 16)...))
	wantError(t, r.ReadFloat32("mid.conv2.bias", make([]float32, 2)), "model.safetensors", `no tensor "mid.conv2.bias"`, `"mid.conv1.bias"`)
	wantError(t, r.ReadFloat32("mid.conv1.bias", make([]float32, 3)), "room for 3", "shape [2]")
	wantError(t, r.ReadFloat32("n", make([]float32, 1)), `"n"`, "I64")
	wantError(t, r.ReadInt64("mid.conv1.bias", make([]int64, 2)), "F32")
}

func TestAFileCutAfterOpeningIsAnError(t *testing.T) {
	b := file(`{"x":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}`, make([]byte, 8)...)
	r, err := NewReader(bytes.NewReader(b[:len(b)-1]), int64(len(b)), "f")
	if err != nil {
		t.Fatal(err)
	}
	wantError(t, r.ReadFloat32("x", make([]float32, 2)), `"x"`, "unexpected EOF")
}

func TestEveryFloatDTypeIsConverted(t *testing.T) {
	le := binary.LittleEndian
	var data []byte
	data = le.AppendUint64(data, math.Float64bits(0.1))
	data = le.AppendUint32(data, math.Float32bits(0.1))
	data = le.AppendUint16(data, 0x2e66) // 0.0999755859375
	data = le.AppendUint16(data, 0x3dcd) // 0.10009765625
	r := mustOpen(t, file(`{"d":{"dtype":"F64","shape":[1],"data_offsets":[0,8]},"f":{"dtype":"F32","shape":[1],"data_offsets":[8,12]},`+
		`"h":{"dtype":"F16","shape":[1],"data_offsets":[12,14]},"b":{"dtype":"BF16","shape":[1],"data_offsets":[14,16]}}`, data...))
	for name, want := range map[string]float64{"d": 0.1, "f": float64(float32(0.1)), "h": 0.0999755859375, "b": 0.10009765625} {
		got32, got64 := make([]float32, 1), make([]float64, 1)
		if err := r.ReadFloat32(name, got32); err != nil || got32[0] != float32(want) {
			t.Errorf("%s: ReadFloat32 = %v, %v, want %v", name, got32, err, float32(want))
		}
		if err := r.ReadFloat64(name, got64); err != nil || got64[0] != want {
			t.Errorf("%s: ReadFloat64 = %v, %v, want %v", name, got64, err, want)
		}
	}
}

func TestEveryIntegerDTypeIsConverted(t *testing.T) {
	for _, c := range []struct {
		d    DType
		bits uint64
		want int64
	}{
		{BOOL, 1, 1}, {U8, 200, 200}, {I8, 0xff, -1}, {U16, 0xfffe, 65534}, {I16, 0xfffe, -2},
		{U32, 0xfffffffd, 4294967293}, {I32, 0xfffffffd, -3}, {I64, math.MaxUint64 - 3, -4}, {U64, math.MaxInt64, math.MaxInt64},
	} {
		size := c.d.size()
		data := binary.LittleEndian.AppendUint64(nil, c.bits)[:size]
		b := file(fmt.Sprintf(`{"x":{"dtype":%q,"shape":[],"data_offsets":[0,%d]}}`, c.d, size), data...)
		got := make([]int64, 1)
		if err := mustOpen(t, b).ReadInt64("x", got); err != nil || got[0] != c.want {
			t.Errorf("%s: %d, %v, want %d", c.d, got[0], err, c.want)
		}
	}
}

func TestValuesBeyondTheRangeAreRefused(t *testing.T) {
	data := binary.LittleEndian.AppendUint64(nil, math.Float64bits(1e300))
	data = binary.LittleEndian.AppendUint64(data, math.MaxUint64)
	r := mustOpen(t, file(`{"d":{"dtype":"F64","shape":[1],"data_offsets":[0,8]},"u":{"dtype":"U64","shape":[1],"data_offsets":[8,16]}}`, data...))
	wantError(t, r.ReadFloat32("d", make([]float32, 1)), `"d"`, "1e+300", "float32")
	wantError(t, r.ReadInt64("u", make([]int64, 1)), `"u"`, "int64")
}

// shards writes two files and an index and returns the index's path.
func shards(t *testing.T, index string) string {
	t.Helper()
	dir := t.TempDir()
	for name, tensor := range map[string]string{"m-1.safetensors": "a", "m-2.safetensors": "b"} {
		b := file(`{"`+tensor+`":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}}`, tensor[0])
		if err := os.WriteFile(filepath.Join(dir, name), b, 0o666); err != nil {
			t.Fatal(err)
		}
	}
	path := filepath.Join(dir, "m"+IndexSuffix)
	if err := os.WriteFile(path, []byte(index), 0o666); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestShardsLookLikeOneFile(t *testing.T) {
	r, err := Open(shards(t, `{"metadata":{"total_size":2},"weight_map":{"a":"m-1.safetensors","b":"m-2.safetensors"}}`))
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	for _, name := range r.Names() {
		v := make([]int64, 1)
		if err := r.ReadInt64(name, v); err != nil || v[0] != int64(name[0]) {
			t.Errorf("%s = %v, %v", name, v, err)
		}
	}
	if len(r.Names()) != 2 {
		t.Errorf("names %q", r.Names())
	}
}

func TestAnIndexThatDoesNotHoldIsRefused(t *testing.T) {
	for index, says := range map[string]string{
		`{"weight_map":{"a":"m-1.safetensors","b":"m-3.safetensors"}}`:                       "m-3.safetensors",
		`{"weight_map":{"a":"m-1.safetensors","b":"m-1.safetensors"}}`:                       `"b" should be in`,
		`{"weight_map":{"a":"m-2.safetensors","b":"m-1.safetensors"}}`:                       `"a" should be in m-2`,
		`{"weight_map":{"a":"m-1.safetensors","c":"m-2.safetensors"}}`:                       `"c"`,
		`{"weight_map":{"a":"m-1.safetensors","a":"m-1.safetensors","b":"m-2.safetensors"}}`: "twice",
		`{"weight_map":{"a":"../m-1.safetensors"}}`:                                          "beside the index",
		`{"weight_map":{"a":"/etc/passwd"}}`:                                                 "beside the index",
		`{"weight_map":{"a":".."}}`:                                                          "beside the index",
		`{"weight_map":{}}`:                                                                  "weight_map",
		`{"metadata":{}}`:                                                                    "weight_map",
		`{`:                                                                                  "JSON",
	} {
		path := shards(t, index)
		r, err := Open(path)
		if err == nil {
			r.Close()
		}
		wantError(t, err, path, says)
	}
}

func TestOpenSaysWhatIsMissing(t *testing.T) {
	dir := t.TempDir()
	_, err := Open(filepath.Join(dir, "none.safetensors"))
	wantError(t, err, "none.safetensors")
	_, err = Open(dir)
	wantError(t, err, "not a file")
}
