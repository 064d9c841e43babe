// Package errortest checks, in tests, what every error about bytes from outside must be: one readable line, whatever
// the bytes were.
package errortest

import (
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"
)

// MaxLen is how long an error about a hostile file may be, in bytes: it quotes the wrong part, not the file.
const MaxLen = 2000

// OneLine fails the test where err is not one line of printable text of at most [MaxLen] bytes, or leaves out one of
// the names that it must say. Errors joined with errors.Join are several: check each.
func OneLine(tb testing.TB, err error, names ...string) {
	tb.Helper()
	s := err.Error()
	control := func(r rune) bool { return !unicode.IsPrint(r) }
	switch {
	case s == "" || len(s) > MaxLen:
		tb.Errorf("an error of %d bytes, %.100q...: it must have 1 to %d", len(s), s, MaxLen)
	case !utf8.ValidString(s) || strings.ContainsFunc(s, control):
		tb.Errorf("the error %q is not one line of printable text", s)
	}
	for _, name := range names {
		if !strings.Contains(s, name) {
			tb.Errorf("the error %q does not name %s", s, name)
		}
	}
}
