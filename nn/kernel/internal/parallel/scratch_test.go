package parallel

import (
	"testing"
	"unsafe"
)

func TestScratchSizes(t *testing.T) {
	a, b := ScratchSize{Shared: 3, Own: 70, Workers: 2}, ScratchSize{Shared: 5, Own: 1, Workers: 3}
	n := a.Max(b)
	if sum := a.Plus(b); n != (ScratchSize{5, 70, 3}) || sum != (ScratchSize{8, 70, 3}) {
		t.Fatalf("%+v, %+v", n, sum)
	}
	s := NewScratch(n)
	if len(s.Shared) != 5 || len(s.Own) != 3 {
		t.Fatalf("%d floats to share, %d workers", len(s.Shared), len(s.Own))
	}
	for i, own := range s.Own {
		if len(own) != 70 || cap(own) != 70 {
			t.Fatalf("worker %d has %d floats of %d", i, len(own), cap(own))
		}
		for j := range own {
			own[j] = float32(i + 1)
		}
	}
	for i, own := range s.Own {
		if own[0] != float32(i+1) || own[69] != float32(i+1) {
			t.Fatalf("worker %d's memory is another's, too", i)
		}
	}
}

func address(x []float32) uintptr { return uintptr(unsafe.Pointer(&x[0])) }

// Workers' memory must not meet on a line of the cache, nor what is taken from the shared one.
func TestScratchIsCutIntoWholeLines(t *testing.T) {
	for own := range 40 {
		n := PerWorker(3, own).With(20).With(20)
		s := NewScratch(n)
		line := func(x []float32) uintptr { return address(x) / 64 }
		for i := range s.Own {
			x := s.Worker(i)
			if address(x)%64 != 0 || len(x) < own {
				t.Fatalf("worker %d of %d floats has %d from %#x on", i, own, len(x), address(x))
			}
			if i > 0 && own > 0 && line(s.Worker(i - 1)[own-1:]) >= line(x) {
				t.Fatalf("workers %d and %d, %d floats each, share a line", i-1, i, own)
			}
		}
		x, y := s.Take(20), s.Take(20)
		if address(x)%64 != 0 || address(y)%64 != 0 || line(x[19:]) >= line(y) {
			t.Fatalf("20 floats at %#x and 20 at %#x", address(x), address(y))
		}
	}
}
