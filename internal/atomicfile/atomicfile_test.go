package atomicfile

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func text(s string) func(io.Writer) error {
	return func(w io.Writer) error { _, err := io.WriteString(w, s); return err }
}

func contents(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func onlyFile(t *testing.T, dir, name string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	if len(entries) != 1 || entries[0].Name() != name {
		t.Errorf("directory holds %v, want only %s", entries, name)
	}
}

func TestWriteReplacesTheWholeFile(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "a")
	for _, s := range []string{"a longer first text", "short"} {
		if err := Write(path, text(s)); err != nil {
			t.Fatal(err)
		}
		if got := contents(t, path); got != s {
			t.Errorf("file holds %q, want %q", got, s)
		}
	}
	onlyFile(t, dir, "a")
}

func TestAFailureLeavesTheOldFile(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "a")
	if err := Write(path, text("old")); err != nil {
		t.Fatal(err)
	}
	boom := errors.New("boom")
	err := Write(path, func(w io.Writer) error {
		io.WriteString(w, "half of the n")
		return boom
	})
	if !errors.Is(err, boom) || !strings.Contains(err.Error(), path) {
		t.Errorf("error %v does not wrap the cause or name the file", err)
	}
	func() {
		defer func() { recover() }()
		Write(path, func(w io.Writer) error { panic("in the middle") })
	}()
	if got := contents(t, path); got != "old" {
		t.Errorf("file holds %q after a failed write, want the old text", got)
	}
	onlyFile(t, dir, "a")
}

func TestWriteThroughALinkKeepsTheLink(t *testing.T) {
	dir := t.TempDir()
	target, link := filepath.Join(dir, "target"), filepath.Join(dir, "link")
	if err := os.WriteFile(target, []byte("old"), 0o666); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(target, link); err != nil {
		t.Skip("no symbolic links here:", err)
	}
	if err := Write(link, text("new")); err != nil {
		t.Fatal(err)
	}
	if got := contents(t, target); got != "new" {
		t.Errorf("the target holds %q", got)
	}
	if info, err := os.Lstat(link); err != nil || info.Mode()&os.ModeSymlink == 0 {
		t.Errorf("the link became a file of its own (%v)", err)
	}
}

func TestWriteToADeviceOrDirectory(t *testing.T) {
	if err := Write(t.TempDir(), text("x")); err == nil {
		t.Error("writing over a directory worked")
	}
	if _, err := os.Stat(os.DevNull); err != nil {
		t.Skip(err)
	}
	if err := Write(os.DevNull, text("x")); err != nil {
		t.Error(err)
	}
	if info, err := os.Stat(os.DevNull); err == nil && info.Mode().IsRegular() {
		t.Error("the null device became a file")
	}
	if err := Write(filepath.Join(t.TempDir(), "no", "such", "dir"), text("x")); err == nil {
		t.Error("writing into a directory that does not exist worked")
	}
}

func TestTargetIsWhatAnInterruptedWriteWasFor(t *testing.T) {
	f, err := createTemp(filepath.Join(t.TempDir(), "00012.png"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if got, ok := tempTarget(f.Name()); !ok || got != "00012.png" {
		t.Errorf("the target of %s is %q, %v", f.Name(), got, ok)
	}
	if strings.HasSuffix(f.Name(), ".png") {
		t.Errorf("%s looks like a finished file", f.Name())
	}
	for _, name := range []string{"00012.png", ".hidden", "a.tmp-1"} {
		if got, ok := tempTarget(name); ok {
			t.Errorf("%s is taken for a temporary file of %s", name, got)
		}
	}
}

func TestWriteUnsyncedReplacesTheWholeFile(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "a")
	for _, s := range []string{"a longer first text", "short"} {
		if err := WriteUnsynced(path, text(s)); err != nil {
			t.Fatal(err)
		}
		if err := Sync(path); err != nil {
			t.Fatal(err)
		}
		if got := contents(t, path); got != s {
			t.Errorf("file holds %q, want %q", got, s)
		}
	}
	if err := WriteUnsynced(path, func(io.Writer) error { return errors.New("boom") }); err == nil || contents(t, path) != "short" {
		t.Errorf("error %v, and the file holds %q", err, contents(t, path))
	}
	onlyFile(t, dir, "a")
	if err := Sync(filepath.Join(dir, "none")); err == nil {
		t.Error("a file that is not there was synced")
	}
}
