//go:build !amd64 || noasm

package kernel

// bestLevel: this build has plain Go only.
func bestLevel() Level { return Generic }
