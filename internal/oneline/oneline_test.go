package oneline

import (
	"errors"
	"io/fs"
	"strings"
	"testing"

	"unstir/internal/errortest"
)

func TestErrorIsOneLine(t *testing.T) {
	if Error(nil) != nil {
		t.Error("no error became one")
	}
	for msg, want := range map[string]string{
		`a.json: "x": größe is not a key`: `a.json: "x": größe is not a key`,
		"a\nb\tc\x1b[2J\u2028\x00":        `a\nb\tc\x1b[2J\u2028\x00`,
		"bad \xff byte":                   "bad \uFFFD byte",
	} {
		err := Error(errors.New(msg))
		if err.Error() != want {
			t.Errorf("%q became %q, want %q", msg, err, want)
		}
		errortest.OneLine(t, err)
	}
	long := Error(errors.New("begin " + strings.Repeat("ö\n", 5000) + " end"))
	errortest.OneLine(t, long, "begin ", " ... ", " end")
}

func TestErrorWrapsItsCause(t *testing.T) {
	plain := errors.Join(fs.ErrNotExist)
	if Error(plain) != plain {
		t.Error("an error of one line was wrapped")
	}
	if err := Error(errors.Join(errors.New("two"), fs.ErrNotExist)); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("%v is no longer fs.ErrNotExist", err)
	}
}
