// Package atomicfile writes files so that a reader sees the old file or the
// whole new one, also after a crash in the middle.
package atomicfile

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"

	"unstir/internal/disk"
)

const tempInfix = ".tmp-"

// Write creates or replaces the file at path by what fill writes. The bytes go
// into a temporary file in the same directory, are synced, and the file is then
// renamed; if fill or the disk fails, or fill panics, the temporary file is
// removed and what was at path stays as it was. Through a symbolic link the
// link's target is replaced. A path that is neither a regular file nor absent
// (a pipe, a terminal, /dev/null) is opened and written as it is.
func Write(path string, fill func(w io.Writer) error) error { return write(path, fill, true) }

// WriteUnsynced is Write without waiting for the disk: readers and a process that
// is killed still leave the old file or the whole new one, but after a power cut
// the new one may be missing, empty or cut until Sync has been called for it.
func WriteUnsynced(path string, fill func(w io.Writer) error) error { return write(path, fill, false) }

// Sync makes the contents of a file durable; disk.SyncDir does the same for its name.
func Sync(path string) error {
	f, err := disk.OpenFile(path, os.O_RDWR, 0) // Windows syncs only what may be written
	if err != nil {
		return err
	}
	defer f.Close()
	if err := f.Sync(); err != nil {
		return fmt.Errorf("syncing %s: %w", path, err)
	}
	return nil
}

func write(path string, fill func(w io.Writer) error, sync bool) error {
	if info, err := os.Stat(path); err == nil {
		switch {
		case info.IsDir():
			return fmt.Errorf("writing %s: it is a directory", path)
		case !info.Mode().IsRegular():
			return writeDirectly(path, fill)
		}
		if path, err = filepath.EvalSymlinks(path); err != nil {
			return err
		}
	}
	f, err := createTemp(path)
	if err != nil {
		return err
	}
	done := false
	defer func() {
		if !done {
			f.Close()
			disk.Remove(f.Name())
		}
	}()
	if err := fill(f); err != nil {
		return fmt.Errorf("writing %s: %w", path, err)
	}
	if sync {
		if err := f.Sync(); err != nil {
			return fmt.Errorf("writing %s: %w", path, err)
		}
	}
	if err := f.Close(); err != nil {
		return fmt.Errorf("writing %s: %w", path, err)
	}
	if err := disk.Rename(f.Name(), path); err != nil {
		return err
	}
	done = true
	if !sync {
		return nil
	}
	return disk.SyncDir(filepath.Dir(path))
}

func writeDirectly(path string, fill func(w io.Writer) error) error {
	f, err := disk.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	err = fill(f)
	if err2 := f.Close(); err == nil {
		err = err2
	}
	if err != nil {
		return fmt.Errorf("writing %s: %w", path, err)
	}
	return nil
}

// createTemp is os.CreateTemp beside path, but with the permissions that a file
// made in the ordinary way would have.
func createTemp(path string) (*disk.File, error) {
	dir, base := filepath.Split(path)
	for try := 0; ; try++ {
		name := filepath.Join(dir, fmt.Sprintf(".%s%s%08x", base, tempInfix, rand.Uint32()))
		f, err := disk.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o666)
		if err == nil || !errors.Is(err, os.ErrExist) || try > 100 {
			return f, err
		}
	}
}

// RemoveTemps removes what interrupted Writes left in a directory, for files whose names satisfy match. None of them
// may be being written at the time. It is no error if the directory does not exist.
func RemoveTemps(dir string, match func(name string) bool) error {
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	for _, e := range entries {
		if target, ok := tempTarget(e.Name()); !ok || !e.Type().IsRegular() || !match(target) {
			continue
		}
		if err := disk.Remove(filepath.Join(dir, e.Name())); err != nil {
			return fmt.Errorf("removing what an interrupted write left: %w", err)
		}
	}
	return nil
}

// tempTarget is the name of the file that an interrupted Write was to replace, from
// that of the temporary file that it left; false for a name of another kind.
func tempTarget(name string) (string, bool) {
	base, hidden := strings.CutPrefix(filepath.Base(name), ".")
	i := strings.LastIndex(base, tempInfix)
	if !hidden || i < 0 {
		return "", false
	}
	return base[:i], true
}
