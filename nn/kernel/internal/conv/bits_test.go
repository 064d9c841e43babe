package conv

import (
	"testing"

	"unstir/nn/kernel/internal/cpu"
	"unstir/nn/kernel/internal/kerneltest"
	"unstir/nn/kernel/internal/parallel"
	"unstir/nn/kernel/internal/shape"
)

func TestConvBitsDoNotDependOnThreads(t *testing.T) {
	kerneltest.ForLevels(t, func(t *testing.T, _ cpu.Level) {
		r := kerneltest.Rand(5)
		forShapes(r, convShapes(r)[:45], func(d *convData) {
			s := d.s
			var first map[string][]float32
			kerneltest.WithThreads(t, []int{1, 2, 3, 8}, func(threads int) {
				e := *d
				e.y, e.dx, e.dw, e.db, e.dtemb = kerneltest.Garbage(len(d.y)), kerneltest.Garbage(len(d.dx)), kerneltest.Garbage(len(d.dw)), kerneltest.Garbage(len(d.db)), kerneltest.Garbage(len(d.dtemb))
				if err := e.run(); err != nil {
					t.Fatal(err)
				}
				if first == nil {
					first = e.results()
				}
				for name, got := range e.results() {
					if err := kerneltest.SameBits(got, first[name]); err != nil {
						t.Errorf("%+v: %s with %d threads: %v", s, name, threads, err)
					}
				}
			})
		})
	})
}

// An image gives the same y, dx and dtemb alone and in a batch of five.
func TestConvBitsDoNotDependOnTheBatch(t *testing.T) {
	kerneltest.ForLevels(t, func(t *testing.T, _ cpu.Level) {
		r := kerneltest.Rand(6)
		shapes := convShapes(r)[:45]
		for i := range shapes {
			shapes[i].N = 5
		}
		forShapes(r, shapes, func(d *convData) {
			s := d.s
			if err := d.run(); err != nil {
				t.Fatal(err)
			}
			whole := d.results()
			s.N = 1
			for n := 0; n < 5; n++ {
				one := newConvData(r, s)
				part := func(x []float32) []float32 { return x[n*len(x)/5 : (n+1)*len(x)/5] }
				one.x, one.w, one.bias, one.temb, one.res, one.dy = part(d.x), d.w, d.bias, part(d.temb), part(d.res), part(d.dy)
				if err := one.run(); err != nil {
					t.Fatal(err)
				}
				for _, name := range []string{"y", "dx", "dtemb"} {
					if err := kerneltest.SameBits(one.results()[name], part(whole[name])); err != nil {
						t.Errorf("%+v: %s of image %d: %v", s, name, n, err)
					}
				}
			}
		})
	})
}

func TestConvPackedGivesTheSameBits(t *testing.T) {
	kerneltest.ForLevels(t, func(t *testing.T, _ cpu.Level) {
		r := kerneltest.Rand(7)
		forShapes(r, convShapes(r), func(d *convData) {
			s := d.s
			c, err := newConv(d.s)
			if err != nil {
				t.Fatal(err)
			}
			scratch := kerneltest.Scratch(c.Scratch())
			u, y := kerneltest.Garbage(c.PackedLen()), kerneltest.Garbage(len(d.y))
			c.Pack(u, d.w)
			c.ForwardPacked(y, d.x, u, d.bias, d.temb, d.res, scratch)
			c.Forward(d.y, d.x, d.w, d.bias, d.temb, d.res, scratch)
			if err := kerneltest.SameBits(y, d.y); err != nil {
				t.Errorf("%+v: %v", s, err)
			}
		})
	})
}

func TestConvPairGivesTheBitsOfTwoCalls(t *testing.T) {
	kerneltest.ForLevels(t, func(t *testing.T, _ cpu.Level) {
		r := kerneltest.Rand(8)
		for _, both := range convShapes(r) {
			first, second := both, both
			second.C = 1 + both.C/2
			a, b := newConvData(r, first), newConvData(r, second)
			c, err := newConv(first)
			if err != nil {
				t.Fatal(err)
			}
			d, err := newConv(second)
			if err != nil {
				t.Fatal(err)
			}
			scratch := kerneltest.Scratch(c.Scratch().Plus(d.Scratch()))
			for _, temb := range [][]float32{nil, a.temb} {
				c.Forward(a.y, a.x, a.w, a.bias, temb, a.res, scratch)
				d.Forward(a.y, b.x, b.w, nil, nil, a.y, scratch)
				y := kerneltest.Garbage(len(a.y))
				c.ForwardPair(d, y, a.x, b.x, a.w, b.w, a.bias, temb, a.res, scratch)
				if err := kerneltest.SameBits(y, a.y); err != nil {
					t.Errorf("%+v and %d channels: %v", first, second.C, err)
				}
			}
		}
	})
}

// AVX2 and AVX-512 give the same bits.
func TestConvBitsOfAVX2AndAVX512(t *testing.T) {
	kerneltest.NeedAVX512(t)
	defer cpu.SetLevel(cpu.This().Level)
	r := kerneltest.Rand(9)
	forShapes(r, convShapes(r), func(d *convData) {
		s := d.s
		cpu.SetLevel(cpu.AVX2)
		if err := d.run(); err != nil {
			t.Fatal(err)
		}
		old := d.copyResults()
		cpu.SetLevel(cpu.AVX512)
		if err := d.run(); err != nil {
			t.Fatal(err)
		}
		for name, got := range d.results() {
			if err := kerneltest.SameBits(got, old[name]); err != nil {
				t.Errorf("%+v: %s: %v", s, name, err)
			}
		}
	})
}

// However many threads share few tiles, the bits are the same.
func TestThreadsChangeNoBits(t *testing.T) {
	if kerneltest.RaceDetector {
		t.Skip("a hundred times slower")
	}
	defer parallel.SetThreads(parallel.Threads())
	for _, s := range []shape.Conv{
		fixed(same3x3(6, 11, 15, 96, 216)), fixed(same3x3(4, 16, 16, 256, 256)), // few tiles of many channels
		same3x3(3, 27, 18, 33, 40), same3x3(5, 7, 7, 20, 36), up3x3(3, 8, 8, 48, 40),
	} {
		var want map[string][]float32
		for _, threads := range []int{1, 4, 5, 16} {
			parallel.SetThreads(threads)
			d := newConvData(kerneltest.Rand(3), s)
			if err := d.run(); err != nil {
				t.Fatal(err)
			}
			if want == nil {
				want = d.copyResults()
			}
			for name, got := range d.results() {
				if err := kerneltest.SameBits(got, want[name]); err != nil {
					t.Errorf("%+v, %d threads: %s: %v", s, threads, name, err)
				}
			}
		}
	}
}
