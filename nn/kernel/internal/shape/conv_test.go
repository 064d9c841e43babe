package shape

import "testing"

func TestString(t *testing.T) {
	same := Conv{N: 16, H: 28, W: 20, C: 32, K: 64, R: 3, Stride: 1, PadTop: 1, PadLeft: 1, PadBottom: 1, PadRight: 1}
	up, down := same, same
	up.Upsample, up.FixedFilter = true, true
	down.Stride, down.PadTop, down.PadLeft = 2, 0, 0
	for _, c := range []struct {
		s    Conv
		want string
	}{
		{same, "16x28x20x32 to 64, 3x3"},
		{up, "16x28x20x32 to 64, 3x3, upsampled, fixed filter"},
		{down, "16x28x20x32 to 64, 3x3, padding 0 0 1 1, stride 2"},
		{Conv{N: 4, H: 1, W: 1, C: 32, K: 128, R: 1, Stride: 1}, "4x1x1x32 to 128, 1x1"},
		{Conv{N: 4, H: 5, W: 5, C: 32, K: 128, R: 1, Stride: 1, PadLeft: 1}, "4x5x5x32 to 128, 1x1, padding 0 1 0 0"},
	} {
		if got := c.s.String(); got != c.want {
			t.Errorf("%q, want %q", got, c.want)
		}
	}
}
