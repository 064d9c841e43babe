package errortest

import (
	"errors"
	"strings"
	"testing"
)

// recorder is a test that notes that it failed.
type recorder struct {
	testing.TB
	failed bool
}

func (r *recorder) Helper()               {}
func (r *recorder) Errorf(string, ...any) { r.failed = true }

func TestOneLine(t *testing.T) {
	for text, ok := range map[string]bool{
		"a.npy: not an .npy file": true, "a.npy: größe": true,
		"": false, "a.npy: two\nlines": false, "a.npy: \x1b[2J": false, "a.npy: \xff": false, "a.npy: \u2028": false,
		"b.npy: another file": false, "a.npy: " + strings.Repeat("x", MaxLen): false,
	} {
		r := &recorder{TB: t}
		if OneLine(r, errors.New(text), "a.npy"); r.failed == ok {
			t.Errorf("%.50q: failed %t, want %t", text, r.failed, !ok)
		}
	}
}
