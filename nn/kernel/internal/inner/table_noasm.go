//go:build !amd64 || noasm

package inner

import "unstir/nn/kernel/internal/cpu"

// of is the functions for a machine; this build has plain Go only.
func of(cpu.Info) *kernels { return &generic }
