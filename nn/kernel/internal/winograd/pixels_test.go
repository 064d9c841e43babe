package winograd

import (
	"testing"
	"unsafe"

	"unstir/nn/kernel/internal/cpu"
	"unstir/nn/kernel/internal/kerneltest"
)

// The tables of addresses are those that the plain Go transforms look up pixel by pixel.
func TestFoundPixels(t *testing.T) {
	find := of(cpu.This()).findPixels
	if find == nil {
		t.Skip("this level has no tables")
	}
	r := kerneltest.Rand(1)
	address := func(p *float32) uintptr { return uintptr(unsafe.Pointer(p)) }
	var zeros float32
	for range 1000 {
		h, w, c := 1+r.IntN(12), 1+r.IntN(12), 1+r.IntN(5)
		image, add := make([]float32, h*w*c), make([]float32, h*w*c)
		p := &tile{image: &image[0], outside: &zeros, height: 1 + r.IntN(8)}
		p.view = view{y: r.IntN(h+4) - 2, x: r.IntN(w+4) - 2, h: h, w: w, row: uintptr(4 * w * c), pixel: uintptr(4 * c)}
		if r.IntN(2) == 0 {
			p.add = &add[0]
		}
		p.call(find)
		for i := range p.height {
			for j := range 8 {
				if got, want := p.pixels[i][j], address(p.at(p.image, i, j)); got != want {
					t.Fatalf("%+v: pixel (%d, %d) is at %x, not at %x", p.view, i, j, got, want)
				}
				if p.add == nil {
					continue
				}
				if got, want := p.addPixels[i][j], address(p.at(p.add, i, j)); got != want {
					t.Fatalf("%+v: pixel (%d, %d) to add is at %x, not at %x", p.view, i, j, got, want)
				}
			}
		}
	}
}
