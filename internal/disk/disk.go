// Package disk is the file system of the packages that save what must not be lost. It does what os does; with Inject,
// a test can make any operation fail.
package disk

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"syscall"
)

// File is a file that is written to.
type File struct{ f *os.File }

// OpenFile is os.OpenFile.
func OpenFile(path string, flag int, perm os.FileMode) (*File, error) {
	if err := Check(Open, path); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(path, flag, perm)
	if err != nil {
		return nil, err
	}
	return &File{f}, nil
}

// Name is the path that the file was opened by.
func (f *File) Name() string { return f.f.Name() }

// Write is os.File's: fewer bytes than given come with an error.
func (f *File) Write(p []byte) (int, error) {
	err := Check(Write, f.Name())
	if err == nil {
		return f.f.Write(p)
	}
	var short *Short
	if errors.As(err, &short) {
		n, _ := f.f.Write(p[:min(short.N, len(p))])
		return n, err
	}
	return 0, err
}

// ReadAt is os.File's.
func (f *File) ReadAt(p []byte, at int64) (int, error) { return f.f.ReadAt(p, at) }

// Fd is os.File's.
func (f *File) Fd() uintptr { return f.f.Fd() }

// Sync makes what was written durable.
func (f *File) Sync() error {
	if err := Check(Sync, f.Name()); err != nil {
		return err
	}
	return f.f.Sync()
}

// Close closes the file, whatever it returns.
func (f *File) Close() error {
	return errors.Join(Check(Close, f.Name()), f.f.Close())
}

// InPlace reports whether the path still leads to the open file. It does not if the file, or a directory above it, was
// removed or replaced.
func (f *File) InPlace() bool {
	open, err := f.f.Stat()
	if err != nil {
		return false
	}
	named, err := os.Stat(f.Name())
	if err != nil {
		return !errors.Is(err, os.ErrNotExist)
	}
	return os.SameFile(open, named)
}

// Mkdir is os.Mkdir.
func Mkdir(path string, perm os.FileMode) error {
	return do(MakeDir, path, func() error { return os.Mkdir(path, perm) })
}

// MkdirAll is os.MkdirAll. If the directory exists, no operation is counted.
func MkdirAll(path string, perm os.FileMode) error {
	if info, err := os.Stat(path); err == nil && info.IsDir() {
		return nil
	}
	return do(MakeDir, path, func() error { return os.MkdirAll(path, perm) })
}

// MkdirTemp is os.MkdirTemp.
func MkdirTemp(dir, pattern string) (path string, err error) {
	err = do(MakeDir, filepath.Join(dir, pattern), func() error { path, err = os.MkdirTemp(dir, pattern); return err })
	return path, err
}

// Rename is os.Rename.
func Rename(from, to string) error {
	return do(Move, to, func() error { return os.Rename(from, to) })
}

// Truncate is os.Truncate.
func Truncate(path string, size int64) error {
	return do(Cut, path, func() error { return os.Truncate(path, size) })
}

// Remove is os.Remove.
func Remove(path string) error {
	return do(Delete, path, func() error { return os.Remove(path) })
}

// RemoveAll is os.RemoveAll. If there is nothing at path, no operation is counted.
func RemoveAll(path string) error {
	if _, err := os.Lstat(path); errors.Is(err, os.ErrNotExist) {
		return nil
	}
	return do(Delete, path, func() error { return os.RemoveAll(path) })
}

// SyncDir makes the names in a directory durable, so that a rename survives a power cut. Where the system cannot do
// that (Windows, some network file systems) it does nothing.
func SyncDir(dir string) error {
	if runtime.GOOS == "windows" {
		return nil
	}
	if err := Check(Sync, dir); err != nil {
		return fmt.Errorf("syncing directory %s: %w", dir, err)
	}
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	if err := d.Sync(); err != nil && !errors.Is(err, syscall.EINVAL) && !errors.Is(err, errors.ErrUnsupported) {
		return fmt.Errorf("syncing directory %s: %w", dir, err)
	}
	return nil
}

// do runs an operation unless a fault replaces it.
func do(op Op, path string, f func() error) error {
	if err := Check(op, path); err != nil {
		return err
	}
	return f()
}
