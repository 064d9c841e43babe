// Package conv is the convolution: Choose decides how each pass is computed, and Conv does it with the packages winograd and
// direct. The float64 loop that defines it is kerneltest.Convolve.
package conv
