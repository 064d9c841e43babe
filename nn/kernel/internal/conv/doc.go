// Package conv is the convolution: Choose decides how each pass is computed, and Conv does it with the packages winograd and
// direct. The tests' float64 loop defines it.
package conv
