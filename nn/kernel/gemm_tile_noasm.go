//go:build !amd64 || noasm

package kernel

// isaOf is the functions of level l; this build has plain Go only.
func isaOf(Level) *isa { return &generic }
