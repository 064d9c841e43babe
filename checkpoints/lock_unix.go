//go:build darwin || dragonfly || freebsd || linux || netbsd || openbsd

package checkpoints

import (
	"errors"
	"fmt"
	"os"
	"syscall"
)

// lockFile locks an open file, or returns ErrLocked. A file system that has no
// locks is left without.
func lockFile(f *os.File) error {
	err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	switch {
	case err == nil || errors.Is(err, errors.ErrUnsupported) || errors.Is(err, syscall.ENOLCK):
		return nil
	case errors.Is(err, syscall.EWOULDBLOCK):
		return ErrLocked
	}
	return fmt.Errorf("locking: %w", err)
}
