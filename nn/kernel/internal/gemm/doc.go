// Package gemm multiplies matrices. A micro-kernel computes a micro-tile, some rows times 16 or 32 columns held in registers
// (micro.go); a Product cuts a matrix product of any size into them and fetches memory on the side (product.go); B is packed
// into panels of 32 columns (pack.go). Convolutions and attention are built of Products; Multiply is the product by itself.
//
// The plain loop in micro_go.go defines the micro-kernels, apart from the fused rounding. Each element is one sum over the
// columns of A, in order, whatever micro-tile it falls into.
package gemm
