// Package alloctest bounds, in tests, the memory that one call allocates: a parser must not believe the size that a
// hostile file claims.
//
// What is measured is the total of bytes allocated, not what is live at once: it only goes up, no collection hides
// a large allocation, one huge make counts whole even where its pages are never touched, and reading it costs a few
// microseconds without stopping the world, so a fuzz target may measure every execution. A total is never less than
// the largest amount live, so the bound holds for that too. Small objects are counted in spans of 8 KiB and more,
// and other goroutines of the process count as well: both are far below the 64 MiB that every call may have. Fuzz
// targets run one input at a time and after the package's other tests.
package alloctest

import (
	"runtime/metrics"
	"testing"
)

// The bound of a parser: Base bytes, and PerByte for each byte of its input.
const (
	Base    = 64 << 20
	PerByte = 8
)

// Limit is how many bytes a parser of an input of that many bytes may allocate.
func Limit(input int) uint64 { return Base + PerByte*uint64(input) }

// Parse runs f, which parses an input of that many bytes, and fails the test where it allocated more than
// [Limit](input).
func Parse(tb testing.TB, input int, f func()) {
	tb.Helper()
	Within(tb, Limit(input), f)
}

// Within runs f and fails the test where it allocated more than limit bytes in all. It is for calls whose limit is
// not [Limit]: those whose input, once validated, really has the size that it declares.
func Within(tb testing.TB, limit uint64, f func()) {
	tb.Helper()
	before := total()
	f()
	if n := total() - before; n > limit {
		tb.Errorf("the call allocated %d bytes: it must not allocate more than %d", n, limit)
	}
}

// total is how many bytes the process has allocated on the heap since it began.
func total() uint64 {
	sample := [1]metrics.Sample{{Name: "/gc/heap/allocs:bytes"}}
	metrics.Read(sample[:])
	return sample[0].Value.Uint64()
}
