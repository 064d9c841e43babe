//go:build !amd64 || noasm

package cpu

// best: this build has plain Go only.
func best() Level { return Generic }

// cache: nothing is known of it.
func cache() int { return 0 }
