//go:build !amd64 || noasm

package cpu

// best: this build has plain Go only.
func best() Level { return Generic }

// cache: nothing is known of it.
func cache() (l2 int, streamB bool) { return 0, false }
