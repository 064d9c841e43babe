package configs

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/BurntSushi/toml"
)

const (
	// maxBytes bounds a config's text: 10,000 trained_betas fit. The library
	// copies the text for each key whose line is asked for.
	maxBytes = 1 << 18
	// maxDepth bounds how deep brackets nest; a config needs 1.
	maxDepth = 1000
	// maxDotted bounds the sum of the squares of the parts of keys that have
	// more than a table's name and their own.
	maxDotted = 1 << 16
	// maxErrors is how many wrong keys are told of at once.
	maxErrors = 20
)

// document is a TOML text that was parsed but not yet assigned.
//
// The keys are assigned here and not by the library, which ignores the case of
// a key, reports one wrong type at a time, and in terms of Go.
type document struct {
	text  string
	lines []string // of text, split when first needed
	meta  toml.MetaData
	top   map[string]toml.Primitive
}

func parseTOML(text string) (d *document, err error) {
	defer func() { // the parser panics where it finds a bug in itself
		if r := recover(); r != nil {
			d, err = nil, fmt.Errorf("cannot be understood as TOML (%v)", r)
		}
	}()
	switch {
	case len(text) > maxBytes:
		return nil, fmt.Errorf("is longer than %d bytes, which is the most that a config may have", maxBytes)
	case !utf8.ValidString(text):
		return nil, errors.New("is not UTF-8 text")
	case nesting(text) > maxDepth: // the parser recurses
		return nil, fmt.Errorf("has brackets that nest more than %d deep", maxDepth)
	case dotted(text) > maxDotted: // the parser's memory grows with the square
		return nil, errors.New("has dotted keys of too many parts; a config's keys have two, such as train.lr")
	}
	for _, c := range maxCount {
		if strings.Count(text, c.of) > c.most {
			return nil, fmt.Errorf("has more than %d %s: it is not a config", c.most, c.what)
		}
	}
	d = &document{text: text}
	d.meta, err = toml.Decode(text, &d.top)
	return d, err
}

// maxCount bounds what takes the parser far more memory than it has bytes: keys,
// tables and the elements of arrays. Strings and comments are counted too.
var maxCount = []struct {
	of   string
	most int
	what string
}{{"=", 1 << 14, "equals signs"}, {"[", 1 << 14, "brackets"}, {"{", 1 << 14, "braces"}, {",", 1 << 16, "commas"}, {"\n", 1 << 14, "lines"}}

// dotted is the sum of the squares of the parts of all keys with more than two:
// an upper bound, since it counts whatever looks like a key where one may begin,
// also in strings and comments.
func dotted(text string) (sum int) {
	for i := range len(text) + 1 {
		if i > 0 && strings.IndexByte("\n\r[{,", text[i-1]) < 0 {
			continue
		}
		if n := parts(text[i:]); n > 2 {
			sum += n * n
		}
		if sum > maxDotted {
			break
		}
	}
	return sum
}

