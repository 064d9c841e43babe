//go:build darwin || dragonfly || freebsd || linux || netbsd || openbsd

package dirlock

import (
	"errors"
	"fmt"
	"syscall"

	"unstir/internal/disk"
)

// lockFile locks an open file, or returns ErrLocked, or errNoLocks.
func lockFile(f *disk.File) error {
	err := disk.Check(disk.Lock, f.Name())
	if err == nil {
		err = flock(f)
	}
	switch {
	case err == nil:
		return nil
	case errors.Is(err, errors.ErrUnsupported), errors.Is(err, syscall.ENOLCK):
		return errNoLocks
	case errors.Is(err, syscall.EWOULDBLOCK):
		return ErrLocked
	}
	return fmt.Errorf("locking: %w", err)
}

func flock(f *disk.File) error {
	for {
		if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); !errors.Is(err, syscall.EINTR) {
			return err
		}
	}
}
