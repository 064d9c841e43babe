package leaktest

import (
	"runtime"
	"testing"
	"time"
)

// recorder is a test that notes its errors instead of failing.
type recorder struct {
	testing.TB
	failed bool
}

func (r *recorder) Helper()               {}
func (r *recorder) Errorf(string, ...any) { r.failed = true }

// A goroutine that is ending is waited for; one that stays is an error.
func TestGoroutines(t *testing.T) {
	before := runtime.NumGoroutine()
	stop := make(chan struct{})
	go func() { <-stop }()
	r := &recorder{TB: t}
	if Goroutines(r, before); !r.failed {
		t.Error("a goroutine that stays is not found")
	}
	time.AfterFunc(20*time.Millisecond, func() { close(stop) })
	Goroutines(t, before)
}
