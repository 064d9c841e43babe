package dirlock

import (
	"errors"
	"fmt"

	"golang.org/x/sys/windows"

	"unstir/internal/disk"
)

// lockFile locks an open file, or returns ErrLocked.
func lockFile(f *disk.File) error {
	const flags = windows.LOCKFILE_EXCLUSIVE_LOCK | windows.LOCKFILE_FAIL_IMMEDIATELY
	err := windows.LockFileEx(windows.Handle(f.Fd()), flags, 0, 1, 0, new(windows.Overlapped))
	switch {
	case err == nil:
		return nil
	case errors.Is(err, windows.ERROR_LOCK_VIOLATION), errors.Is(err, windows.ERROR_IO_PENDING):
		return ErrLocked
	}
	return fmt.Errorf("locking: %w", err)
}
