//go:build !amd64 || noasm

package vec

import "unstir/nn/kernel/internal/cpu"

// Of is the functions for a machine; this build has plain Go only.
func Of(cpu.Info) *Kernels { return &generic }
