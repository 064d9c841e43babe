package safetensors

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"unicode"

	"unstir/internal/filekind"
)

// IndexSuffix ends the name of a file that lists the shards of a model.
const IndexSuffix = ".safetensors.index.json"

// Reader gives the tensors of one file, or of all shards of an index, by name.
// Its methods may be called from several goroutines at once.
type Reader struct {
	name     string
	entries  map[string]*entry
	names    []string
	metadata map[string]string
	files    []io.Closer
}

// Open opens a .safetensors file or, where the name ends in IndexSuffix, the
// shards that the index lists, and checks their headers. No tensor is read. The
// caller closes the Reader.
func Open(path string) (*Reader, error) {
	if strings.HasSuffix(path, IndexSuffix) {
		return openIndex(path)
	}
	r := newReader(path)
	if err := r.addFile(path); err != nil {
		r.Close()
		return nil, err
	}
	r.finish()
	return r, nil
}

// NewReader reads a file of the given size from src. Errors call it name.
func NewReader(src io.ReaderAt, size int64, name string) (*Reader, error) {
	r := newReader(name)
	if err := r.add(src, size, name); err != nil {
		return nil, err
	}
	r.finish()
	return r, nil
}

func newReader(name string) *Reader {
	return &Reader{name: name, entries: map[string]*entry{}, metadata: map[string]string{}}
}

func (r *Reader) addFile(path string) error {
	f, err := filekind.Open(path)
	if err != nil {
		return err
	}
	r.files = append(r.files, f)
	info, err := f.Stat()
	if err != nil {
		return err
	}
	return r.add(f, info.Size(), path)
}

func (r *Reader) add(src io.ReaderAt, size int64, name string) error {
	entries, metadata, err := readHeader(src, size, name)
	if err != nil {
		head := make([]byte, max(0, min(size, filekind.HeadSize)))
		if readFullAt(src, head, 0) == nil {
			err = filekind.Explain(err, head, size, filekind.Weights)
		}
		return fmt.Errorf("%s: %w", name, err)
	}
	for _, e := range entries {
		if other := r.entries[e.Name]; other != nil {
			return fmt.Errorf("%s: tensor %.80q is also in %s", name, e.Name, other.file)
		}
		r.entries[e.Name] = e
	}
	maps.Copy(r.metadata, metadata)
	return nil
}

func (r *Reader) finish() { r.names = slices.Sorted(maps.Keys(r.entries)) }

// openIndex opens every shard of {"weight_map": {tensor: file}} and checks that
// the map and the shards agree.
func openIndex(path string) (*Reader, error) {
	where, err := readIndex(path)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	r := newReader(path)
	dir := filepath.Dir(path)
	for _, shard := range slices.Compact(slices.Sorted(maps.Values(where))) {
		if err := r.addFile(filepath.Join(dir, shard)); err != nil {
			r.Close()
			return nil, fmt.Errorf("shard of %s: %w", path, err)
		}
	}
	r.finish()
	if err := r.checkIndex(where, dir); err != nil {
		r.Close()
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return r, nil
}

func (r *Reader) checkIndex(where map[string]string, dir string) error {
	for _, name := range slices.Sorted(maps.Keys(where)) {
		if e := r.entries[name]; e == nil {
			return fmt.Errorf("tensor %.80q should be in %s and is not", name, where[name])
		} else if e.file != filepath.Join(dir, where[name]) {
			return fmt.Errorf("tensor %.80q should be in %s, but is in %s", name, where[name], filepath.Base(e.file))
		}
	}
	for _, name := range r.names {
		if _, ok := where[name]; !ok {
			return fmt.Errorf("tensor %.80q of %s is not listed", name, filepath.Base(r.entries[name].file))
		}
	}
	return nil
}

// maxFileName is the longest name, in bytes, that most file systems have.
const maxFileName = 255

func readIndex(path string) (map[string]string, error) {
	f, err := filekind.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxHeader+1))
	if err != nil {
		return nil, err
	}
	if len(text) > maxHeader {
		return nil, fmt.Errorf("longer than the limit of %d bytes", maxHeader)
	}
	p, err := newParser(text)
	if err != nil {
		return nil, filekind.Explain(fmt.Errorf("not valid JSON: %w", err), text[:min(len(text), filekind.HeadSize)], int64(len(text)), filekind.JSON)
	}
	var where map[string]string
	err = p.object(func(key string) (err error) {
		if key != "weight_map" {
			return p.skip()
		}
		where, err = p.stringMap()
		return err
	})
	if err != nil {
		return nil, err
	}
	if len(where) == 0 {
		return nil, errors.New(`no "weight_map" with tensors and their files`)
	}
	for name, file := range where {
		// A shard lies beside its index: a path could lead anywhere.
		unprintable := func(r rune) bool { return !unicode.IsPrint(r) }
		if file != filepath.Base(file) || !filepath.IsLocal(file) || len(file) > maxFileName || strings.ContainsFunc(file, unprintable) {
			return nil, fmt.Errorf("tensor %.80q: shard %.80q is not the name of a file beside the index", name, file)
		}
	}
	return where, nil
}

