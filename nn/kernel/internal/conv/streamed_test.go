package conv

import (
	"testing"

	"unstir/nn/kernel/internal/cpu"
	"unstir/nn/kernel/internal/kerneltest"
	"unstir/nn/kernel/internal/parallel"
	"unstir/nn/kernel/internal/shape"
)

// A packed filter too large for the caches is read in an order of its own, which changes no bits: not with one block
// of tiles that threads share by panels, not with several, not with columns that fill no panel.
func TestConvOfStreamedFilter(t *testing.T) {
	defer parallel.SetThreads(parallel.Threads())
	kerneltest.ForLevels(t, func(t *testing.T, _ cpu.Level) { forMachines(t, testConvOfStreamedFilter) })
}

func testConvOfStreamedFilter(t *testing.T) {
	r := kerneltest.Rand(11)
	for _, s := range []shape.Conv{same3x3(1, 4, 4, 256, 130), same3x3(2, 13, 6, 132, 140), same3x3(3, 19, 17, 129, 132), same3x3(2, 5, 5, 500, 33), up3x3(1, 5, 8, 160, 132), same3x3(1, 3, 4, 260, 264), fixed(same3x3(2, 12, 13, 132, 140))} {
		s.FixedFilter = true
		d := newConvData(r, s)
		want := kerneltest.Garbage(len(d.y))
		for threads := 1; threads <= 4; threads++ {
			if kerneltest.RaceDetector && threads > 2 { // it is a hundred times slower
				continue
			}
			parallel.SetThreads(threads)
			c, err := newConv(s)
			if err != nil {
				t.Fatal(err)
			}
			if a := Choose(s, Forward, threads, machine()); !cpu.This().Direct && a.Packing != Streamed {
				t.Fatalf("%+v: %v", s, a)
			}
			scratch, u := kerneltest.Scratch(c.Scratch()), kerneltest.Garbage(c.PackedLen())
			if threads == 1 {
				c.Forward(want, d.x, d.w, d.bias, d.temb, d.res, scratch)
			}
			y := kerneltest.Garbage(len(d.y))
			c.Pack(u, d.w)
			c.ForwardPacked(y, d.x, u, d.bias, d.temb, d.res, scratch)
			if err := kerneltest.SameBits(y, want); err != nil {
				t.Errorf("%+v, %d threads: %v", s, threads, err)
			}
		}
	}
}
