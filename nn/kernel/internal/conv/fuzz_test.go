package conv

import (
	"errors"
	"fmt"
	"slices"
	"testing"

	"unstir/nn/kernel/internal/cpu"
	"unstir/nn/kernel/internal/kerneltest"
	"unstir/nn/kernel/internal/parallel"
	"unstir/nn/kernel/internal/shape"
)

// fuzzLimit bounds the products of a direct convolution of a fuzzed shape, for executions of a few milliseconds.
const fuzzLimit = 1 << 17

// fuzzShape makes a shape of any bytes: those of a UNet's layers in seven of eight kinds, so that each algorithm is met,
// and anything that is possible in the eighth. What would take too long gets fewer images, pixels and channels, in turn.
func fuzzShape(kind, n, h, w, c, k, pad uint8) (shape.Conv, bool) {
	s := shape.Conv{N: 1 + int(n)%4, H: 1 + int(h)%24, W: 1 + int(w)%24, C: 1 + int(c)%96, K: 1 + int(k)%96, R: 3, Stride: 1}
	limit := fuzzLimit
	same := func() { s.PadTop, s.PadLeft, s.PadBottom, s.PadRight = 1, 1, 1, 1 }
	switch kind % 8 {
	case 0:
		same()
	case 1: // pixels and channels enough for F(6x6, 3x3)
		same()
		s.N, s.H, s.W, s.C, s.K, limit = 1+int(n)%2, 9+int(h)%10, 9+int(w)%10, 33+int(c)%8, 33+int(k)%8, 16*fuzzLimit
	case 2:
		same()
		s.Upsample = true
	case 3: // stride 2, every other one as large as F(4x4, 2x2) wants it
		before := int(pad) % 2
		s.Stride, s.PadTop, s.PadLeft, s.PadBottom, s.PadRight = 2, before, before, 1, 1
		if pad&2 == 0 {
			s.N, s.H, s.W, s.C, s.K, limit = 1+int(n)%2, 13+int(h)%8, 13+int(w)%8, 32+int(c)%8, 32+int(k)%8, 16*fuzzLimit
		}
	case 4: // a linear layer or a shortcut
		s.R = 1
	case 5: // the image's own
		same()
		if s.C = 1 + int(c)%3; pad%2 == 0 {
			s.C, s.K = s.K, s.C
		}
	case 6: // few pixels, and now and then as deep as F(2x2, 3x3) wants it, which takes 50 times as long
		same()
		s.H, s.W = 2+int(h)%4, 2+int(w)%4
		if pad%16 == 6 {
			s.N, s.H, s.W, s.C, s.K, limit = 1, min(s.H, 4), min(s.W, 4), 250+int(c)%20, 250+int(k)%20, 64*fuzzLimit
		}
	case 7:
		s.R, s.Stride, s.Upsample = 1+2*(int(pad)>>6&1), 1+int(pad)>>7, pad>>5&1 == 1
		s.PadTop, s.PadLeft, s.PadBottom, s.PadRight = int(pad)&3, int(pad)>>1&3, int(pad)>>2&3, int(pad)>>3&3
	}
	s.FixedFilter = kind>>3&1 == 1
	if s.Validate() != nil {
		return s, false
	}
	for i, sides := 0, []*int{&s.N, &s.C, &s.H, &s.K, &s.W}; products(s) > limit; i++ {
		side := sides[i%len(sides)]
		*side = max(1, *side*3/4)
	}
	return s, s.Validate() == nil
}

// products is how many products the direct convolution has.
func products(s shape.Conv) int { return s.N * s.OutH() * s.OutW() * s.C * s.K * s.R * s.R }

// FuzzConv: at every level that the machine has, a convolution of any shape agrees with the float64 loop in all three
// directions; on any number of threads, with packed filters, and with fewer images, its bits are the same; and so are
// those of AVX2 and AVX-512.
func FuzzConv(f *testing.F) {
	for kind := range uint8(16) {
		f.Add(uint64(kind), kind, uint8(1), uint8(15), uint8(14), uint8(39), uint8(36), uint8(kind*41), uint8(kind), uint8(7))
	}
	f.Fuzz(func(t *testing.T, seed uint64, kind, n, h, w, c, k, pad, threads, operands uint8) {
		s, ok := fuzzShape(kind, n, h, w, c, k, pad)
		if !ok || kerneltest.RaceDetector && products(s) > 1<<14 { // which is a hundred times slower
			return
		}
		defer cpu.SetLevel(cpu.This().Level)
		defer parallel.SetThreads(parallel.Threads())
		if operands>>3&3 == 3 {
			defer directly()()
		}
		d := newConvData(kerneltest.Rand(seed), s)
		if err := d.agree(1+int(threads)%16, operands); err != nil {
			t.Errorf("%+v, seed %d, %d threads, operands %b: %v", s, seed, 1+int(threads)%16, operands, err)
		}
	})
}

