// Package pyjson reads the JSON that Python writes: its json module has the words Infinity, -Infinity and NaN for
// the numbers that JSON lacks, and diffusers writes them into its configurations.
package pyjson

import (
	"bytes"
	"encoding/json"
	"math"
	"strconv"
)

// words are Python's numbers that are not JSON, the longest first where one begins another.
var words = []string{"-Infinity", "Infinity", "NaN"}

// Standard returns the text as standard JSON: each of the three words that stands outside a string becomes a string,
// "-Infinity", "Infinity" or "NaN", which Float reads. A byte order mark at the beginning is dropped. Everything
// else stays as it is, so that invalid JSON stays invalid.
func Standard(text []byte) []byte {
	text = bytes.TrimPrefix(text, []byte("\ufeff"))
	if !bytes.Contains(text, []byte("Infinity")) && !bytes.Contains(text, []byte("NaN")) {
		return text
	}
	var out []byte
	inString := false
	for i := 0; i < len(text); {
		switch c := text[i]; {
		case inString && c == '\\' && i+1 < len(text):
			out = append(out, c, text[i+1])
			i += 2
			continue
		case c == '"':
			inString = !inString
		case !inString:
			if w := wordAt(text, i); w != "" {
				out = append(out, `"`+w+`"`...)
				i += len(w)
				continue
			}
		}
		out = append(out, text[i])
		i++
	}
	return out
}

// wordAt is the word that stands alone at text[i], or "".
func wordAt(text []byte, i int) string {
	if i > 0 && inWord(text[i-1]) {
		return ""
	}
	for _, w := range words {
		if end := i + len(w); bytes.HasPrefix(text[i:], []byte(w)) && (end == len(text) || !inWord(text[end])) {
			return w
		}
	}
	return ""
}

// inWord reports whether a byte may be part of a number or a word, or is '"': a word must not follow a string at once.
func inWord(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '_' || c == '-' || c == '+' || c == '.' || c == '"' || c >= 0x80
}

// Float reads a number from what Standard returned; false if it is not one.
func Float(raw json.RawMessage) (float64, bool) {
	switch string(raw) {
	case `"Infinity"`:
		return math.Inf(1), true
	case `"-Infinity"`:
		return math.Inf(-1), true
	case `"NaN"`:
		return math.NaN(), true
	}
	if len(raw) == 0 || raw[0] != '-' && (raw[0] < '0' || raw[0] > '9') {
		return 0, false
	}
	v, err := strconv.ParseFloat(string(raw), 64)
	if err != nil && !math.IsInf(v, 0) { // 1e999 is infinite, as in Python
		return 0, false
	}
	return v, true
}
