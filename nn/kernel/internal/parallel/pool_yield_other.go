//go:build !linux

package parallel

// osYield does nothing where the standard library has no call for it.
func osYield() {}
