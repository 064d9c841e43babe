package train

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"unstir/checkpoints"
	"unstir/internal/disk"
)

// said checks what the notes say, and how often: once each.
func said(t *testing.T, notes string, wants ...string) {
	t.Helper()
	for _, want := range wants {
		if n := strings.Count(notes, want); n != 1 {
			t.Errorf("%q is said %d times, want once:\n%s", want, n, notes)
		}
	}
}

// The end of a run waits for the disk while it has patience.
func TestTheLastCheckpointIsTriedAgain(t *testing.T) {
	s := diskSetup(t, 3)
	want := undisturbed(t, s)
	s.Patience = time.Second
	var notes bytes.Buffer
	var on atomic.Bool
	s.Notes = writerFunc(func(p []byte) (int, error) {
		on.Store(on.Load() && !bytes.Contains(p, []byte("trying again"))) // somebody reads it and makes room
		return notes.Write(p)
	})
	s.OnStep = func(p Progress) { on.Store(p.Step == 3) }
	full(t, &on)
	tr, err := New(s)
	sameEnd(t, want, mustRun(t, tr, err))
	said(t, notes.String(), "no space left on device; trying again for 1s\n", "checkpoint "+tr.Saved())
}

// Where the patience ends, the error says why, and Saved is the newest checkpoint. Going on from it leads to the same
// end, with a log in which no line is missing.
func TestTheLastCheckpointThatCannotBeWritten(t *testing.T) {
	for _, stopAt := range []int{0, 3} {
		s := diskSetup(t, 4)
		s.Checkpoint.Every = 2
		want := undisturbed(t, s)
		var on atomic.Bool
		s.OnStep = func(p Progress) { on.Store(p.Step >= 3) }
		s.StopAt = stopAt
		full(t, &on)
		tr, err := New(s)
		if err != nil {
			t.Fatal(err)
		}
		err = tr.Run(context.Background())
		if !errors.Is(err, syscall.ENOSPC) || filepath.Base(tr.Saved()) != "step-00000002" {
			t.Errorf("error %v with %q saved", err, tr.Saved())
		}
		on.Store(false)
		s.OnStep, s.StopAt = nil, 0
		again, err := Resume(context.Background(), s, Auto)
		sameEnd(t, want, mustRun(t, again, err))
	}
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }

// A run whose directory, or a part of it, is removed while it is at work makes it again, says so, and saves at once;
// the log has all its lines.
func TestARunSurvivesTheRemovalOfItsDirectory(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("open files cannot be removed here")
	}
	for _, part := range []string{"", logName, filepath.Base(checkpoints.Dir("")), previewDir} {
		s := diskSetup(t, 6)
		s.Checkpoint.Every, s.Preview.Every, s.Preview.Images = 3, 2, 2
		want := undisturbed(t, s)
		var notes bytes.Buffer
		s.Notes = &notes
		var newest string
		s.OnStep = func(p Progress) {
			switch p.Step {
			case 5:
				if err := os.RemoveAll(filepath.Join(s.Dir, part)); err != nil {
					t.Fatal(err)
				}
			case 6:
				newest, _, _ = checkpoints.Latest(context.Background(), s.Dir)
			}
		}
		tr, err := New(s)
		mustRun(t, tr, err)
		if part == "" || part == logName {
			said(t, notes.String(), filepath.Join(s.Dir, part)+" was removed or replaced during the run: it was made again")
			if filepath.Base(newest) != "step-00000005" {
				t.Errorf("%q removed after step 5: the checkpoint after it is %q", part, newest)
			}
		}
		if part == "" || part == previewDir { // earlier previews are gone
			for _, name := range []string{"step-00000002.png", "step-00000004.png"} {
				os.Remove(filepath.Join(want.Dir, previewDir, name))
			}
		}
		if part == "" { // and so they are for TensorBoard
			os.Remove(filepath.Join(want.Dir, eventsName))
			without := s
			without.Dir = want.Dir
			if _, err := Resume(context.Background(), without, Auto); err != nil {
				t.Fatal(err)
			}
		}
		sameEnd(t, want, tr)
		if text, err := os.ReadFile(filepath.Join(s.Dir, configName)); err != nil || !bytes.Equal(text, s.ConfigTOML) {
			t.Errorf("the configuration is %q (%v)", text, err)
		}
		if _, err := Resume(context.Background(), s, Auto); err != nil {
			t.Error(err)
		}
	}
}

// Where another run has begun in the same place, the one that was there ends and touches nothing.
func TestARunWhosePlaceIsTakenEnds(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("open files cannot be removed here")
	}
	for _, lock := range []error{nil, syscall.EWOULDBLOCK} { // the other run has ended, or is at work
		s := diskSetup(t, 6)
		other := []byte("name = \"other\"\n")
		config := filepath.Join(s.Dir, configName)
		taken := false
		disk.Inject(t, func(op disk.Op, _ string) error {
			if taken && op == disk.Lock {
				return lock
			}
			return nil
		})
		s.OnStep = func(p Progress) {
			if taken = p.Step == 4; taken {
				if err := errors.Join(os.RemoveAll(s.Dir), os.Mkdir(s.Dir, 0o755), os.WriteFile(config, other, 0o644)); err != nil {
					t.Fatal(err)
				}
			}
		}
		tr, err := New(s)
		if err != nil {
			t.Fatal(err)
		}
		err = tr.Run(context.Background())
		if err == nil || !strings.Contains(err.Error(), "there is another run in its place now") {
			t.Errorf("error %v", err)
		}
		if text := must(os.ReadFile(config)); !bytes.Equal(text, other) {
			t.Errorf("the other run's configuration is %q", text)
		}
	}
}

