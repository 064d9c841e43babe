// Package inner computes inner products of float64 rows, many with many. Each is one sum of fused multiply-adds in the
// order of the columns, at every level and on every machine, so that it has the same bits wherever it is computed, and the
// product of a row with itself those of its square.
package inner
