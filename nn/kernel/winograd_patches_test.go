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
			g := newPatchGrid(s, f)
			for _, l := range []lattice{plain, {2, 0, 1}, {2, 1, 0}} {
				images := make([]float32, s.N*l.step*s.H*l.step*s.W*channels)
				first := func(p *patch, patch int) uintptr {
					n, _, _ := g.locate(p, patch)
					image := l.view(p, images, n, s.H, s.W, channels)
					return uintptr(unsafe.Pointer(&image[0])) + uintptr(p.y)*p.row + uintptr(p.x)*p.pixel
				}
				var p patch
				for from := range s.N * g.perImage() {
					for to := range s.N * g.perImage() {
						want := first(&p, to)
						want -= first(&p, from)
						if g.fetchNext(&p, from, to); p.next != want {
							t.Fatalf("%+v by F(%d), %+v: from patch %d to %d are %d bytes, not %d", s, f.size, l, from, to, int(want), int(p.next))
						}
					}
				}
			}
		}
	}
}
