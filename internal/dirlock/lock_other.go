//go:build !(darwin || dragonfly || freebsd || linux || netbsd || openbsd || windows)

package dirlock

import "unstir/internal/disk"

// lockFile can do nothing where the standard library has no file locks: there,
// only savers in one process see each other.
func lockFile(*disk.File) error { return errNoLocks }
