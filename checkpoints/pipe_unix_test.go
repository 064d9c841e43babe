//go:build unix

package checkpoints

import (
	"os"
	"syscall"
	"testing"
	"time"
)

// A named pipe in place of a file is refused: to open one waits for whoever writes into it, without end.
func TestANamedPipeIsNotWaitedFor(t *testing.T) {
	saved := mustSave(t, t.TempDir(), 1)
	for _, name := range append([]string{fileManifest}, modelFiles...) {
		for _, dir := range []string{saved, pipeline(t)} {
			path := in(dir, name)
			old, err := os.ReadFile(path)
			if err != nil {
				continue // a pipeline has no manifest and no training
			}
			if err := os.Remove(path); err != nil {
				t.Fatal(err)
			}
			if err := syscall.Mkfifo(path, 0o666); err != nil {
				t.Skip(err)
			}
			failed := make(chan error, 1)
			go func() {
				m, err := Open(background, dir)
				if err == nil {
					m.Close()
				}
				failed <- err
			}()
			select {
			case err := <-failed:
				if name != fileIndex || dir == saved { // without an index, a pipeline is what its directories are
					wantError(t, err)
				}
			case <-time.After(20 * time.Second):
				t.Fatalf("opening waits for %s", path)
			}
			if err := os.Remove(path); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, old, 0o666); err != nil {
				t.Fatal(err)
			}
		}
	}
}