// agree checks all that FuzzConv claims of a shape and its data. The three low bits of operands tell which of bias,
// temb and res there are.
func (d *convData) agree(threads int, operands uint8) error {
	given := [3][]float32{d.bias, d.temb, d.res}
	for i, x := range given {
		if operands>>i&1 == 0 {
			clear(x) // for the float64 loop
			given[i] = nil
		}
	}
	want := d.wide()
	var ofAVX2 map[string][]float32
	for l := cpu.Generic; l <= cpu.AVX512; l++ {
		if cpu.SetLevel(l) != nil {
			continue
		}
		parallel.SetThreads(1)
		if err := d.runWith(given, false); err != nil {
			return err
		}
		if err := d.checkAgainst(want); err != nil {
			return fmt.Errorf("%v: %w", l, err)
		}
		alone := d.copyResults()
		parallel.SetThreads(threads)
		for _, packed := range []bool{false, true} {
			if err := d.runWith(given, packed); err != nil {
				return err
			}
			if err := d.sameResults(alone); err != nil {
				return fmt.Errorf("%v, packed filters %t, against one thread: %w", l, packed, err)
			}
		}
		if err := d.sameWithoutTheFirst(given); err != nil {
			return fmt.Errorf("%v, without the first image: %w", l, err)
		}
		if l == cpu.AVX512 {
			if err := d.sameResults(ofAVX2); err != nil {
				return fmt.Errorf("AVX-512 against AVX2: %w", err)
			}
		}
		ofAVX2 = alone
	}
	return nil
}

// runWith is run with some of bias, temb and res, with filters that are packed once or not.
func (d *convData) runWith(given [3][]float32, packed bool) error {
	c, err := newConv(d.s)
	if err != nil {
		return err
	}
	for _, x := range d.results() {
		copy(x, kerneltest.Garbage(len(x)))
	}
	scratch := kerneltest.Scratch(c.Scratch())
	if packed {
		u := kerneltest.Garbage(c.PackedLen())
		c.Pack(u, d.w)
		copy(d.y, d.res)
		res := given[2]
		if res != nil {
			res = d.y // the result may lie where the residual did
		}
		c.ForwardPacked(d.y, d.x, u, given[0], given[1], res, scratch)
		c.BackwardData(d.dx, d.dy, d.w, scratch)
		c.BackwardWeights(d.dw, d.db, d.dtemb, d.x, d.dy, scratch)
		return nil
	}
	c.Forward(d.y, d.x, d.w, given[0], given[1], given[2], scratch)
	c.BackwardData(d.dx, d.dy, d.w, scratch)
	c.BackwardWeights(d.dw, d.db, d.dtemb, d.x, d.dy, scratch)
	return nil
}

func (d *convData) sameResults(want map[string][]float32) error {
	var errs []error
	for name, got := range d.results() {
		if err := kerneltest.SameBits(got, want[name]); err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", name, err))
		}
	}
	return errors.Join(errs...)
}

// sameWithoutTheFirst checks that the other images' results are the same when the first one is not there.
func (d *convData) sameWithoutTheFirst(given [3][]float32) error {
	if d.s.N == 1 {
		return nil
	}
	s, n := d.s, d.s.N
	s.N--
	c, err := newConv(s)
	if err != nil {
		return err
	}
	rest := func(x []float32) []float32 { return x[len(x)/n:] }
	for i, x := range given {
		if x != nil && i > 0 {
			given[i] = rest(x)
		}
	}
	y, dx, scratch := kerneltest.Garbage(len(rest(d.y))), kerneltest.Garbage(len(rest(d.dx))), kerneltest.Scratch(c.Scratch())
	c.Forward(y, rest(d.x), d.w, given[0], given[1], given[2], scratch)
	c.BackwardData(dx, rest(d.dy), d.w, scratch)
	return errors.Join(kerneltest.SameBits(y, rest(d.y)), kerneltest.SameBits(dx, rest(d.dx)))
}

// The seeds of FuzzConv and its kinds meet every algorithm that there is.
func TestFuzzedShapesMeetEveryAlgorithm(t *testing.T) {
	if cpu.This().Direct {
		t.Skip("direct convolutions only")
	}
	r, met := kerneltest.Rand(1), map[string]bool{}
	b := func() uint8 { return uint8(r.Uint32()) }
	for range 2000 {
		s, ok := fuzzShape(b(), b(), b(), b(), b(), b(), b())
		if !ok {
			continue
		}
		for _, pass := range []Pass{Forward, BackwardData, WeightGradient} {
			met[pass.String()+": "+Choose(s, pass, 2, machine()).String()] = true
		}
	}
	for _, want := range []string{
		"forward: winograd F(2x2,3x3), packed by panels", "forward: winograd F(4x4,3x3), packed", "forward: winograd F(4x4,3x3), packed by panels",
		"forward: winograd F(4x4,3x3), packed once", "forward: winograd F(6x6,3x3), packed by panels", "forward: winograd F(6x6,3x3), packed once",
		"forward: winograd F(4x4,2x2) by parity, packed", "forward: implicit GEMM, packed", "forward: GEMM, packed", "forward: GEMM with the taps as columns, packed",
		"forward: upsampled, winograd F(4x4,3x3), packed", "forward: upsampled, implicit GEMM, packed",
		"backward data: winograd F(4x4,3x3), packed", "backward data: winograd F(6x6,3x3), packed", "backward data: implicit GEMM, packed", "backward data: GEMM, packed",
		"weight gradient: winograd F(4x4,3x3)", "weight gradient: winograd F(6x6,3x3)", "weight gradient: winograd F(4x4,2x2) by parity",
		"weight gradient: GEMM", "weight gradient: GEMM of im2col", "weight gradient: GEMM for each tap",
	} {
		if !met[want] {
			t.Errorf("no shape was computed by: %s", want)
		}
	}
	if t.Failed() {
		names := []string{}
		for name := range met {
			names = append(names, name)
		}
		slices.Sort(names)
		t.Logf("met: %q", names)
	}
}
