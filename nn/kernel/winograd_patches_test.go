package kernel

import (
	"testing"
	"unsafe"
)

// What is fetched shows in no result, so the address is tested: the first pixel of the patch that comes next.
func TestNextPatchIsFetched(t *testing.T) {
	const channels = 3
	for _, s := range []ConvShape{same3x3(2, 13, 20, channels, 16), same3x3(3, 7, 5, channels, 16), up3x3(2, 9, 6, channels, 16)} {
		is := isaOf(Generic)
		for _, f := range []*transforms{&is.wino2, &is.wino4, &is.wino6} {
			g := newPatchGrid(s.N, s.H, s.W, f)
			for _, l := range []lattice{dense(s.H, s.W), parity(s.H, s.W, 0, 1), parity(s.H, s.W, 1, 0)} {
				images := make([]float32, s.N*l.step*l.h*l.step*l.w*channels)
				first := func(p *patch, patch int) uintptr {
					at := g.place(patch)
					g.locate(p, l, at)
					image := l.view(p, images, at.image, channels)
					return uintptr(unsafe.Pointer(&image[0])) + uintptr(p.y)*p.row + uintptr(p.x)*p.pixel
				}
				var p patch
				for from := range s.N * g.perImage() {
					for to := range s.N * g.perImage() {
						want := first(&p, to)
						want -= first(&p, from)
						if g.fetchNext(&p, l, g.place(from), g.place(to)); p.next != want {
							t.Fatalf("%+v by F(%d), %+v: from patch %d to %d are %d bytes, not %d", s, f.size, l, from, to, int(want), int(p.next))
						}
					}
				}
			}
		}
	}
}

// However many threads share them, and however small blocks are, no block has more patches than it has memory for, and the
// bits are the same.
func TestBlocksOfPatchesFit(t *testing.T) {
	if directOnly.Load() {
		t.Skip("direct convolutions only")
	}
	defer SetThreads(Threads())
	defer func(old tuning) { tuned = old }(tuned)
	tuned = tuningOf(1 << 20)
	for _, s := range []ConvShape{
		fixed(same3x3(6, 11, 15, 96, 216)), fixed(same3x3(4, 16, 16, 256, 256)), // few patches of many channels
		same3x3(3, 27, 18, 33, 40), same3x3(5, 7, 7, 20, 36), up3x3(3, 8, 8, 48, 40),
	} {
		for threads := 1; threads <= 33; threads++ {
			SetThreads(threads)
			c, err := NewConv(s)
			if err != nil {
				t.Fatal(err)
			}
			for _, e := range []engine{c.forward, c.data, c.prepared} {
				g := e.(*winograd)
				g.cut(threads)
				for b := range g.blocks {
					if t0, t1 := g.cutBlock(0, g.n*g.perImage(), b, g.blocks); t1 <= t0 || t1-t0 > g.block {
						t.Errorf("%+v, %d threads: block %d of %d has patches %d to %d, at most %d", s, threads, b, g.blocks, t0, t1, g.block)
					}
				}
			}
		}
		if raceDetector {
			continue // it is a hundred times slower
		}
		var want map[string][]float32
		for _, threads := range []int{1, 4, 5, 16} {
			SetThreads(threads)
			d := newConvData(testRand(3), s)
			if err := d.run(); err != nil {
				t.Fatal(err)
			}
			if want == nil {
				want = d.copyResults()
			}
			for name, got := range d.results() {
				if err := sameBits(got, want[name]); err != nil {
					t.Errorf("%+v, %d threads: %s: %v", s, threads, name, err)
				}
			}
		}
	}
}
