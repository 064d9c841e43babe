// Package attention is softmax(q k^T / sqrt(D)) v, head by head, and its gradient: matrix products for wide heads (wide.go), a
// vector of queries at a time for thin ones (lanes.go). The plain loops in rows_go.go define the kernels.
package attention
