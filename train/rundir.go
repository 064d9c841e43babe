package train

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"unstir/checkpoints"
	"unstir/internal/atomicfile"
	"unstir/internal/dirlock"
	"unstir/internal/disk"
)

// What a run's directory holds beside its checkpoints.
const (
	logName    = "log.jsonl"
	plotName   = "loss.png"
	configName = checkpoints.ConfigName
	previewDir = "previews"
)

// ErrRunExists is wrapped by New's error when the directory holds a run already.
var ErrRunExists = errors.New("the directory holds a run already")

// claim makes the directory of a new run. A directory that holds a run is never written into.
func claim(dir string) error {
	for _, path := range []string{filepath.Join(dir, logName), filepath.Join(dir, configName), filepath.Join(dir, eventsName), checkpoints.Dir(dir)} {
		_, err := os.Lstat(path)
		if err == nil {
			return fmt.Errorf("train: %w: %s has %s; go on with it by --resume auto, or give the new run another directory with --out", ErrRunExists, dir, filepath.Base(path))
		}
		if !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("train: look into the run's directory: %w", err)
		}
	}
	return nil
}

// openRun locks the run's directory, checks again under the lock what was true before, and prepares the
// configuration and the log. On an error nothing stays locked.
func (t *Trainer) openRun(check func() error) (*Trainer, error) {
	if err := t.open(check); err != nil {
		t.Close()
		return nil, err
	}
	return t, nil
}

func (t *Trainer) open(check func() error) error {
	if err := disk.MkdirAll(filepath.Join(t.Dir, previewDir), 0o755); err != nil {
		return fmt.Errorf("train: make the run's directory: %w", err)
	}
	lock, err := dirlock.Take(t.Dir)
	if err != nil {
		return fmt.Errorf("train: %s: %w", t.Dir, err)
	}
	t.lock = lock
	if err := check(); err != nil {
		return err
	}
	if err := t.removeLeftovers(); err != nil {
		t.note("leftovers of an interrupted run were not removed: %v", err)
	}
	if err := t.writeConfig(); err != nil {
		return fmt.Errorf("train: %w", err)
	}
	if t.log, err = openLog(LogFile(t.Dir), t.step, t.note); err != nil {
		return err
	}
	t.openEvents()
	t.warnAtStart()
	return nil
}

func (t *Trainer) writeConfig() error {
	err := atomicfile.Write(filepath.Join(t.Dir, configName), func(w io.Writer) error {
		_, err := w.Write(t.ConfigTOML)
		return err
	})
	if err != nil {
		return fmt.Errorf("write the configuration: %w", err)
	}
	return nil
}

// warnAtStart notes what may go wrong later.
func (t *Trainer) warnAtStart() {
	if t.lock.Local() {
		t.note("%s is on a file system without locks: nothing keeps a second program from training there at the same time", t.Dir)
	}
	if t.Discard {
		return
	}
	// A checkpoint has four numbers of four bytes for each parameter; the new one is written before an old one goes.
	need := 2 * 16 * int64(t.params.Count())
	if free, err := disk.Free(t.Dir); err == nil && free < need {
		t.note("the disk of %s has %.1f MB free, and two checkpoints take %.1f MB: saving may fail", t.Dir, float64(free)/1e6, float64(need)/1e6)
	}
}

// removeLeftovers removes the partly written files of a killed program.
func (t *Trainer) removeLeftovers() error {
	err := atomicfile.RemoveTemps(t.Dir, func(name string) bool {
		return name == configName || name == logName || name == plotName
	})
	if err != nil {
		return err
	}
	err = atomicfile.RemoveTemps(filepath.Join(t.Dir, previewDir), func(name string) bool {
		ok, _ := filepath.Match("step-*.png", name)
		return ok
	})
	if err != nil {
		return err
	}
	return checkpoints.RemoveLeftovers(t.Dir)
}

// permanentError is an error that another try cannot mend: something else is in the run's or the checkpoint's place.
type permanentError struct{ error }

// ensureDir makes sure that the run still has its directory. One that was removed is made again, with the
// configuration and the log; remade says so: the checkpoints are gone. The error is a permanentError; others are noted,
// once.
func (t *Trainer) ensureDir() (remade bool, err error) {
	if t.skipDirCheck || t.inPlace() {
		return false, nil
	}
	missing := LogFile(t.Dir)
	if !t.lock.InPlace() {
		missing = t.Dir
	}
	err = t.remake()
	var permanent permanentError
	switch {
	case errors.As(err, &permanent):
		return false, fmt.Errorf("train: %w", err)
	case err == nil:
		t.note("%s was removed or replaced during the run: it was made again, and training goes on", missing)
	case !t.dirMissing:
		t.note("%s was removed or replaced during the run and cannot be made again yet: %v; training goes on", missing, err)
	}
	t.dirMissing = err != nil
	t.skipDirCheck = err == nil && !t.inPlace() // the file system does not tell files apart
	return err == nil, nil
}

func (t *Trainer) inPlace() bool { return t.lock.InPlace() && t.log.f.InPlace() }

// remake makes the run's directory again, or what is missing of it.
func (t *Trainer) remake() error {
	if !t.lock.InPlace() {
		if err := disk.MkdirAll(filepath.Join(t.Dir, previewDir), 0o755); err != nil {
			return err
		}
		t.lock.Unlock()
		lock, err := dirlock.Take(t.Dir)
		if errors.Is(err, dirlock.ErrLocked) {
			return permanentError{fmt.Errorf("%s was removed, and there is another run in its place now: %w", t.Dir, err)}
		}
		if err != nil {
			return err
		}
		t.lock = lock
	}
	config, err := os.ReadFile(filepath.Join(t.Dir, configName))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		err = t.writeConfig()
	case err == nil && !bytes.Equal(config, t.ConfigTOML):
		return permanentError{fmt.Errorf("%s was removed, and there is another run in its place now", t.Dir)}
	}
	if err != nil {
		return err
	}
	if !t.log.f.InPlace() {
		if err := t.log.reopen(); err != nil {
			return err
		}
	}
	if !isDir(t.saved) {
		t.saved = ""
	}
	return nil
}

func isDir(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.IsDir()
}

// catchUp makes the preview of the step that the run resumes from, if the program ended between the checkpoint and
// the preview.
func (t *Trainer) catchUp(ctx context.Context) {
	every, complete := t.Preview.Every, t.step == t.Train.Steps
	if t.step == 0 {
		return
	}
	if _, err := os.Lstat(t.previewPath()); errors.Is(err, fs.ErrNotExist) && every > 0 && (t.step%every == 0 || complete) {
		t.show(ctx)
	} else if complete {
		t.plot()
	}
}
