package kernel

import "testing"

// Behind an upsampling, convolutions take F(4x4, 2x2) where that has fewer products, and make the large image elsewhere.
func TestUpsampledConvTakesFewerProducts(t *testing.T) {
	if directOnly.Load() {
		t.Skip("no Winograd")
	}
	for _, c := range []struct {
		s    ConvShape
		suit bool
	}{
		{up3x3(1, 8, 8, 128, 128), true},
		{up3x3(1, 16, 16, 256, 256), true},
		{up3x3(1, 14, 14, 64, 64), true},
		{up3x3(1, 4, 4, 256, 256), false}, // few pixels
		{up3x3(1, 16, 16, 8, 64), false},  // few channels
		{ConvShape{1, 16, 16, 32, 32, 3, 2, 1, 1, 1, 1, true, false}, false},
	} {
		conv, err := NewConv(c.s)
		if err != nil {
			t.Fatal(err)
		}
		if suit := conv.large == nil; suit != c.suit {
			t.Errorf("%+v: by F(4x4, 2x2): %v, want %v", c.s, suit, c.suit)
		}
	}
}
