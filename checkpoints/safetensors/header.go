package safetensors

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"unicode/utf8"
)

// metadataKey is the header's one key that is not a tensor.
const metadataKey = "__metadata__"

// entry is a tensor and where its bytes lie.
type entry struct {
	Info
	begin, end int64 // in the data section, then (after placing) in the file
	src        io.ReaderAt
	file       string
}

// readHeader returns the checked tensors of one file, by ascending offset, and
// the file's metadata.
func readHeader(src io.ReaderAt, size int64, file string) ([]*entry, map[string]string, error) {
	if size < 8 {
		return nil, nil, fmt.Errorf("%d bytes are too few for a header's length (truncated?)", size)
	}
	var length [8]byte
	if err := readFullAt(src, length[:], 0); err != nil {
		return nil, nil, fmt.Errorf("reading the header's length: %w", err)
	}
	n := binary.LittleEndian.Uint64(length[:])
	switch {
	case n > maxHeader:
		return nil, nil, fmt.Errorf("the header's length is given as %d bytes, more than the limit of %d: not a safetensors file, or damaged", n, maxHeader)
	case int64(n) > size-8:
		return nil, nil, fmt.Errorf("the header's length is given as %d bytes, but only %d follow (truncated?)", n, size-8)
	}
	header := make([]byte, n)
	if err := readFullAt(src, header, 8); err != nil {
		return nil, nil, fmt.Errorf("reading the header: %w", err)
	}
	entries, metadata, err := parseHeader(header)
	if err != nil {
		return nil, nil, err
	}
	base := 8 + int64(n)
	if err := checkRanges(entries, size-base); err != nil {
		return nil, nil, err
	}
	for _, e := range entries {
		e.begin, e.end, e.src, e.file = base+e.begin, base+e.end, src, file
	}
	return entries, metadata, nil
}

func parseHeader(header []byte) ([]*entry, map[string]string, error) {
	if len(header) == 0 || header[0] != '{' {
		return nil, nil, errors.New("the header does not begin with '{': not a safetensors file, or damaged")
	}
	if !utf8.Valid(header) {
		return nil, nil, errors.New("the header is not valid UTF-8")
	}
	p, err := newParser(header)
	if err != nil {
		return nil, nil, fmt.Errorf("the header is not valid JSON: %w", err)
	}
	var entries []*entry
	var metadata map[string]string
	err = p.object(func(name string) (err error) {
		if name == metadataKey {
			if metadata, err = p.stringMap(); err != nil {
				return fmt.Errorf("%s: %w", metadataKey, err)
			}
			return nil
		}
		e, err := p.tensor(name)
		if err != nil {
			return fmt.Errorf("tensor %.80q: %w", name, err)
		}
		entries = append(entries, e)
		return nil
	})
	if err != nil {
		return nil, nil, err
	}
	return entries, metadata, nil
}

