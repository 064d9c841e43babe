package conv

import (
	"testing"

	"unstir/nn/kernel/internal/cpu"
	"unstir/nn/kernel/internal/shape"
)

// Behind an upsampling, convolutions take F(4x4, 2x2) where that has fewer products, and make the large image elsewhere.
func TestUpsampledConvTakesFewerProducts(t *testing.T) {
	if cpu.Direct() {
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
