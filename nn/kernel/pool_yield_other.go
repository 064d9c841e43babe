//go:build !linux

package kernel

// osYield does nothing where the standard library has no call for it.
func osYield() {}
