// Package vec has what is done element by element, sums of squares and inner products in float64, and the loss. The plain
// loops in kernels_go.go define the kernels, and with them the exponential of every kernel.
package vec
