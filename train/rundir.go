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
	"unstir/internal/disk"
)

// What a run's directory holds.
const (
	logName       = "log.jsonl"
	plotName      = "loss.png"
	configName    = "config.toml"
	previewDir    = "previews"
	checkpointDir = "checkpoints"
)

// ErrRunExists is wrapped by New's error when the directory holds a run already.
var ErrRunExists = errors.New("the directory holds a run already")

// claim makes the directory of a new run. A directory that holds a run is never written into.
func claim(dir string) error {
	for _, name := range []string{logName, configName, checkpointDir} {
		_, err := os.Lstat(filepath.Join(dir, name))
		if err == nil {
			return fmt.Errorf("train: %w: %s has %s; go on with it by --resume auto, or give the new run another directory with --out", ErrRunExists, dir, name)
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
	lock, err := checkpoints.Lock(t.Dir)
	if err != nil {
		return fmt.Errorf("train: %s: %w", t.Dir, err)
	}
	t.lock = lock
	if err := check(); err != nil {
		return err
	}
	if err := t.clean(); err != nil {
		t.note("what an interrupted start has left stays: %v", err)
	}
	if err := t.writeConfig(); err != nil {
		return fmt.Errorf("train: %w", err)
	}
	if t.log, err = openLog(filepath.Join(t.Dir, logName), t.step, t.note); err != nil {
		return err
	}
	t.foresee()
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

// foresee tells at the start of what may go wrong later.
func (t *Trainer) foresee() {
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

// clean removes what a killed program left half written.
func (t *Trainer) clean() error {
	err := atomicfile.Clean(t.Dir, func(name string) bool {
		return name == configName || name == logName || name == plotName
	})
	if err != nil {
		return err
	}
	err = atomicfile.Clean(filepath.Join(t.Dir, previewDir), func(name string) bool {
		ok, _ := filepath.Match("step-*.png", name)
		return ok
	})
	if err != nil {
		return err
	}
	return checkpoints.Clean(t.Dir)
}

// taken is an error that another try cannot mend: something that is not this run's has its place.
type taken struct{ error }

// present sees to it that the run has its directory still. One that someone has removed is made again, with the
// configuration and the log; true: it was, and its checkpoints are gone. Of other errors than taken it tells, once.
func (t *Trainer) present() (again bool, err error) {
	if t.blind || t.inPlace() {
		return false, nil
	}
	gone := filepath.Join(t.Dir, logName)
	if !t.lock.InPlace() {
		gone = t.Dir
	}
	err = t.remake()
	var other taken
	switch {
	case errors.As(err, &other):
		return false, fmt.Errorf("train: %w", err)
	case err == nil:
		t.note("%s was removed or replaced while the run was at work: it is there again, and training goes on", gone)
	case !t.absent:
		t.note("%s was removed or replaced while the run was at work: %v; training goes on, and it will be tried again", gone, err)
	}
	t.absent = err != nil
	t.blind = err == nil && !t.inPlace() // a file system that tells one file from another wrongly
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
		lock, err := checkpoints.Lock(t.Dir)
		if errors.Is(err, checkpoints.ErrLocked) {
			return taken{fmt.Errorf("%s was removed, and there is another run in its place now: %w", t.Dir, err)}
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
		return taken{fmt.Errorf("%s was removed, and there is another run in its place now", t.Dir)}
	}
	if err != nil {
		return err
	}
	if !t.log.f.InPlace() {
		if err := t.log.again(); err != nil {
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

// catchUp makes the preview that belongs to the step from which the run goes on, where its program was ended between
// the checkpoint and the preview.
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
