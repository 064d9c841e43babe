package checkpoints

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
)

// ErrLocked says that someone else works in the directory.
var ErrLocked = errors.New("in use by another process, or by another part of this one")

// DirLock is a lock on a directory. The system releases it when the process
// ends, however it ends.
type DirLock struct {
	file *os.File
	key  string
}

// Locks of this process: for systems whose file locks do not see them, or that
// have none.
var (
	heldMu sync.Mutex
	held   = map[string]bool{}
)

// Lock takes the directory for the caller alone, or returns an error that wraps
// ErrLocked. It never waits. Save and Prune lock a run's checkpoints by
// themselves while they work; a trainer locks its run's directory for as long as
// it trains. The empty file .lock that it makes stays.
func Lock(dir string) (*DirLock, error) {
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
	f, err := os.OpenFile(filepath.Join(dir, ".lock"), os.O_CREATE|os.O_RDWR, 0o666)
	if err != nil {
		return nil, fmt.Errorf("locking %s: %w", dir, err)
	}
	if err := lockFile(f); err != nil {
		f.Close()
		return nil, fmt.Errorf("%s: %w", dir, err)
	}
	held[key] = true
	return &DirLock{f, key}, nil
}

// Unlock gives the directory back. Only the first call does anything.
func (l *DirLock) Unlock() error {
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
