// Package dirlock locks directories: against other processes by a file lock, and within this one. Where there are no file
// locks, only this process sees its own.
package dirlock

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"

	"unstir/internal/disk"
)

// ErrLocked says that someone else works in the directory.
var ErrLocked = errors.New("in use by another process, or by another part of this one")

// errNoLocks says that the file system, or the operating system, does not support file locks.
var errNoLocks = errors.New("file locks are not supported here")

// Lock is a lock on a directory. The system releases it when the process
// ends, however it ends.
type Lock struct {
	file  *disk.File
	key   string
	local bool
}

// Locks of this process: for systems whose file locks do not see them, or that
// have none.
var (
	heldMu sync.Mutex
	held   = map[string]bool{}
)

// Take takes the directory for the caller alone, or returns an error that wraps
// ErrLocked. It never waits. The empty file .lock that it makes stays.
func Take(dir string) (*Lock, error) {
	key, err := filepath.Abs(dir)
	if err == nil {
		key, err = filepath.EvalSymlinks(key)
	}
	if err != nil {
		return nil, err
	}
	heldMu.Lock()
	defer heldMu.Unlock()
	if held[key] {
		return nil, fmt.Errorf("%s: %w", dir, ErrLocked)
	}
	f, err := disk.OpenFile(filepath.Join(dir, ".lock"), os.O_CREATE|os.O_RDWR, 0o666)
	if err != nil {
		return nil, fmt.Errorf("locking %s: %w", dir, err)
	}
	err = lockFile(f)
	local := errors.Is(err, errNoLocks)
	if err != nil && !local {
		f.Close()
		return nil, fmt.Errorf("%s: %w", dir, err)
	}
	held[key] = true
	return &Lock{f, key, local}, nil
}

// Local reports whether only this process sees the lock, as the file system or
// the operating system has no locks.
func (l *Lock) Local() bool { return l.local }

// InPlace reports whether the lock still guards its path: it does not if the
// directory, or the file .lock in it, was removed.
func (l *Lock) InPlace() bool {
	heldMu.Lock()
	defer heldMu.Unlock()
	return l.file != nil && l.file.InPlace()
}

// Unlock gives the directory back. Only the first call does anything.
func (l *Lock) Unlock() error {
	heldMu.Lock()
	defer heldMu.Unlock()
	if l.file == nil {
		return nil
	}
	delete(held, l.key)
	err := l.file.Close() // which releases the system's lock
	l.file = nil
	return err
}
