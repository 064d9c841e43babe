package kernel

import "testing"

// Behind an upsampling, convolutions take F(4x4, 2x2) where that has fewer products, and make the large image elsewhere.
func TestUpsampledConvTakesFewerProducts(t *testing.T) {
	if directOnly.Load() {
		t.Skip("no Winograd")
	}
	for _, c := range []struct {
		s           ConvShape
		fixed, suit bool
	}{
		{up3x3(1, 8, 8, 128, 128), false, true},
		{up3x3(1, 16, 16, 256, 256), true, true},
		{up3x3(1, 14, 14, 64, 64), true, false},  // 16 of 14 rows, where F(6, 3) has no waste
		{up3x3(1, 4, 4, 256, 256), false, false}, // few pixels
		{up3x3(1, 16, 16, 8, 64), false, false},  // few channels
		{ConvShape{1, 16, 16, 32, 32, 3, 2, 1, 1, 1, 1, true}, false, false},
	} {
		conv, err := newConv(c.s, c.fixed)
		if err != nil {
			t.Fatal(err)
		}
		if suit := conv.large == nil; suit != c.suit {
			t.Errorf("%+v: by F(4x4, 2x2): %v, want %v", c.s, suit, c.suit)
		}
	}
}
