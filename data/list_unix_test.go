//go:build unix

package data

import (
	"net"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// A pipe would be waited for, a device never ends.
func TestPipesSocketsAndDevicesAreNamedAndNotOpened(t *testing.T) {
	root := t.TempDir()
	somePictures(t, root, 1)
	if err := syscall.Mkfifo(filepath.Join(root, "a.png"), 0o644); err != nil {
		t.Skip("no pipes here:", err)
	}
	if err := syscall.Mkfifo(filepath.Join(root, "b"), 0o644); err != nil {
		t.Fatal(err)
	}
	link(t, "/dev/zero", filepath.Join(root, "c.png"))
	t.Chdir(root) // a socket's name must be short
	l, err := net.Listen("unix", "d.jpg")
	if err != nil {
		t.Skip("no sockets here:", err)
	}
	defer l.Close()
	ds, log := openPictures(t, root)
	if want := "left out 4 files (a.png, b, c.png, and 1 more): pipes, sockets or devices\n"; ds.Info().Count != 1 || !strings.Contains(log, want) {
		t.Errorf("%d images, log %q, want 1 and %q", ds.Info().Count, log, want)
	}
	for name, kind := range map[string]string{"a.png": "a pipe", "c.png": "a device", "d.jpg": "a socket"} {
		_, err := ReadPicture(name)
		wantError(t, err, name, "found "+kind)
	}
}
