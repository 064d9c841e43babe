package train

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"unstir/checkpoints"
	"unstir/internal/atomicfile"
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
	if err := os.MkdirAll(filepath.Join(t.Dir, previewDir), 0o755); err != nil {
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
		t.note("%v", err)
	}
	err = atomicfile.Write(filepath.Join(t.Dir, configName), func(w io.Writer) error {
		_, err := w.Write(t.ConfigTOML)
		return err
	})
	if err != nil {
		return fmt.Errorf("train: write the configuration: %w", err)
	}
	t.log, err = openLog(filepath.Join(t.Dir, logName), t.step)
	return err
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

// keep does what a step's number asks for: a line of the log, a checkpoint, a preview. A preview that cannot be
// made does not end the run; a log that cannot be written ends it, saved if at all possible.
func (t *Trainer) keep(ctx context.Context) error {
	if err := t.logStep(); err != nil {
		if failed := t.save(context.WithoutCancel(ctx)); failed != nil {
			return fmt.Errorf("%w; and then: %w", err, failed)
		}
		return err
	}
	if t.step == t.Train.Steps {
		return nil // finish does it
	}
	if every := t.Checkpoint.Every; every > 0 && t.step%every == 0 {
		if err := t.save(context.WithoutCancel(ctx)); err != nil {
			return err
		}
	}
	if every := t.Preview.Every; every > 0 && t.step%every == 0 {
		t.show(ctx)
	}
	return nil
}

// show makes a preview and the plot of the loss.
func (t *Trainer) show(ctx context.Context) {
	path, err := t.preview(ctx)
	switch {
	case ctx.Err() != nil:
		return // the run is being stopped: Run saves it
	case err != nil:
		t.note("no preview of step %d: %v", t.step, err)
	default:
		t.note("preview %s", path)
	}
	t.plot()
}

// plot draws the log's loss.
func (t *Trainer) plot() {
	lines, err := ReadLog(filepath.Join(t.Dir, logName))
	if err == nil {
		err = plotLoss(filepath.Join(t.Dir, plotName), lines)
	}
	if err != nil {
		t.note("no plot of the loss: %v", err)
	}
}

func (t *Trainer) note(format string, args ...any) {
	if t.Notes != nil {
		fmt.Fprintf(t.Notes, format+"\n", args...)
	}
}

// stop saves the run where it stands.
func (t *Trainer) stop(ctx context.Context) error {
	if err := t.save(context.WithoutCancel(ctx)); err != nil {
		return err
	}
	t.plot()
	return &Stopped{Step: t.step, Checkpoint: t.saved}
}

// finish leaves a checkpoint, a preview and the plot of the last step.
func (t *Trainer) finish(ctx context.Context) error {
	if err := t.save(context.WithoutCancel(ctx)); err != nil {
		return err
	}
	t.note("checkpoint %s", t.saved)
	if t.Preview.Every > 0 {
		t.show(ctx)
	} else {
		t.plot()
	}
	return nil
}
