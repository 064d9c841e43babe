package kernel

import "testing"

// A prepared filter too large for the caches is read in an order of its own, which changes no bits: not with one block
// of patches that threads share by panels, not with several, not with columns that fill no panel.
func TestConvOfFarFilter(t *testing.T) {
	defer SetThreads(Threads())
	forLevels(t, func(t *testing.T, _ Level) { forTunings(t, testConvOfFarFilter) })
}

func testConvOfFarFilter(t *testing.T) {
	r := testRand(11)
	for _, s := range []ConvShape{same3x3(1, 4, 4, 256, 130), same3x3(2, 13, 6, 132, 140), same3x3(3, 19, 17, 129, 132), same3x3(2, 5, 5, 500, 33), up3x3(1, 5, 8, 160, 132), same3x3(1, 3, 4, 260, 264), fixed(same3x3(2, 12, 13, 132, 140))} {
		d := newConvData(r, s)
		want := garbage(len(d.y))
		for threads := 1; threads <= 4; threads++ {
			if raceDetector && threads > 2 { // it is a hundred times slower
				continue
			}
			SetThreads(threads)
			c, err := NewConv(s)
			if err != nil {
				t.Fatal(err)
			}
			g, far := c.prepared.(*winograd)
			if !directOnly.Load() && (!far || !g.far || !g.comesFromFar()) {
				t.Fatalf("%+v does not count as far", s)
			}
			scratch, u := garbageScratch(c.Scratch()), garbage(c.PreparedLen())
			if threads == 1 {
				c.Forward(want, d.x, d.w, d.bias, d.temb, d.res, scratch)
			}
			y := garbage(len(d.y))
			c.Prepare(u, d.w)
			c.ForwardPrepared(y, d.x, u, d.w, d.bias, d.temb, d.res, scratch)
			if err := sameBits(y, want); err != nil {
				t.Errorf("%+v, %d threads: %v", s, threads, err)
			}
		}
	}
}
