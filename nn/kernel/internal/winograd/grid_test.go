package winograd

import (
	"testing"
	"unsafe"

	"unstir/nn/kernel/internal/cpu"
	"unstir/nn/kernel/internal/shape"
)

// What is fetched shows in no result, so the address is tested: the first pixel of the tile that comes next.
func TestNextTileIsFetched(t *testing.T) {
	const channels = 3
	for _, s := range []shape.Conv{same3x3(2, 13, 20, channels, 16), same3x3(3, 7, 5, channels, 16), up3x3(2, 9, 6, channels, 16)} {
		for _, f := range []*transforms{&generic.f2, &generic.f4, &generic.f6} {
			g := newTileGrid(s.N, s.H, s.W, f)
			for _, l := range []lattice{dense(s.H, s.W), parity(s.H, s.W, 0, 1), parity(s.H, s.W, 1, 0)} {
				images := make([]float32, s.N*l.step*l.h*l.step*l.w*channels)
				first := func(p *tile, tile int) uintptr {
					at := g.place(tile)
					g.locate(p, l, at)
					image := l.view(p, images, at.image, channels)
					return uintptr(unsafe.Pointer(&image[0])) + uintptr(p.y)*p.row + uintptr(p.x)*p.pixel
				}
				var p tile
				for from := range s.N * g.perImage() {
					for to := range s.N * g.perImage() {
						want := first(&p, to)
						want -= first(&p, from)
						if g.fetchNext(&p, l, g.place(from), g.place(to)); p.next != want {
							t.Fatalf("%+v by F(%d), %+v: from tile %d to %d are %d bytes, not %d", s, f.whole(), l, from, to, int(want), int(p.next))
						}
					}
				}
			}
		}
	}
}

// However many threads share them, and however small blocks are, no block has more tiles than it has memory for.
func TestBlocksOfTilesFit(t *testing.T) {
	machine := cpu.This()
	machine.L2 = 1 << 20
	for _, c := range []struct {
		s shape.Conv
		f Family
	}{
		{same3x3(6, 11, 15, 96, 216), F4}, {same3x3(4, 16, 16, 256, 256), F6}, // few tiles of many channels
		{same3x3(3, 27, 18, 33, 40), F6}, {same3x3(5, 7, 7, 20, 36), F4}, {up3x3(3, 8, 8, 48, 40), Up},
	} {
		for threads := 1; threads <= 33; threads++ {
			for kind := range 4 {
				g := New(c.s, c.f, kind&1 > 0, kind&2 > 0, threads, machine)
				g.cut(threads)
				for b := range g.blocks {
					if t0, t1 := g.cutBlock(0, g.n*g.perImage(), b, g.blocks); t1 <= t0 || t1-t0 > g.block {
						t.Errorf("%+v, %d threads: block %d of %d has tiles %d to %d, at most %d", c.s, threads, b, g.blocks, t0, t1, g.block)
					}
				}
			}
		}
	}
}

func same3x3(n, h, w, c, k int) shape.Conv {
	return shape.Conv{N: n, H: h, W: w, C: c, K: k, R: 3, Stride: 1, PadTop: 1, PadLeft: 1, PadBottom: 1, PadRight: 1}
}

// up3x3 is same3x3 behind an upsampling of an image of h x w pixels.
func up3x3(n, h, w, c, k int) shape.Conv {
	s := same3x3(n, h, w, c, k)
	s.Upsample = true
	return s
}
