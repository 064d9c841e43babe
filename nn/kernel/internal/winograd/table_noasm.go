//go:build !amd64 || noasm

package winograd

import "unstir/nn/kernel/internal/cpu"

// setOf is the transforms of level l; this build has plain Go only.
func setOf(cpu.Level) *set { return &generic }
