package safetensors

import (
	"bytes"
	"cmp"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"unicode/utf8"

	"unstir/internal/atomicfile"
)

// Tensor is a tensor to be written.
type Tensor struct {
	Name  string
	Shape []int // no dimensions: a scalar
	// Fill writes all of the tensor's values, row-major, into dst, which has as
	// many elements as the shape and is zero before the call. It is called once.
	Fill func(dst []float32)
}

// Options of a file to be written. The zero value is F32 with {"format": "pt"}.
type Options struct {
	DType    DType             // F32 or F16; "" is F32. F16 rounds to nearest, half to even
	Metadata map[string]string // nil is {"format": "pt"}, which PyTorch's readers expect
}

// Write writes a file, tensor by tensor in the bytewise order of their names,
// and holds one tensor at a time. The same tensors and options give the same
// bytes. The tensors and the context are checked before the first byte; a
// cancelled context stops between two pieces of at most 64 KiB.
func Write(ctx context.Context, w io.Writer, tensors []Tensor, o Options) error {
	if o.DType == "" {
		o.DType = F32
	}
	if o.DType != F32 && o.DType != F16 {
		return fmt.Errorf("dtype %q cannot be written, only F32 and F16", o.DType)
	}
	if o.Metadata == nil {
		o.Metadata = map[string]string{"format": "pt"}
	}
	tensors = slices.Clone(tensors)
	slices.SortFunc(tensors, func(a, b Tensor) int { return cmp.Compare(a.Name, b.Name) })
	header, largest, err := makeHeader(tensors, o)
	if err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	if _, err := w.Write(header); err != nil {
		return err
	}
	values, buf := make([]float32, largest), make([]byte, chunkLen)
	for _, t := range tensors {
		if err := writeTensor(ctx, w, t, o.DType, values, buf); err != nil {
			return fmt.Errorf("tensor %q: %w", t.Name, err)
		}
	}
	return nil
}

func writeTensor(ctx context.Context, w io.Writer, t Tensor, d DType, values []float32, buf []byte) error {
	values = values[:Info{Shape: t.Shape}.Len()]
	clear(values)
	t.Fill(values)
	for len(values) > 0 {
		if err := ctx.Err(); err != nil {
			return err
		}
		n := min(len(values), len(buf)/d.size())
		if err := encode(buf, values[:n], d); err != nil {
			return err
		}
		if _, err := w.Write(buf[:n*d.size()]); err != nil {
			return err
		}
		values = values[n:]
	}
	return nil
}

// makeHeader returns the length, the header and its padding for tensors sorted
// by name, and the elements of the largest tensor.
func makeHeader(tensors []Tensor, o Options) (header []byte, largest int, err error) {
	h := bytes.NewBuffer(make([]byte, 8, 4096))
	h.WriteByte('{')
	if len(o.Metadata) > 0 {
		if err := writeMetadata(h, o.Metadata); err != nil {
			return nil, 0, err
		}
	}
	if most := (maxNames - len(o.Metadata)) / 4; len(tensors) > most || len(o.Metadata) > maxPairs {
		return nil, 0, fmt.Errorf("%d tensors and %d pairs of metadata are more than the limits of %d and %d", len(tensors), len(o.Metadata), most, maxPairs)
	}
	offset := 0
	for i, t := range tensors {
		fail := func(format string, args ...any) ([]byte, int, error) {
			return nil, 0, fmt.Errorf("tensor %q: "+format, append([]any{t.Name}, args...)...)
		}
		switch {
		case !utf8.ValidString(t.Name):
			return fail("its name is not valid UTF-8")
		case t.Name == metadataKey:
			return fail("the format keeps this name for the metadata")
		case i > 0 && t.Name == tensors[i-1].Name:
			return fail("two tensors have this name")
		case t.Fill == nil:
			return fail("Fill is nil")
		}
		size, err := byteLen(o.DType, t.Shape)
		if err != nil {
			return fail("%w", err)
		}
		end := offset + size
		if end < offset {
			return fail("the file would be longer than can be counted")
		}
		if h.Len() > 9 {
			h.WriteByte(',')
		}
		writeString(h, t.Name)
		fmt.Fprintf(h, `:{"dtype":"%s","shape":[%s],"data_offsets":[%d,%d]}`, o.DType, joinInts(t.Shape), offset, end)
		offset, largest = end, max(largest, size/o.DType.size())
	}
	h.WriteByte('}')
	for h.Len()%8 != 0 { // the values begin at a multiple of 8
		h.WriteByte(' ')
	}
	n := h.Len() - 8
	if n > maxHeader {
		return nil, 0, fmt.Errorf("the header would be %d bytes long, more than the limit of %d", n, maxHeader)
	}
	binary.LittleEndian.PutUint64(h.Bytes(), uint64(n))
	return h.Bytes(), largest, nil
}

func writeMetadata(h *bytes.Buffer, metadata map[string]string) error {
	h.WriteString(`"` + metadataKey + `":{`)
	for i, key := range slices.Sorted(maps.Keys(metadata)) {
		if !utf8.ValidString(key) || !utf8.ValidString(metadata[key]) {
			return errors.New("the metadata is not valid UTF-8")
		}
		if i > 0 {
			h.WriteByte(',')
		}
		writeString(h, key)
		h.WriteByte(':')
		writeString(h, metadata[key])
	}
	h.WriteByte('}')
	return nil
}

func writeString(h *bytes.Buffer, s string) {
	enc := json.NewEncoder(h)
	enc.SetEscapeHTML(false)
	enc.Encode(s)           // a string into a buffer: cannot fail
	h.Truncate(h.Len() - 1) // the newline
}

func joinInts(list []int) string {
	return strings.ReplaceAll(strings.Trim(fmt.Sprint(list), "[]"), " ", ",")
}

// WriteFile writes a file at path by Write. The old file, if any, is replaced
// only when the new one is complete.
func WriteFile(ctx context.Context, path string, tensors []Tensor, o Options) error {
	return atomicfile.Write(path, func(w io.Writer) error { return Write(ctx, w, tensors, o) })
}