// parts counts the parts of the key at the beginning of the text, up to a number
// that is too large.
func parts(text string) int {
	n := 1
	for rest := text; n*n <= maxDotted; n++ {
		rest = strings.TrimLeft(rest, " \t")
		if rest == "" {
			break
		}
		if quote := rest[0]; quote == '"' || quote == '\'' {
			rest = rest[1:]
			for rest != "" && rest[0] != quote && rest[0] != '\n' && rest[0] != '\r' {
				if rest[0] == '\\' && quote == '"' && len(rest) > 1 {
					rest = rest[1:]
				}
				rest = rest[1:]
			}
			rest = strings.TrimPrefix(rest, string(quote))
		} else {
			rest = strings.TrimLeft(rest, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-")
		}
		rest = strings.TrimLeft(rest, " \t")
		if !strings.HasPrefix(rest, ".") {
			break
		}
		rest = rest[1:]
	}
	return n
}

// nesting is how deep brackets nest, with those in strings and comments: a
// bound from above.
func nesting(text string) int {
	depth, deepest := 0, 0
	for _, b := range []byte(text) {
		switch b {
		case '[', '{':
			depth++
			deepest = max(deepest, depth)
		case ']', '}':
			depth = max(depth-1, 0)
		}
	}
	return deepest
}

// locator is a destination that refuses every value, for the line in the error.
type locator struct{}

var errLocated = errors.New("here")

func (locator) UnmarshalTOML(any) error { return errLocated }

// line is where the value of the key of that name stands; 0 where the parser did
// not keep it, as for a table that only dotted keys mention.
func (d *document) line(name string, p toml.Primitive) int {
	var at toml.ParseError
	if !errors.As(d.meta.PrimitiveDecode(p, &locator{}), &at) {
		return 0
	}
	line := at.Position.Line
	if s, ok := d.value(p).(string); !ok || !strings.Contains(s, "\n") {
		return line
	}
	// Of a string of several lines, the parser keeps the last.
	if d.lines == nil {
		d.lines = strings.Split(d.text, "\n")
	}
	for l := min(line, len(d.lines)); l > 0; l-- {
		if strings.HasPrefix(strings.TrimLeft(d.lines[l-1], " \t"), name) {
			return l
		}
	}
	return line
}

// value is a TOML value as Go has it: string, int64, float64, bool, time.Time,
// []any or a map.
func (d *document) value(p toml.Primitive) (v any) {
	_ = d.meta.PrimitiveDecode(p, &v) // anything fits
	return v
}

// decode assigns every key of a TOML text. Wrong keys are collected.
func (c *Config) decode(text []byte) error {
	d, err := parseTOML(string(text))
	var at toml.ParseError
	switch {
	case errors.As(err, &at):
		return &Error{File: c.origin.file, Line: at.Position.Line, Key: at.LastKey, Msg: "not TOML: " + at.Message}
	case err != nil:
		return &Error{File: c.origin.file, Msg: "the file " + err.Error()}
	}

	var errs []*Error
	assign := func(table, name string, p toml.Primitive) {
		if len(errs) == maxErrors {
			return
		}
		key := toml.Key{name}.String()
		if table != "" {
			key = table + "." + key
		}
		place := place{file: c.origin.file, line: d.line(name, p)}
		fail := func(msg string) {
			errs = append(errs, &Error{File: place.file, Line: place.line, Key: key, Msg: msg})
		}
		f := findField(key)
		v := d.value(p)
		if f == nil {
			if _, ok := v.(map[string]any); ok && table == "" {
				fail(unknownTable(key))
			} else {
				fail(unknown(key))
			}
			return
		}
		if msg := assignValue(f.of(c), key, v); msg != "" {
			fail(msg)
			return
		}
		c.origin.places[key] = place
	}
	for _, name := range slices.Sorted(maps.Keys(d.top)) {
		p := d.top[name]
		if !slices.Contains(tables, name) {
			assign("", name, p)
			continue
		}
		c.origin.places[name] = place{c.origin.file, d.line(name, p)}
		if v := d.value(p); !isMap(v) {
			errs = append(errs, c.fault(name, fmt.Sprintf("%s is %s; it must be a table: [%s]", name, describe(v), name)))
			continue
		}
		var sub map[string]toml.Primitive
		if err := d.meta.PrimitiveDecode(p, &sub); err != nil {
			errs = append(errs, c.fault(name, fmt.Sprintf("%s cannot be read: %v", name, err)))
			continue
		}
		for _, name2 := range slices.Sorted(maps.Keys(sub)) {
			assign(name, name2, sub[name2])
		}
	}
	return sorted(errs)
}

func isMap(v any) bool {
	_, ok := v.(map[string]any)
	return ok
}

// override assigns each "key=value" of --set.
func (c *Config) override(sets []string) error {
	var errs []*Error
	for _, arg := range sets {
		flag := "--set " + arg
		key, text, ok := strings.Cut(arg, "=")
		key = strings.TrimSpace(key)
		fail := func(msg string) { errs = append(errs, &Error{File: flag, Key: key, Msg: msg}) }
		f := findField(key)
		switch {
		case !ok || key == "":
			fail("it must be key=value, such as train.lr=1e-4")
			continue
		case slices.Contains(tables, key):
			fail(fmt.Sprintf("%s is a table; set one of its keys, such as %s", key, firstKey(key)))
			continue
		case f == nil:
			fail(unknown(key))
			continue
		}
		v, ok := parseValue(f.of(c).Interface(), strings.TrimSpace(text))
		if !ok {
			what := shorten(strings.TrimSpace(text))
			if what == "" {
				what = "empty"
			}
			fail(fmt.Sprintf("%s is %s; it must be %s", key, what, wanted(f.of(c).Type())))
			continue
		}
		if msg := assignValue(f.of(c), key, v); msg != "" {
			fail(msg)
			continue
		}
		c.origin.places[key] = place{file: flag}
	}
	return sorted(errs)
}

func firstKey(table string) string {
	for _, f := range fields {
		if f.table == table {
			return f.key()
		}
	}
	return table
}

// parseValue reads the value of a flag, which is TOML, except that strings and
// the strings of an array need no quotes, since a shell takes them away. like
// is a value of the type that is wanted.
func parseValue(like any, text string) (any, bool) {
	if _, ok := like.(string); ok && (text == "" || text[0] != '"' && text[0] != '\'') {
		return text, utf8.ValidString(text)
	}
	if v, ok := tomlValue(text); ok {
		return v, true
	}
	if _, ok := like.([]string); !ok || !strings.HasPrefix(text, "[") || !strings.HasSuffix(text, "]") {
		return nil, false
	}
	words := strings.Split(text[1:len(text)-1], ",")
	list := make([]any, len(words))
	for i, w := range words {
		w = strings.Trim(strings.TrimSpace(w), `"'`)
		if w == "" || !utf8.ValidString(w) {
			return nil, false
		}
		list[i] = w
	}
	return list, true
}

// tomlValue reads one TOML value and nothing else.
func tomlValue(text string) (any, bool) {
	d, err := parseTOML("v = " + text)
	if err != nil || len(d.top) != 1 {
		return nil, false
	}
	p, ok := d.top["v"]
	return d.value(p), ok
}
