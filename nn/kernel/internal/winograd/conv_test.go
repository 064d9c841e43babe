package winograd

import (
	"fmt"
	"testing"

	"unstir/nn/kernel/internal/cpu"
	"unstir/nn/kernel/internal/kerneltest"
	"unstir/nn/kernel/internal/shape"
)

// familyShapes are shapes for each family, with whole tiles and smaller ones, and channels that fill no vector.
var familyShapes = map[Family][]shape.Conv{
	F2: {same3x3(2, 4, 6, 17, 33), same3x3(1, 5, 3, 32, 16)},
	F4: {same3x3(2, 8, 8, 16, 40), same3x3(1, 7, 11, 20, 33), same3x3(2, 5, 6, 33, 4)},
	F6: {same3x3(2, 12, 6, 17, 40), same3x3(1, 8, 13, 32, 12), same3x3(1, 16, 10, 12, 36)},
	Up: {up3x3(2, 4, 8, 16, 40), up3x3(1, 7, 6, 20, 33), up3x3(2, 3, 5, 33, 12)},
}

// operands are random operands of a convolution, and its results in float64.
type operands struct {
	x, w, bias, temb, res, dy []float32
	want                      *kerneltest.Convolution
}

func newOperands(seed uint64, s shape.Conv) *operands {
	r, out := kerneltest.Rand(seed), s.N*s.OutH()*s.OutW()*s.K
	o := &operands{
		x: kerneltest.Randoms(r, s.N*s.H*s.W*s.C), w: kerneltest.Randoms(r, 9*s.C*s.K), bias: kerneltest.Randoms(r, s.K),
		temb: kerneltest.Randoms(r, s.N*s.K), res: kerneltest.Randoms(r, out), dy: kerneltest.Randoms(r, out),
	}
	o.want = kerneltest.Convolve(s, o.x, o.w, o.bias, o.temb, o.res, o.dy)
	return o
}

// Each family computes all three passes, with every packing, whatever package conv would choose for the shape.
func TestFamiliesAgainstFloat64(t *testing.T) {
	const bound = 3e-5 // of the largest result
	check := func(t *testing.T, what string, got []float32, want []float64) {
		t.Helper()
		if err := kerneltest.Near(got, want, bound); err != nil {
			t.Errorf("%s: %v", what, err)
		}
	}
	kerneltest.ForLevels(t, func(t *testing.T, _ cpu.Level) {
		for f, shapes := range familyShapes {
			for i, s := range shapes {
				o, name := newOperands(uint64(i), s), fmt.Sprintf("%v of %v", f, s)
				y, dx, dw := kerneltest.Garbage(len(o.dy)), kerneltest.Garbage(len(o.x)), kerneltest.Garbage(len(o.w))
				db, dtemb := kerneltest.Garbage(s.K), kerneltest.Garbage(s.N*s.K)
				for _, streamed := range []bool{false, true} {
					g := New(s, f, false, streamed, 2, cpu.This())
					u := kerneltest.Garbage(g.PackedLen())
					g.Pack(u, o.w)
					g.Run(y, o.x, u, o.bias, o.temb, o.res, kerneltest.Scratch(g.Scratch()))
					check(t, fmt.Sprintf("%s, streamed %t: y", name, streamed), y, o.want.Y)
				}
				p := NewPanels(New(s, f, false, false, 2, cpu.This()))
				p.Run(y, o.x, o.w, o.bias, o.temb, o.res, kerneltest.Scratch(p.Scratch()))
				check(t, name+", by panels: y", y, o.want.Y)
				g := New(s, f, true, false, 2, cpu.This())
				u := kerneltest.Garbage(g.PackedLen())
				g.Pack(u, o.w)
				g.Run(dx, o.dy, u, nil, nil, nil, kerneltest.Scratch(g.Scratch()))
				check(t, name+": dx", dx, o.want.DX)
				w := NewWeights(s, f, 2, cpu.This())
				w.Run(dw, db, dtemb, o.x, o.dy, kerneltest.Scratch(w.Scratch()))
				check(t, name+": dw", dw, o.want.DW)
				check(t, name+": db", db, o.want.DB)
				check(t, name+": dtemb", dtemb, o.want.DTemb)
			}
		}
	})
}

// BenchmarkFamilies reports effective GFLOP/s, those of the convolution's definition, of each family for one shape: package
// conv's benchmark is of the one that is chosen.
func BenchmarkFamilies(b *testing.B) {
	for _, f := range []Family{F2, F4, F6, Up} {
		s := same3x3(8, 16, 16, 64, 64)
		s.Upsample = f == Up
		r := kerneltest.Rand(1)
		x, filter := kerneltest.Randoms(r, s.N*s.H*s.W*s.C), kerneltest.Randoms(r, 9*s.C*s.K)
		dy, dw := kerneltest.Randoms(r, s.N*s.OutH()*s.OutW()*s.K), make([]float32, len(filter))
		g, w := New(s, f, false, false, 1, cpu.This()), NewWeights(s, f, 1, cpu.This())
		u, scratch := make([]float32, g.PackedLen()), kerneltest.Scratch(g.Scratch().Max(w.Scratch()))
		for _, call := range []struct {
			name string
			f    func()
		}{
			{"forward", func() { g.Run(dy, x, u, nil, nil, nil, scratch) }},
			{"pack", func() { g.Pack(u, filter) }},
			{"weights", func() { w.Run(dw, nil, nil, x, dy, scratch) }},
		} {
			b.Run(f.String()+"/"+call.name, func(b *testing.B) {
				g.Pack(u, filter)
				for b.Loop() {
					call.f()
				}
				if call.name != "pack" {
					kerneltest.ReportGFLOPS(b, 2*float64(len(dy)*9*s.C))
				}
			})
		}
	}
}
