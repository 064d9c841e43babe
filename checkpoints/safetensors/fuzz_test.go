package safetensors

import (
	"bytes"
	"context"
	"testing"
)

// FuzzReader: whatever the bytes, opening either fails or gives a Reader that
// can read every tensor it lists.
func FuzzReader(f *testing.F) {
	var good bytes.Buffer
	err := Write(context.Background(), &good, []Tensor{constant("a", 1, 2, 3), constant("b", 2), constant("c", 3, 0)}, Options{})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good.Bytes())
	f.Add(good.Bytes()[:good.Len()-3])
	f.Add(file("{}"))
	f.Add(file(`{"x":{"dtype":"BOOL","shape":[1],"data_offsets":[0,1]}}`, 1))
	f.Add(file(`{"x":{"dtype":"F64","shape":[9223372036854775807,2],"data_offsets":[0,8]}}`, make([]byte, 8)...))
	f.Add(file(`{"x":{"dtype":"F16","shape":[2],"data_offsets":[0,4]},"y":{"dtype":"BF16","shape":[],"data_offsets":[4,6]},"__metadata__":{"a":"b"}}`, 1, 2, 3, 4, 5, 6))
	f.Add([]byte{255, 255, 255, 255, 255, 255, 255, 255, '{'})
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := open(b)
		if err != nil {
			return
		}
		total := 0
		for _, name := range r.Names() {
			info, ok := r.Lookup(name)
			if !ok {
				t.Fatalf("%q is listed and not found", name)
			}
			total += info.Len() * info.DType.Size()
			if info.DType.isFloat() {
				err = r.ReadFloat64(name, make([]float64, info.Len()))
			} else if info.DType != U64 { // a U64 may be beyond int64
				err = r.ReadInt64(name, make([]int64, info.Len()))
			}
			if err != nil {
				t.Fatalf("%q: %v", name, err)
			}
		}
		if total > len(b) {
			t.Fatalf("%d bytes of tensors in a file of %d", total, len(b))
		}
	})
}
