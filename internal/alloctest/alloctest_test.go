package alloctest

import (
	"fmt"
	"testing"
)

var sink []byte

// recorder is a test that notes its errors instead of failing.
type recorder struct {
	testing.TB
	errors []string
}

func (r *recorder) Helper() {}

func (r *recorder) Errorf(format string, args ...any) {
	r.errors = append(r.errors, fmt.Sprintf(format, args...))
}

// One allocation above the limit is seen although nothing touches its pages, and so are many small ones; a call
// below the limit passes.
func TestAllocationsAboveTheLimitAreSeen(t *testing.T) {
	tests := []struct {
		name string
		call func()
		over bool
	}{
		{"nothing", func() {}, false},
		{"one below", func() { sink = make([]byte, Base/2) }, false},
		{"one above", func() { sink = make([]byte, Limit(1000)+1<<20) }, true},
		{"many above", func() {
			for range 80 << 10 {
				sink = make([]byte, 1<<10)
			}
		}, true},
	}
	for _, test := range tests {
		r := &recorder{TB: t}
		Parse(r, 1000, test.call)
		if over := len(r.errors) > 0; over != test.over {
			t.Errorf("%s: errors %q, want some: %t", test.name, r.errors, test.over)
		}
	}
	sink = nil
}

func BenchmarkParse(b *testing.B) {
	for range b.N {
		Parse(b, 0, func() {})
	}
}
