package atomicfile

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"unstir/internal/disk"
)

// A write in which any operation of the disk fails leaves the old file or the new one, and no other.
func TestAnyFaultLeavesOneWholeFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a")
	for k := 0; ; k++ {
		if err := os.WriteFile(path, []byte("old"), 0o666); err != nil {
			t.Fatal(err)
		}
		n, failed := 0, disk.Op("")
		disk.Inject(t, func(op disk.Op, _ string) error {
			if n++; n != k+1 {
				return nil
			}
			failed = op
			return &disk.Short{N: 2, Err: syscall.ENOSPC}
		})
		err := Write(path, func(w io.Writer) error { _, err := io.WriteString(w, "the new one"); return err })
		disk.Inject(t, nil)
		if failed == "" {
			if k < 6 || err != nil {
				t.Errorf("%d operations, error %v", k, err)
			}
			return
		}
		if !errors.Is(err, syscall.ENOSPC) || !strings.Contains(err.Error(), filepath.Dir(path)) {
			t.Errorf("%s failed: error %v", failed, err)
		}
		if got := contents(t, path); got != "old" && !(got == "the new one" && n > k && failed == disk.Sync) {
			t.Errorf("%s failed: the file holds %q", failed, got)
		}
		onlyFile(t, filepath.Dir(path), "a")
	}
}

// Clean removes what an interrupted Write of the files that are asked for has left, and nothing else.
func TestClean(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"a", ".a.tmp-00c0ffee", ".b.tmp-00c0ffee", ".a", "a.tmp-1"} {
		if err := os.WriteFile(filepath.Join(dir, name), nil, 0o666); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Mkdir(filepath.Join(dir, ".a.tmp-dir"), 0o777); err != nil {
		t.Fatal(err)
	}
	if err := RemoveTemps(dir, func(name string) bool { return name == "a" }); err != nil {
		t.Fatal(err)
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var left []string
	for _, e := range entries {
		left = append(left, e.Name())
	}
	if want := []string{".a", ".a.tmp-dir", ".b.tmp-00c0ffee", "a", "a.tmp-1"}; !slices.Equal(left, want) {
		t.Errorf("left: %q, want %q", left, want)
	}
	if err := RemoveTemps(filepath.Join(dir, "none"), nil); err != nil {
		t.Error(err)
	}
}
