package kernel

import "testing"

// forTunings runs f once for each tuning that there is, with each way to fetch B that the active level has.
func forTunings(t *testing.T, f func(t *testing.T)) {
	t.Helper()
	defer func(old tuning) { tuned = old }(tuned)
	for _, c := range []struct {
		name   string
		l2     int
		stream bool
	}{{"1MB", 1 << 20, false}, {"1MB,stream", 1 << 20, true}, {"2MB", 2 << 20, false}} {
		if c.stream && ActiveLevel() != AVX512 { // the other levels have one way to fetch B
			continue
		}
		tuned = tuningOf(c.l2)
		tuned.streamB = c.stream
		t.Run(c.name, f)
	}
}

// A machine's tuning changes no bits.
func TestTuningChangesNoBits(t *testing.T) {
	forLevels(t, func(t *testing.T, _ Level) {
		for _, s := range []ConvShape{
			fixed(same3x3(3, 14, 14, 192, 72)), // F(6x6, 3x3) from far, if planes come first
			same3x3(9, 28, 28, 33, 40),         // blocks of it, and of its filter's gradient
			same3x3(2, 16, 16, 130, 200), same3x3(3, 10, 9, 70, 65), up3x3(2, 8, 8, 64, 72), down3x3(5, 28, 16, 130, 72, 1), fixed(down3x3(3, 32, 32, 140, 132, 0)), same3x3(2, 6, 6, 20, 3),
			same3x3(2, 4, 4, 258, 256), fixed(same3x3(2, 12, 12, 132, 140)),
			same3x3(2, 5, 5, 128, 128), // its filter's gradient goes past the caches
			{3, 16, 16, 200, 150, 1, 1, 0, 0, 0, 0, false, false},
		} {
			var want map[string][]float32
			forTunings(t, func(t *testing.T) {
				d := newConvData(testRand(5), s)
				if err := d.run(); err != nil {
					t.Fatal(err)
				}
				got := d.results()
				c, err := NewConv(s)
				if err != nil {
					t.Fatal(err)
				}
				u := garbage(c.PreparedLen())
				c.Prepare(u, d.w)
				got["prepared"] = garbage(len(d.y))
				c.ForwardPrepared(got["prepared"], d.x, u, d.w, d.bias, d.temb, d.res, garbageScratch(c.Scratch()))
				if want == nil {
					want = got
					if raceDetector { // which is a hundred times slower, and the loops of check are of one goroutine
						return
					}
					if err := d.check(); err != nil {
						t.Error(err)
					}
					return
				}
				for name := range want {
					if err := sameBits(got[name], want[name]); err != nil {
						t.Errorf("%+v, %s: %v", s, name, err)
					}
				}
			})
		}
	})
}

// A thread that transforms a small filter for itself, and one that shares it, in images of one kind of patch and of several.
func TestOwnFilters(t *testing.T) {
	if directOnly.Load() {
		t.Skip("direct convolutions only")
	}
	defer SetThreads(Threads())
	defer func(old tuning) { tuned = old }(tuned)
	forLevels(t, func(t *testing.T, _ Level) {
		for _, s := range []ConvShape{same3x3(22, 14, 14, 20, 36), same3x3(4, 30, 26, 33, 16), up3x3(12, 16, 16, 20, 16), down3x3(14, 28, 28, 33, 36, 0)} {
			d := newConvData(testRand(6), s)
			var want map[string][]float32
			for _, threads := range []int{1, 3, 2} {
				if raceDetector && (threads != 2 || s.H != 14) { // it is a hundred times slower
					continue
				}
				for _, size := range []int{0, 1 << 20} {
					SetThreads(threads)
					tuned.ownFilter = size
					c, err := NewConv(s)
					if err != nil {
						t.Fatal(err)
					}
					if _, own := c.forwardNew.(*winogradOwn); own != (size > 0 && threads > 1) {
						t.Fatalf("%+v, %d threads, at most %d floats: own filters %v", s, threads, size, own)
					}
					y, dx, scratch := garbage(len(d.y)), garbage(len(d.dx)), garbageScratch(c.Scratch())
					for range 2 {
						c.Forward(y, d.x, d.w, d.bias, d.temb, d.res, scratch)
						c.BackwardData(dx, d.dy, d.w, scratch)
					}
					got := map[string][]float32{"y": y, "dx": dx}
					if want == nil {
						want = got
					}
					for name := range want {
						if err := sameBits(got[name], want[name]); err != nil {
							t.Errorf("%+v, %d threads, at most %d floats: %s: %v", s, threads, size, name, err)
						}
					}
				}
			}
		}
	})
}
