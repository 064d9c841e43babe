package conv

import (
	"testing"

	"unstir/nn/kernel/internal/cpu"
	"unstir/nn/kernel/internal/kerneltest"
	"unstir/nn/kernel/internal/parallel"
	"unstir/nn/kernel/internal/shape"
	"unstir/nn/kernel/internal/winograd"
)

// Few tiles are packed by panels, with the bits of a filter that is packed first.
func TestConvOfFewTiles(t *testing.T) {
	defer parallel.SetThreads(parallel.Threads())
	kerneltest.ForLevels(t, func(t *testing.T, _ cpu.Level) {
		r := kerneltest.Rand(9)
		parallel.SetThreads(2)
		for _, s := range []shape.Conv{same3x3(8, 4, 4, 64, 96), same3x3(3, 7, 5, 80, 72), same3x3(1, 8, 8, 33, 40), same3x3(2, 9, 4, 130, 64), same3x3(1, 14, 14, 64, 72), up3x3(2, 8, 8, 64, 72), same3x3(1, 4, 4, 256, 264)} {
			d := newConvData(r, s)
			c, err := newConv(s)
			if err != nil {
				t.Fatal(err)
			}
			_, forward := c.newForward.(*winograd.Panels)
			_, data := c.backwardData.(*winograd.Panels)
			if !cpu.This().Direct && !(forward && data) {
				t.Fatalf("%+v is not packed by panels", s)
			}
			if err := d.run(); err != nil {
				t.Fatal(err)
			}
			if err := d.check(); err != nil {
				t.Error(err)
			}
			scratch, u, y := kerneltest.Scratch(c.Scratch()), kerneltest.Garbage(c.PackedLen()), kerneltest.Garbage(len(d.y))
			c.Pack(u, d.w)
			c.ForwardPacked(y, d.x, u, d.bias, d.temb, d.res, scratch)
			if err := kerneltest.SameBits(y, d.y); err != nil {
				t.Errorf("%+v: %v", s, err)
			}
		}
	})
}

// Threads that have no panel left take blocks of the others': with one panel more than whole rounds of them, each time
// others.
func TestThreadsSharePanels(t *testing.T) {
	if cpu.This().Direct {
		t.Skip("direct convolutions only")
	}
	defer parallel.SetThreads(parallel.Threads())
	kerneltest.ForLevels(t, func(t *testing.T, _ cpu.Level) {
		s := same3x3(1, 6, 48, 64, 136)
		d := newConvData(kerneltest.Rand(4), s)
		var want []float32
		for threads := 1; threads <= 4; threads++ {
			if kerneltest.RaceDetector && threads != 3 { // it is a hundred times slower
				continue
			}
			parallel.SetThreads(threads)
			c, err := newConv(s)
			if err != nil {
				t.Fatal(err)
			}
			if _, ok := c.newForward.(*winograd.Panels); !ok {
				t.Fatal("not packed by panels")
			}
			scratch := kerneltest.Scratch(c.Scratch())
			for range 5 {
				y := kerneltest.Garbage(len(d.y))
				c.Forward(y, d.x, d.w, d.bias, d.temb, d.res, scratch)
				if want == nil {
					want = y
				}
				if err := kerneltest.SameBits(y, want); err != nil {
					t.Fatalf("%d threads: %v", threads, err)
				}
			}
		}
	})
}
