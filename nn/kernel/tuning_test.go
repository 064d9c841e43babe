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
			same3x3(2, 16, 16, 130, 200), same3x3(3, 10, 9, 70, 65), up3x3(2, 8, 8, 64, 72), down3x3(5, 28, 16, 130, 72, 1), same3x3(2, 6, 6, 20, 3),
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
