// Package shape has the shape of a convolution, which all that compute it read.
package shape

import (
	"fmt"
	"strings"
)

// Conv is the shape of a two-dimensional convolution.
// A linear layer on M rows is Conv{N: M, H: 1, W: 1, C: in, K: out, R: 1, Stride: 1}.
type Conv struct {
	N, H, W, C int // input: N images of H x W pixels with C channels, NHWC
	K          int // output channels
	R          int // filter rows and columns: 1 or 3
	Stride     int // 1 or 2

	PadTop, PadLeft, PadBottom, PadRight int // rows and columns of zeros around the input

	Upsample bool // first double the input's rows and columns, each pixel repeated: nearest neighbour

	// FixedFilter is for a filter that does not change: it is packed once, in a form that may take longer to make. Calls
	// with a filter that is not packed then take longer. The results are those without it within rounding.
	FixedFilter bool
}

// String is the shape in short, such as "16x28x28x32 to 64, 3x3": the images, NHWC, the output channels and the filter. What is
// not usual follows: another padding (top, left, bottom, right) than 1 for 3x3 and 0 for 1x1, a stride, an upsampling, a fixed
// filter.
func (s Conv) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%dx%dx%dx%d to %d, %dx%d", s.N, s.H, s.W, s.C, s.K, s.R, s.R)
	usual := s.R / 2
	if s.PadTop != usual || s.PadLeft != usual || s.PadBottom != usual || s.PadRight != usual {
		fmt.Fprintf(&b, ", padding %d %d %d %d", s.PadTop, s.PadLeft, s.PadBottom, s.PadRight)
	}
	if s.Stride != 1 {
		fmt.Fprintf(&b, ", stride %d", s.Stride)
	}
	if s.Upsample {
		b.WriteString(", upsampled")
	}
	if s.FixedFilter {
		b.WriteString(", fixed filter")
	}
	return b.String()
}

// OutH is the number of output rows.
func (s Conv) OutH() int {
	if s.Upsample {
		return s.Upsampled().OutH()
	}
	return (s.H+s.PadTop+s.PadBottom-s.R)/s.Stride + 1
}

// OutW is the number of output columns.
func (s Conv) OutW() int {
	if s.Upsample {
		return s.Upsampled().OutW()
	}
	return (s.W+s.PadLeft+s.PadRight-s.R)/s.Stride + 1
}

// Upsampled is the shape of the convolution of the doubled input.
func (s Conv) Upsampled() Conv {
	s.H, s.W, s.Upsample = 2*s.H, 2*s.W, false
	return s
}

// Validate reports a shape that makes no sense.
func (s Conv) Validate() error {
	switch {
	case s.N < 1 || s.H < 1 || s.W < 1 || s.C < 1 || s.K < 1:
		return fmt.Errorf("kernel: convolution %v: N, H, W, C and K must be at least 1", s)
	case s.R != 1 && s.R != 3:
		return fmt.Errorf("kernel: convolution %v: R must be 1 or 3", s)
	case s.Stride != 1 && s.Stride != 2:
		return fmt.Errorf("kernel: convolution %v: Stride must be 1 or 2", s)
	case s.PadTop < 0 || s.PadLeft < 0 || s.PadBottom < 0 || s.PadRight < 0:
		return fmt.Errorf("kernel: convolution %v: padding must not be negative", s)
	case s.Upsample:
		return s.Upsampled().Validate()
	case s.H+s.PadTop+s.PadBottom < s.R || s.W+s.PadLeft+s.PadRight < s.R:
		return fmt.Errorf("kernel: convolution %v: the padded input is smaller than the filter", s)
	}
	return nil
}
