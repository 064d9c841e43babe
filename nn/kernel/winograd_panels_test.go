package kernel

import (
	"slices"
	"testing"
)

// Few patches take a way of their own, with the bits of the usual one, which prepared filters take.
func TestConvOfFewPatches(t *testing.T) {
	defer SetThreads(Threads())
	forLevels(t, func(t *testing.T, _ Level) {
		r := testRand(9)
		SetThreads(2)
		for _, s := range []ConvShape{same3x3(8, 4, 4, 64, 96), same3x3(3, 7, 5, 80, 72), same3x3(1, 8, 8, 33, 40), same3x3(2, 9, 4, 130, 64), same3x3(1, 14, 14, 64, 72), up3x3(2, 8, 8, 64, 72), same3x3(1, 4, 4, 256, 264)} {
			d := newConvData(r, s)
			c, err := NewConv(s)
			if err != nil {
				t.Fatal(err)
			}
			_, forward := c.forwardNew.(*winogradPanels)
			_, data := c.dataNew.(*winogradPanels)
			if !directOnly.Load() && !(forward && data) {
				t.Fatalf("%+v does not take the way", s)
			}
			if err := d.run(); err != nil {
				t.Fatal(err)
			}
			if err := d.check(); err != nil {
				t.Error(err)
			}
			scratch, u, y := garbageScratch(c.Scratch()), garbage(c.PreparedLen()), garbage(len(d.y))
			c.Prepare(u, d.w)
			c.ForwardPrepared(y, d.x, u, d.w, d.bias, d.temb, d.res, scratch)
			if err := sameBits(y, d.y); err != nil {
				t.Errorf("%+v: %v", s, err)
			}
		}
	})
}

// Threads that have no panel left take blocks of the others': with one panel more than whole rounds of them, each time
// others.
func TestThreadsSharePanels(t *testing.T) {
	if directOnly.Load() {
		t.Skip("direct convolutions only")
	}
	defer SetThreads(Threads())
	forLevels(t, func(t *testing.T, _ Level) {
		s := same3x3(1, 6, 48, 64, 136)
		d := newConvData(testRand(4), s)
		var want []float32
		for threads := 1; threads <= 4; threads++ {
			if raceDetector && threads != 3 { // it is a hundred times slower
				continue
			}
			SetThreads(threads)
			c, err := NewConv(s)
			if err != nil {
				t.Fatal(err)
			}
			if p, ok := c.forwardNew.(*winogradPanels); !ok || p.count < 2 || p.panels() != 5 {
				t.Fatal("not the way, or not the blocks and panels, that the test wants")
			}
			scratch := garbageScratch(c.Scratch())
			for range 5 {
				y := garbage(len(d.y))
				c.Forward(y, d.x, d.w, d.bias, d.temb, d.res, scratch)
				if want == nil {
					want = y
				}
				if err := sameBits(y, want); err != nil {
					t.Fatalf("%d threads: %v", threads, err)
				}
			}
		}
	})
}

// A thread without a panel computes another's, with that one's transformed filter.
func TestThreadTakesBlocksOfAnothersPanel(t *testing.T) {
	if directOnly.Load() {
		t.Skip("direct convolutions only")
	}
	defer SetThreads(Threads())
	SetThreads(2)
	s := same3x3(1, 6, 48, 64, 72)
	d := newConvData(testRand(4), s)
	c, err := NewConv(s)
	if err != nil {
		t.Fatal(err)
	}
	g := c.forwardNew.(*winogradPanels)
	scratch := garbageScratch(c.Scratch())
	g.run(d.y, d.x, d.w, d.bias, d.temb, d.res, scratch)
	want := slices.Clone(d.y)
	clear(d.y)
	u, _, _ := g.ownOf(0)
	for c := 0; c < g.src; c += packChannels {
		g.packSome(0, u, 1, c)
	}
	g.work[0].panel = 1
	g.work[0].block.Store(0)
	g.doPanels(1, 0)
	for i, y := range d.y {
		if k := i % s.K; k/panelWidth != 1 && y != 0 || k/panelWidth == 1 && y != want[i] {
			t.Fatalf("y[%d] of channel %d is %v, with all panels %v", i, k, y, want[i])
		}
	}
}

// The parts of a turned filter that are fetched ahead are all of a panel's rows, once each.
func TestFetchedPartsOfTurnedFilter(t *testing.T) {
	for _, n := range []int{9, 16, 36, 5 * 64, 2000} {
		g := &winogradPanels{winograd: &winograd{src: 7, dst: 75, filter: make([]float32, 9*7*75)}}
		for panel := range 3 {
			for i := range n {
				for k := range g.turnedPart(panel, i, n) {
					g.turnedPart(panel, i, n)[k]++
				}
			}
		}
		for i, x := range g.filter {
			if x != 1 {
				t.Fatalf("%d parts: float %d is fetched %v times", n, i, x)
			}
		}
	}
}
