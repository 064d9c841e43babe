// Package direct computes convolutions as matrix products, without a transform: Gather, an implicit GEMM for any shape, which
// for a 1x1 filter is a plain one; Few for at most three output channels; Outer, the gradient of a filter; and PixelSums, those
// of the bias and the time embedding. Which of them serves a shape is decided in package conv.
//
// The geometry that they share is in taps.go. The float64 loop that defines them is kerneltest.Convolve.
package direct
