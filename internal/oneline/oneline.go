// Package oneline makes errors that quote bytes from outside readable in a terminal or a log: one line of printable
// text.
package oneline

import (
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// maxLen is how long a message may be, in bytes; of a longer one, the beginning and the end are kept.
const maxLen = 1600

// Error is err with a message of one line: what is not printable is escaped as in Go, and the middle of a message
// that is too long is left out. It wraps err. An error that is one line is returned as it is, and so is nil.
func Error(err error) error {
	if err == nil {
		return nil
	}
	msg := err.Error()
	if isLine(msg) {
		return err
	}
	return &wrapped{Text(msg), err}
}

// Text is msg as Error has it.
func Text(msg string) string {
	if isLine(msg) {
		return msg
	}
	return shorten(escape(msg))
}

func isLine(s string) bool {
	return len(s) <= maxLen && utf8.ValidString(s) && !strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) })
}

// escape writes what is not printable as in a string literal of Go.
func escape(s string) string {
	var b strings.Builder
	for _, r := range strings.ToValidUTF8(s, "\uFFFD") {
		if unicode.IsPrint(r) {
			b.WriteRune(r)
			continue
		}
		quoted := strconv.QuoteRune(r)
		b.WriteString(quoted[1 : len(quoted)-1])
	}
	return b.String()
}

func shorten(s string) string {
	if len(s) <= maxLen {
		return s
	}
	const half = maxLen/2 - 10
	return strings.ToValidUTF8(s[:half], "") + " ... " + strings.ToValidUTF8(s[len(s)-half:], "")
}

type wrapped struct {
	msg string
	err error
}

func (w *wrapped) Error() string { return w.msg }
func (w *wrapped) Unwrap() error { return w.err }
