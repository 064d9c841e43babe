//go:build !amd64 || noasm

package gemm

import "unstir/nn/kernel/internal/cpu"

// Of is the micro-kernels for a machine; this build has plain Go only.
func Of(cpu.Info) *Kernels { return &generic }
