//go:build darwin || linux

package disk

import (
	"errors"

	"golang.org/x/sys/unix"
)

// Free is the number of bytes that can still be written below a directory.
func Free(dir string) (int64, error) {
	var s unix.Statfs_t
	if err := unix.Statfs(dir, &s); err != nil {
		return 0, err
	}
	if s.Blocks == 0 { // a file system that does not say
		return 0, errors.ErrUnsupported
	}
	return int64(s.Bavail) * int64(s.Bsize), nil
}