// A slow disk only delays a run: a stop that is requested during a save takes effect after it.
func TestAStopDuringASlowSave(t *testing.T) {
	s := diskSetup(t, 50)
	s.Checkpoint.Every = 2
	tr, err := New(s)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	slow := false
	disk.Inject(t, func(op disk.Op, path string) error {
		if op == disk.Sync && strings.HasSuffix(path, "optimizer.safetensors") && !slow {
			slow = true
			cancel()                          // Ctrl-C, while the disk
			time.Sleep(50 * time.Millisecond) // takes its time
		}
		return nil
	})
	var stopped *Stopped
	if err := tr.Run(ctx); !errors.As(err, &stopped) || stopped.Step != 2 {
		t.Errorf("error %v, want a stop at step 2", err)
	}
	if err := checkpoints.Verify(context.Background(), tr.Saved()); err != nil {
		t.Error(err)
	}
}

// A directory in which nothing can be written is an error before the first step.
func TestAReadOnlyDirectoryIsAnErrorAtTheStart(t *testing.T) {
	for _, op := range []disk.Op{disk.MakeDir, disk.Open} {
		s := diskSetup(t, 2)
		disk.Inject(t, func(o disk.Op, _ string) error {
			if o == op {
				return syscall.EROFS
			}
			return nil
		})
		_, err := New(s)
		if !errors.Is(err, syscall.EROFS) || !strings.Contains(err.Error(), s.Dir) {
			t.Errorf("error %v", err)
		}
	}
}

// On a file system without locks a run says what that means, and trains.
func TestAFileSystemWithoutLocks(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("its file systems have locks")
	}
	for _, errno := range []error{syscall.ENOLCK, syscall.EOPNOTSUPP, syscall.ENOSYS} {
		s := diskSetup(t, 2)
		var notes bytes.Buffer
		s.Notes = &notes
		disk.Inject(t, func(op disk.Op, _ string) error {
			if op == disk.Lock {
				return errno
			}
			return nil
		})
		tr, err := New(s)
		mustRun(t, tr, err)
		said(t, notes.String(), s.Dir+" is on a file system without locks: nothing keeps a second program from training there at the same time\n")
	}
}

// A file in the place of the checkpoints' directory, or of a checkpoint's, is left alone; the run goes on.
func TestAFileInTheWayOfCheckpoints(t *testing.T) {
	for _, name := range []string{checkpoints.Dir(""), checkpoints.StepDir("", 2)} {
		s := diskSetup(t, 3)
		want := undisturbed(t, s)
		var notes bytes.Buffer
		s.Notes = &notes
		path := filepath.Join(s.Dir, name)
		s.OnStep = func(p Progress) {
			var err error
			switch p.Step {
			case 2:
				err = errors.Join(os.RemoveAll(path), os.WriteFile(path, []byte("mine"), 0o644))
			case 3:
				var text []byte
				if text, err = os.ReadFile(path); string(text) != "mine" {
					t.Errorf("%s is now %q", name, text)
				}
				err = errors.Join(err, os.Remove(path))
			}
			if err != nil {
				t.Error(err)
			}
		}
		tr, err := New(s)
		sameEnd(t, want, mustRun(t, tr, err))
		said(t, notes.String(), "no checkpoint of step 2: ", "training goes on, the next try is at step 3")
	}
}

// A log with lines that cannot be read, as a power cut may leave it, does not keep a run from going on: it is set
// aside, and the new one has the lines before.
func TestACorruptLogIsSetAside(t *testing.T) {
	s := diskSetup(t, 4)
	want := undisturbed(t, s)
	s.StopAt = 2
	tr, err := New(s)
	mustRun(t, tr, err)
	path := filepath.Join(s.Dir, logName)
	corrupt := append(must(os.ReadFile(path)), "\x00\x00\x00\n{\"step\":"...)
	if err := os.WriteFile(path, corrupt, 0o644); err != nil {
		t.Fatal(err)
	}
	var notes bytes.Buffer
	s.StopAt, s.Notes = 0, &notes
	again, err := Resume(context.Background(), s, Auto)
	mustRun(t, again, err)
	said(t, notes.String(), path+":3: ", "the log is corrupt and is kept as "+path+".corrupt; the new one has the 2 lines before it\n")
	if got := must(os.ReadFile(path + ".corrupt")); !bytes.Equal(got, corrupt) {
		t.Errorf("the log that was set aside is %q", got)
	}
	os.Remove(path + ".corrupt")
	sameEnd(t, want, again)
}

// A preview that the program did not live to make is made when the run goes on, also of a run that is complete.
func TestAMissingPreviewIsMadeUp(t *testing.T) {
	for _, stopAt := range []int{2, 0} {
		s := diskSetup(t, 4)
		s.Preview.Every, s.Preview.Images, s.StopAt = 2, 2, stopAt
		s.Notes = io.Discard
		want := undisturbed(t, s)
		tr, err := New(s)
		mustRun(t, tr, err)
		path := tr.previewPath()
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
		s.StopAt = 0
		again, err := Resume(context.Background(), s, Auto)
		mustRun(t, again, err)
		if a, b := must(os.ReadFile(filepath.Join(want.Dir, previewDir, filepath.Base(path)))), must(os.ReadFile(path)); !bytes.Equal(a, b) {
			t.Error("the preview differs")
		}
	}
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}
