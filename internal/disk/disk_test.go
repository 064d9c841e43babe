package disk

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
)

// A fault takes the place of its operation, names it in its error, and ends with the test that has injected it.
func TestFaults(t *testing.T) {
	dir := t.TempDir()
	boom := errors.New("boom")
	path := filepath.Join(dir, "a")
	t.Run("injected", func(t *testing.T) {
		f, err := OpenFile(path, os.O_CREATE|os.O_WRONLY, 0o666)
		if err != nil {
			t.Fatal(err)
		}
		var asked []Op
		Inject(t, func(op Op, _ string) error {
			asked = append(asked, op)
			if op == Write {
				return &Short{2, boom}
			}
			return boom
		})
		_, openErr := OpenFile(filepath.Join(dir, "b"), os.O_CREATE|os.O_WRONLY, 0o666)
		n, writeErr := f.Write([]byte("abc"))
		_, tempErr := MkdirTemp(dir, "d-")
		for i, err := range []error{
			openErr, writeErr, tempErr, f.Sync(), f.Close(), Mkdir(filepath.Join(dir, "d"), 0o777), MkdirAll(filepath.Join(dir, "d"), 0o777),
			Rename(path, filepath.Join(dir, "b")), Truncate(path, 0), Remove(path), RemoveAll(path), SyncDir(dir), Check(Lock, path),
		} {
			var named *fs.PathError
			if !errors.Is(err, boom) || !errors.As(err, &named) || named.Op == "" || named.Path == "" {
				t.Errorf("operation %d: error %v", i, err)
			}
		}
		if n != 2 || len(asked) < 11 {
			t.Errorf("%d bytes were written; the fault was asked about %v", n, asked)
		}
		if err := errors.Join(MkdirAll(dir, 0o777), RemoveAll(filepath.Join(dir, "none"))); err != nil {
			t.Errorf("what does nothing to the disk failed: %v", err)
		}
	})
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != 1 {
		t.Errorf("there is %v (%v), want only a", entries, err)
	}
	if text, err := os.ReadFile(path); string(text) != "ab" {
		t.Errorf("the file has %q (%v)", text, err)
	}
	if err := RemoveAll(path); err != nil {
		t.Errorf("after the test: %v", err)
	}
}

// Free says how much room there is, or that it cannot say so.
func TestFree(t *testing.T) {
	if n, err := Free(t.TempDir()); err == nil && n <= 0 || err != nil && !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("%d bytes, error %v", n, err)
	}
}
