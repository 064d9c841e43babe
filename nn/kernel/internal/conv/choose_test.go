package conv

import (
	"testing"

	"unstir/nn/kernel/internal/cpu"
	"unstir/nn/kernel/internal/shape"
	"unstir/nn/kernel/internal/winograd"
)

// F(2x2, 3x3) and F(6x6, 3x3) are what was chosen where the tests mean them to be.
func TestConvChoosesByTheShape(t *testing.T) {
	if cpu.This().Direct {
		t.Skip("direct convolutions only")
	}
	for _, c := range []struct {
		s                 shape.Conv
		forward, gradient winograd.Family
	}{
		{same3x3(2, 13, 9, 40, 36), winograd.F6, winograd.F6}, {same3x3(1, 14, 14, 64, 64), winograd.F6, winograd.F6}, {same3x3(1, 32, 32, 64, 64), winograd.F6, winograd.F6}, {same3x3(1, 28, 28, 32, 64), winograd.F6, winograd.F6},
		{same3x3(1, 16, 16, 128, 128), winograd.F4, winograd.F6}, {same3x3(1, 16, 16, 64, 120), winograd.F6, winograd.F6}, {same3x3(1, 32, 32, 64, 128), winograd.F6, winograd.F6}, {same3x3(1, 32, 32, 65, 128), winograd.F4, winograd.F6}, {fixed(same3x3(1, 32, 32, 65, 128)), winograd.F6, winograd.F6}, {same3x3(1, 8, 8, 64, 64), winograd.F4, winograd.F4}, {same3x3(1, 7, 7, 64, 64), winograd.F4, winograd.F4},
		{same3x3(1, 16, 16, 256, 256), winograd.F4, winograd.F6}, {same3x3(1, 28, 28, 16, 24), winograd.F4, winograd.F6}, {same3x3(1, 6, 32, 64, 64), winograd.F4, winograd.F4},
		{fixed(same3x3(1, 16, 16, 256, 256)), winograd.F6, winograd.F6}, {fixed(same3x3(1, 16, 16, 257, 256)), winograd.F4, winograd.F6}, {fixed(same3x3(1, 16, 16, 257, 260)), winograd.F4, winograd.F6}, {fixed(same3x3(1, 12, 12, 40, 48)), winograd.F6, winograd.F6},
		{same3x3(1, 12, 12, 40, 48), winograd.F4, winograd.F6}, {fixed(same3x3(1, 8, 8, 64, 64)), winograd.F4, winograd.F4}, {fixed(same3x3(1, 4, 4, 256, 512)), winograd.F2, winograd.F2},
		{same3x3(1, 4, 4, 256, 512), winograd.F2, winograd.F2}, {same3x3(1, 4, 4, 255, 512), winograd.F4, winograd.F4}, {same3x3(1, 5, 4, 256, 512), winograd.F4, winograd.F4},
	} {
		if f, gradient := Choose(c.s, Forward, 2, machine()), Choose(c.s, WeightGradient, 2, machine()); f.Method != Winograd || f.Family != c.forward || gradient.Method != Winograd || gradient.Family != c.gradient {
			t.Errorf("%+v: %v, the filter's gradient %v, want %v, %v", c.s, f, gradient, c.forward, c.gradient)
		}
	}
}

// Behind an upsampling, convolutions take F(4x4, 2x2) where that has fewer products, and make the large image elsewhere.
func TestUpsampledConvTakesFewerProducts(t *testing.T) {
	if cpu.This().Direct {
		t.Skip("no Winograd")
	}
	for _, c := range []struct {
		s    shape.Conv
		suit bool
	}{
		{up3x3(1, 8, 8, 128, 128), true},
		{up3x3(1, 16, 16, 256, 256), true},
		{up3x3(1, 14, 14, 64, 64), true},
		{up3x3(1, 4, 4, 256, 256), false}, // few pixels
		{up3x3(1, 16, 16, 8, 64), false},  // few channels
		{shapeOf(1, 16, 16, 32, 32, 3, 2, 1, 1, 1, 1, true, false), false},
	} {
		if suit := !Choose(c.s, Forward, 2, machine()).Doubled; suit != c.suit {
			t.Errorf("%+v: by F(4x4, 2x2): %v, want %v", c.s, suit, c.suit)
		}
	}
}
