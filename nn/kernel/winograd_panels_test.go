package kernel

import (
	"cmp"
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
			if !directOnly.Load() && (c.forwardPanels == nil || c.dataPanels == nil) {
				t.Fatalf("%+v does not take the way", s)
			}
			if err := d.run(); err != nil {
				t.Fatal(err)
			}
			if err := d.check(); err != nil {
				t.Error(err)
			}
			scratch, u := garbage(c.Scratch()), garbage(max(c.PreparedLen(), c.PreparedDataLen()))
			y, dx := garbage(len(d.y)), garbage(len(d.dx))
			c.Prepare(u, d.w)
			c.ForwardPrepared(y, d.x, u, d.w, d.bias, d.temb, d.res, scratch)
			c.PrepareData(u, d.w)
			c.BackwardDataPrepared(dx, d.dy, u, scratch)
			if err := cmp.Or(sameBits(y, d.y), sameBits(dx, d.dx)); err != nil {
				t.Errorf("%+v: %v", s, err)
			}
		}
	})
}
