// Package norm is group normalization, with the time embedding's scale and shift and SiLU fused behind it, and its gradient. The
// plain loops in rows_go.go define the kernels.
package norm