// tensor parses {"dtype": ..., "shape": [...], "data_offsets": [begin, end]}
// and checks that the three agree. Other keys are ignored, as the reference
// does.
func (p *parser) tensor(name string) (*entry, error) {
	e := &entry{Info: Info{Name: name}}
	var offsets []int64
	err := p.object(func(key string) (err error) {
		switch key {
		case "dtype":
			var s string
			s, err = p.string()
			e.DType = DType(s)
		case "shape":
			var dims []int64
			dims, err = p.integers()
			e.Shape = make([]int, len(dims))
			for i, d := range dims {
				if e.Shape[i] = int(d); int64(e.Shape[i]) != d {
					return fmt.Errorf("shape %d is too large", dims)
				}
			}
		case "data_offsets":
			offsets, err = p.integers()
		default:
			err = p.skip()
		}
		if err != nil {
			return fmt.Errorf("%s: %w", key, err)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	switch {
	case e.DType == "" || e.Shape == nil || offsets == nil:
		return nil, errors.New("one of dtype, shape and data_offsets is missing")
	case e.DType.size() == 0:
		return nil, fmt.Errorf("unknown dtype %.80q (known: F64, F32, F16, BF16, I64, I32, I16, I8, U64, U32, U16, U8, BOOL): save the model in one of these", e.DType)
	case len(offsets) != 2:
		return nil, fmt.Errorf("data_offsets %d are not two numbers, begin and end", offsets)
	case offsets[0] > offsets[1]:
		return nil, fmt.Errorf("data_offsets %d end before they begin", offsets)
	}
	e.begin, e.end = offsets[0], offsets[1]
	want, err := byteLen(e.DType, e.Shape)
	if err != nil {
		return nil, err
	}
	if got := e.end - e.begin; got != int64(want) {
		return nil, fmt.Errorf("data_offsets %d span %d bytes, but %s of shape %d takes %d", offsets, got, e.DType, e.Shape, want)
	}
	return e, nil
}

// byteLen returns the bytes of a tensor.
func byteLen(d DType, shape []int) (int, error) {
	n, ok := d.size(), true
	for _, dim := range shape {
		if dim < 0 {
			return 0, fmt.Errorf("shape %d has a negative dimension", shape)
		}
		if n, ok = mulSize(n, dim); !ok {
			return 0, fmt.Errorf("shape %d overflows: more bytes than can be counted", shape)
		}
	}
	return n, nil
}

// checkRanges sorts the tensors by offset and checks that they fill the data
// section exactly.
func checkRanges(entries []*entry, dataLen int64) error {
	slices.SortFunc(entries, func(a, b *entry) int {
		return cmp.Or(cmp.Compare(a.begin, b.begin), cmp.Compare(a.end, b.end))
	})
	at, last := int64(0), "the header"
	for _, e := range entries {
		switch {
		case e.end > dataLen:
			return fmt.Errorf("tensor %.80q ends at byte %d of the data, but there are only %d (truncated?)", e.Name, e.end, dataLen)
		case e.begin < at:
			return fmt.Errorf("tensor %.80q begins at byte %d of the data and overlaps %s, which ends at %d", e.Name, e.begin, last, at)
		case e.begin > at:
			return fmt.Errorf("tensor %.80q begins at byte %d of the data and leaves a hole after %s, which ends at %d", e.Name, e.begin, last, at)
		}
		at, last = e.end, fmt.Sprintf("%.80q", e.Name)
	}
	if at != dataLen {
		return fmt.Errorf("%d bytes after the last tensor belong to none", dataLen-at)
	}
	return nil
}

// readFullAt fills p from the offset, or fails.
func readFullAt(r io.ReaderAt, p []byte, off int64) error {
	n, err := r.ReadAt(p, off)
	if n == len(p) {
		return nil
	}
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}

const (
	// maxNames bounds the names in all objects of a header or an index, for
	// each of which there is some memory beside the text. A tensor has four, so
	// a file may have some 32,000.
	maxNames = 1 << 17
	// maxPairs bounds the pairs of the metadata, and those of an index.
	maxPairs = 1 << 15
	// maxDims bounds the dimensions of a tensor.
	maxDims = 64
)

// parser reads JSON token by token, because encoding/json drops what this
// package has to refuse: a name that occurs twice.
type parser struct {
	dec   *json.Decoder
	names int // so far
}

// newParser checks that text is one JSON value.
func newParser(text []byte) (*parser, error) {
	var v json.RawMessage
	if err := json.Unmarshal(text, &v); err != nil {
		return nil, err
	}
	dec := json.NewDecoder(bytes.NewReader(text))
	dec.UseNumber()
	return &parser{dec: dec}, nil
}

// object calls member once for each name, which has to read the value.
func (p *parser) object(member func(name string) error) error {
	if err := p.delim('{'); err != nil {
		return err
	}
	seen := map[string]bool{}
	for p.dec.More() {
		name, err := p.string()
		if err != nil {
			return err
		}
		if seen[name] {
			return fmt.Errorf("the name %.80q occurs twice", name)
		}
		seen[name] = true
		if p.names++; p.names > maxNames {
			return fmt.Errorf("there are more than %d names: so many tensors, or so much metadata, are not read", maxNames)
		}
		if err := member(name); err != nil {
			return err
		}
	}
	return p.delim('}')
}

func (p *parser) delim(want json.Delim) error {
	tok, err := p.dec.Token()
	if err == nil && tok != want {
		err = fmt.Errorf("found %s, want '%v'", show(tok), want)
	}
	return err
}

func (p *parser) string() (string, error) {
	tok, err := p.dec.Token()
	s, ok := tok.(string)
	if err == nil && !ok {
		err = fmt.Errorf("found %s, want a string", show(tok))
	}
	return s, err
}

// show is a token for an error.
func show(tok json.Token) string {
	if s, ok := tok.(string); ok {
		return fmt.Sprintf("%.80q", s)
	}
	return fmt.Sprintf("%.80s", fmt.Sprint(tok))
}

// integers reads an array of integers from 0 to the largest int64.
func (p *parser) integers() ([]int64, error) {
	if err := p.delim('['); err != nil {
		return nil, err
	}
	list := []int64{}
	for p.dec.More() {
		tok, err := p.dec.Token()
		if err != nil {
			return nil, err
		}
		num, ok := tok.(json.Number)
		v, err := strconv.ParseUint(string(num), 10, 63)
		if !ok || err != nil {
			return nil, fmt.Errorf("found %s, want an integer that is not negative and fits 63 bits", show(tok))
		}
		if len(list) == maxDims {
			return nil, fmt.Errorf("there are more than %d numbers", maxDims)
		}
		list = append(list, int64(v))
	}
	return list, p.delim(']')
}

func (p *parser) stringMap() (map[string]string, error) {
	m := map[string]string{}
	err := p.object(func(name string) (err error) {
		if len(m) == maxPairs {
			return fmt.Errorf("there are more than %d names", maxPairs)
		}
		m[name], err = p.string()
		return err
	})
	return m, err
}

func (p *parser) skip() error {
	var v json.RawMessage
	return p.dec.Decode(&v)
}
