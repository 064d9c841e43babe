package dirlock

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"unstir/internal/disk"
)

func TestLocks(t *testing.T) {
	dir := t.TempDir()
	l, err := Take(dir)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Take(filepath.Join(dir, "..", filepath.Base(dir))); !errors.Is(err, ErrLocked) {
		t.Errorf("locked twice: %v", err)
	}
	// The system's lock, which other processes see.
	f, err := disk.OpenFile(filepath.Join(dir, ".lock"), os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := lockFile(f); err != nil && !errors.Is(err, ErrLocked) && !errors.Is(err, errNoLocks) {
		t.Error(err)
	}
	if err := errors.Join(l.Unlock(), l.Unlock()); err != nil {
		t.Error(err)
	}
	f.Close()
	l, err = Take(dir)
	if err != nil {
		t.Fatal(err)
	}
	l.Unlock()
	if _, err := Take(filepath.Join(dir, "none")); err == nil {
		t.Error("a directory that does not exist was locked")
	}
}

// A lock knows whether its directory was removed, and whether other processes see it.
func TestALockThatGuardsNothing(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "run")
	if err := os.Mkdir(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	l, err := Take(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Unlock()
	if !l.InPlace() {
		t.Error("a new lock is not in its place")
	}
	if err := os.RemoveAll(dir); err != nil {
		t.Skip("locked files cannot be removed here:", err)
	}
	if l.InPlace() {
		t.Error("the lock's file was removed, and it is in its place")
	}
	if err := errors.Join(os.Mkdir(dir, 0o777), os.WriteFile(filepath.Join(dir, ".lock"), nil, 0o666)); err != nil {
		t.Fatal(err)
	}
	if l.InPlace() {
		t.Error("there is another file in its place")
	}
}
