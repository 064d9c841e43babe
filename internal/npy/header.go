package npy

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
)

// maxHeader limits what a file can make us read as its header; NumPy's own
// headers are a few hundred bytes at most.
const maxHeader = 1 << 16

// maxDims is NumPy's own limit on an array's dimensions.
const maxDims = 64

type header struct {
	descr string
	shape []int
}

func readHeader(r io.Reader) (header, error) {
	var start [len(magic) + 2]byte
	if _, err := io.ReadFull(r, start[:]); err != nil || string(start[:len(magic)]) != magic {
		return header{}, errors.New("not an .npy file: it does not begin with \\x93NUMPY")
	}
	major, minor := start[len(magic)], start[len(magic)+1]
	size := 2
	switch {
	case major == 2 && minor == 0:
		size = 4
	case major != 1 || minor != 0:
		return header{}, fmt.Errorf(".npy version %d.%d is not read, only 1.0 and 2.0", major, minor)
	}
	var length [4]byte
	if _, err := io.ReadFull(r, length[:size]); err != nil {
		return header{}, errors.New("the file ends in its header (truncated?)")
	}
	n := binary.LittleEndian.Uint32(length[:])
	if n > maxHeader {
		return header{}, fmt.Errorf("the header's length is given as %d bytes, more than the limit of %d", n, maxHeader)
	}
	text := make([]byte, n)
	if _, err := io.ReadFull(r, text); err != nil {
		return header{}, errors.New("the file ends in its header (truncated?)")
	}
	h, err := parseHeader(string(text))
	if err != nil {
		return header{}, fmt.Errorf("header %.200q: %w", strings.TrimSpace(string(text)), err)
	}
	return h, nil
}

// parseHeader reads a Python dict with the keys descr, fortran_order and shape,
// each once.
func parseHeader(text string) (header, error) {
	p := &literal{text: text}
	var h header
	fortran := false
	var seen []string
	p.expect('{')
	for p.err == nil && !p.accept('}') {
		key := p.str()
		p.expect(':')
		if slices.Contains(seen, key) {
			p.fail("the key %.40q occurs twice", key)
		}
		seen = append(seen, key)
		switch key {
		case "descr":
			h.descr = p.str()
		case "fortran_order":
			fortran = p.boolean()
		case "shape":
			h.shape = p.tuple()
		default:
			p.fail("unknown key %.40q", key)
		}
		if !p.accept(',') {
			p.expect('}')
			break
		}
	}
	if rest := strings.TrimSpace(p.text); p.err == nil && rest != "" {
		p.fail("%.40q follows the dict", rest)
	}
	if p.err != nil {
		return header{}, p.err
	}
	if len(seen) != 3 {
		return header{}, errors.New("one of descr, fortran_order and shape is missing")
	}
	if fortran {
		return header{}, errors.New("the array is in Fortran order: save np.ascontiguousarray(x)")
	}
	if strings.HasPrefix(h.descr, ">") {
		return header{}, fmt.Errorf("the elements %.40q are big endian: save x.astype(x.dtype.newbyteorder('<'))", h.descr)
	}
	return h, nil
}

// literal reads the few Python literals of a header. After the first error all
// that it returns is empty.
type literal struct {
	text string // what is left
	err  error
}

func (p *literal) fail(format string, args ...any) {
	if p.err == nil {
		p.err = fmt.Errorf(format, args...)
		p.text = ""
	}
}

func (p *literal) space() { p.text = strings.TrimLeft(p.text, " \t\r\n") }

func (p *literal) accept(c byte) bool {
	p.space()
	if p.text == "" || p.text[0] != c {
		return false
	}
	p.text = p.text[1:]
	return true
}

func (p *literal) expect(c byte) {
	if !p.accept(c) {
		p.fail("found %.10q, want '%c'", p.text, c)
	}
}

func (p *literal) str() string {
	quote := byte('\'')
	if !p.accept(quote) {
		if quote = '"'; !p.accept(quote) {
			p.fail("found %.10q, want a plain type or key in quotes", p.text)
			return ""
		}
	}
	s, rest, ok := strings.Cut(p.text, string(quote))
	if !ok || strings.ContainsAny(s, "\\\n") {
		p.fail("a string does not end")
		return ""
	}
	p.text = rest
	return s
}

func (p *literal) boolean() bool {
	p.space()
	for _, v := range []bool{true, false} {
		word := map[bool]string{true: "True", false: "False"}[v]
		if rest, ok := strings.CutPrefix(p.text, word); ok {
			p.text = rest
			return v
		}
	}
	p.fail("found %.10q, want True or False", p.text)
	return false
}

// tuple reads (), (n,) or (n, m, ...).
func (p *literal) tuple() []int {
	p.expect('(')
	shape := []int{}
	for p.err == nil && !p.accept(')') {
		p.space()
		end := 0
		for end < len(p.text) && p.text[end] >= '0' && p.text[end] <= '9' {
			end++
		}
		d, err := strconv.Atoi(p.text[:end])
		if err != nil {
			p.fail("found %.24q, want a dimension", p.text)
			return nil
		}
		if len(shape) == maxDims {
			p.fail("the shape has more than %d dimensions", maxDims)
			return nil
		}
		shape, p.text = append(shape, d), p.text[end:]
		if p.accept(',') {
			continue
		}
		if len(shape) == 1 {
			p.fail("shape is a number in brackets, not a tuple")
		}
		p.expect(')')
		break
	}
	return shape
}
