package vec

import "unstir/nn/kernel/internal/parallel"

// PixelMean is the mean over the pixels of images [n, pixels, c]: global average pooling. Not safe for concurrent use.
type PixelMean struct {
	n                 int
	dst, src          []float32
	forward, backward func(int)
}

// NewPixelMean returns the mean over the pixels of n images of c channels.
func NewPixelMean(n, pixels, c int) *PixelMean {
	m := &PixelMean{n: n}
	inverse := 1 / float32(pixels)
	m.forward = func(i int) {
		mean, x := m.dst[i*c:(i+1)*c], m.src[i*pixels*c:(i+1)*pixels*c]
		clear(mean)
		for ; len(x) > 0; x = x[c:] {
			for k, v := range x[:c] {
				mean[k] += v
			}
		}
		for k := range mean {
			mean[k] *= inverse
		}
	}
	m.backward = func(i int) {
		dx, dy := m.dst[i*pixels*c:(i+1)*pixels*c], m.src[i*c:(i+1)*c]
		for k, v := range dy {
			dx[k] = v * inverse
		}
		for p := 1; p < pixels; p++ {
			copy(dx[p*c:], dx[:c])
		}
	}
	return m
}

// Forward sets y [n, c] to the mean over the pixels of x [n, pixels, c]: a sum in their order, times the reciprocal of
// their number.
func (m *PixelMean) Forward(y, x []float32) { m.run(m.forward, y, x) }

// Backward sets each pixel of dx [n, pixels, c] to its image's dy [n, c] times the reciprocal of their number.
func (m *PixelMean) Backward(dx, dy []float32) { m.run(m.backward, dx, dy) }

func (m *PixelMean) run(f func(int), dst, src []float32) {
	m.dst, m.src = dst, src
	parallel.For(m.n, f)
	m.dst, m.src = nil, nil
}
