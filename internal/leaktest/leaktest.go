// Package leaktest counts goroutines in tests of what must not leave any behind.
package leaktest

import (
	"runtime"
	"testing"
	"time"
)

// Goroutines fails the test unless the process comes down to at most want goroutines, a number that was taken before
// by [runtime.NumGoroutine]. It waits a moment for those that are ending.
func Goroutines(tb testing.TB, want int) {
	tb.Helper()
	n := runtime.NumGoroutine()
	for range 200 {
		if n <= want {
			return
		}
		time.Sleep(10 * time.Millisecond)
		n = runtime.NumGoroutine()
	}
	tb.Errorf("%d goroutines afterwards, %d before", n, want)
}
