package kernel

import (
	"math"
	"slices"
	"testing"
)

// Patches that are transformed once for all blocks give the bits of those that each block transforms for itself.
func TestSharedPatches(t *testing.T) {
	if directOnly.Load() {
		t.Skip("direct convolutions only")
	}
	defer SetThreads(Threads())
	defer func(old tuning) { tuned = old }(tuned)
	forLevels(t, func(t *testing.T, _ Level) {
		for _, c := range []struct {
			s     ConvShape
			taken bool
		}{
			{same3x3(40, 8, 8, 130, 100), true},  // more patches than a product has
			{same3x3(9, 14, 18, 130, 100), true}, // blocks of patches of different sizes
			{same3x3(8, 15, 13, 200, 40), true},
			{same3x3(19, 7, 7, 130, 100), true},
			{same3x3(1, 14, 18, 130, 100), false}, // few patches
			{up3x3(2, 16, 16, 130, 100), false},
			{same3x3(30, 14, 14, 32, 64), false}, // images in pieces
		} {
			var want map[string][]float32
			for threads := 1; threads <= 3; threads++ {
				if raceDetector && (threads != 2 || c.s.N != 8) { // it is a hundred times slower
					continue
				}
				for _, shared := range []bool{false, true} {
					SetThreads(threads)
					tuned = tuningOf(2 << 20)
					tuned.sharedFilter = math.MaxInt
					if shared {
						tuned.sharedFilter = 1
					}
					d := newConvData(testRand(3), c.s)
					plan, err := NewConv(c.s)
					if err != nil {
						t.Fatal(err)
					}
					if taken := plan.winograd.shared != nil; taken != (shared && c.taken) {
						t.Fatalf("%+v, patches shared: %v", c.s, taken)
					}
					plan.BackwardWeights(d.dw, d.db, d.dtemb, d.x, d.dy, garbageScratch(plan.Scratch()))
					got := map[string][]float32{"dw": d.dw, "db": d.db, "dtemb": d.dtemb}
					if want == nil {
						want = got
					}
					for name := range want {
						if err := sameBits(got[name], want[name]); err != nil {
							t.Errorf("%+v, %d threads, shared %v: %s: %v", c.s, threads, shared, name, err)
						}
					}
				}
			}
		}
	})
}

// A chunk leaves the patches that others of its block are still to read as they are, also where it has a last group of
// channels that is no multiple of sixteen.
func TestSharedPatchesStay(t *testing.T) {
	if directOnly.Load() {
		t.Skip("direct convolutions only")
	}
	defer SetThreads(Threads())
	defer func(old tuning) { tuned = old }(tuned)
	SetThreads(3) // so that there is more than one group
	tuned = tuningOf(2 << 20)
	tuned.sharedFilter = 1
	s := same3x3(8, 15, 13, 200, 40)
	plan, err := NewConv(s)
	if err != nil {
		t.Fatal(err)
	}
	g := plan.winograd
	if g.shared == nil || g.groups < 2 {
		t.Fatalf("%+v: patches shared: %v, groups: %d", s, g.shared != nil, g.groups)
	}
	d := newConvData(testRand(3), s)
	plan.BackwardWeights(d.dw, d.db, d.dtemb, d.x, d.dy, garbageScratch(plan.Scratch()))
	v, want := slices.Clone(g.shared.v), slices.Clone(d.dw)
	for i := range g.chunks() {
		g.do(0, g.chunks()-1-i)
	}
	if err := sameBits(g.shared.v, v); err != nil {
		t.Errorf("V: %v", err)
	}
	if err := sameBits(d.dw, want); err != nil {
		t.Errorf("dw: %v", err)
	}
}