// Name returns the path that was opened.
func (r *Reader) Name() string { return r.name }

// Names returns the names of all tensors, sorted bytewise.
func (r *Reader) Names() []string { return slices.Clone(r.names) }

// Metadata returns the header's free text, usually {"format": "pt"}; of several
// shards, theirs together.
func (r *Reader) Metadata() map[string]string { return maps.Clone(r.metadata) }

// Lookup describes a tensor; false where there is none of that name.
func (r *Reader) Lookup(name string) (Info, bool) {
	e, ok := r.entries[name]
	if !ok {
		return Info{}, false
	}
	info := e.Info
	info.Shape = slices.Clone(info.Shape)
	return info, true
}

// ReadFloat32 reads a tensor of dtype F16, BF16, F32 or F64 into dst, which
// needs room for exactly its elements. F64 is rounded to nearest; a value beyond
// the range of float32 is an error.
func (r *Reader) ReadFloat32(name string, dst []float32) error {
	return r.read(name, len(dst), "a floating type", DType.isFloat, func(at, n int, src []byte, d DType) error {
		return decodeFloats(dst[at:at+n], src, d)
	})
}

// ReadFloat64 is ReadFloat32 without rounding.
func (r *Reader) ReadFloat64(name string, dst []float64) error {
	return r.read(name, len(dst), "a floating type", DType.isFloat, func(at, n int, src []byte, d DType) error {
		return decodeFloats(dst[at:at+n], src, d)
	})
}

// ReadInt64 reads a tensor of any integer dtype or BOOL into dst, which needs
// room for exactly its elements. A U64 beyond int64 is an error.
func (r *Reader) ReadInt64(name string, dst []int64) error {
	isInt := func(d DType) bool { return !d.isFloat() }
	return r.read(name, len(dst), "an integer type", isInt, func(at, n int, src []byte, d DType) error {
		return decodeInts(dst[at:at+n], src, d)
	})
}

const chunkLen = 1 << 16

var chunks = sync.Pool{New: func() any { return new([chunkLen]byte) }}

// read hands the tensor's bytes to decode chunk by chunk: n elements that begin
// with element number at.
func (r *Reader) read(name string, length int, want string, accept func(DType) bool, decode func(at, n int, src []byte, d DType) error) error {
	e, ok := r.entries[name]
	if !ok {
		return fmt.Errorf("%s: no tensor %.80q (%s)", r.name, name, r.nearby(name))
	}
	fail := func(err error) error { return fmt.Errorf("%s: tensor %.80q: %w", e.file, name, err) }
	if !accept(e.DType) {
		return fail(fmt.Errorf("its dtype is %s, not %s", e.DType, want))
	}
	if length != e.Len() {
		return fail(fmt.Errorf("it has shape %d, %d elements; there is room for %d", e.Shape, e.Len(), length))
	}
	buf := chunks.Get().(*[chunkLen]byte)
	defer chunks.Put(buf)
	size := e.DType.size()
	for at := 0; at < length; {
		n := min(length-at, chunkLen/size)
		src := buf[:n*size]
		if err := readFullAt(e.src, src, e.begin+int64(at)*int64(size)); err != nil {
			return fail(err)
		}
		if err := decode(at, n, src, e.DType); err != nil {
			return fail(err)
		}
		at += n
	}
	return nil
}

// nearby says which names the file does have, beginning where they look alike.
func (r *Reader) nearby(name string) string {
	if len(r.names) == 0 {
		return "the file holds no tensors"
	}
	best := slices.MaxFunc(r.names, func(a, b string) int {
		return cmp.Compare(commonPrefix(a, name), commonPrefix(b, name))
	})
	return fmt.Sprintf("of %d; the most alike is %.80q", len(r.names), best)
}

func commonPrefix(a, b string) int {
	n := 0
	for n < len(a) && n < len(b) && a[n] == b[n] {
		n++
	}
	return n
}

// Close closes the files that Open opened.
func (r *Reader) Close() error {
	var err error
	for _, f := range r.files {
		err = errors.Join(err, f.Close())
	}
	r.files = nil
	return err
}
