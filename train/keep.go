package train

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"unstir/internal/disk"
)

// keep does what a step's number asks for: a line of the log, a checkpoint, a preview. What cannot be written does
// not end the run: it is told of, and tried again later. What ends it is a number that is not finite, and another run
// that has taken its place.
func (t *Trainer) keep(ctx context.Context) error {
	every := t.Checkpoint.Every
	save := every > 0 && t.step%every == 0
	if save || t.logged() {
		again, err := t.present()
		if err != nil {
			return err
		}
		save = save || again
	}
	if t.logged() {
		t.logStep()
	}
	if t.step == t.Train.Steps {
		return nil // finish does it
	}
	if save {
		if err := t.saveOrGoOn(ctx); err != nil {
			return err
		}
	}
	if every := t.Preview.Every; every > 0 && t.step%every == 0 {
		t.show(ctx)
	}
	return nil
}

// saveOrGoOn saves a checkpoint in the middle of a run.
func (t *Trainer) saveOrGoOn(ctx context.Context) error {
	err := t.save(context.WithoutCancel(ctx))
	if err == nil || hopeless(err) {
		return err
	}
	next := t.Train.Steps
	if every := t.Checkpoint.Every; every > 0 {
		next = min(next, t.step-t.step%every+every)
	}
	newest := "there is no checkpoint yet"
	if t.saved != "" {
		newest = "the newest checkpoint is " + t.saved
	}
	t.note("no checkpoint of step %d: %s; training goes on, the next try is at step %d; %s", t.step, plain(err), next, newest)
	return nil
}

// leave saves where the run ends. If it cannot be done it tries again for as long as there is patience.
func (t *Trainer) leave(ctx context.Context, patience time.Duration) error {
	err := t.saveAll(ctx)
	if err == nil || patience <= 0 || hopeless(err) {
		return err
	}
	t.note("%s; trying again for %v", plain(err), patience)
	end := time.Now().Add(patience)
	for wait := patience / 64; err != nil && !hopeless(err) && time.Now().Before(end); wait *= 2 {
		select {
		case <-ctx.Done():
			end = time.Now() // one last try
		case <-time.After(min(wait, time.Until(end))):
		}
		err = t.saveAll(ctx)
	}
	return err
}

// hopeless tells the errors of a save that another try cannot mend from those of the disk.
func hopeless(err error) bool {
	var other taken
	return errors.As(err, &other) || errors.Is(err, ErrNotFinite)
}

// saveAll saves a checkpoint and the lines of the log that wait.
func (t *Trainer) saveAll(ctx context.Context) error {
	if _, err := t.present(); err != nil {
		return err
	}
	if err := t.save(context.WithoutCancel(ctx)); err != nil {
		return err
	}
	err := t.log.flush()
	t.heedLog(err)
	return err
}

// plain is an error for a note, which does not say what program it is from.
func plain(err error) string { return strings.TrimPrefix(err.Error(), "train: ") }

// show makes a preview and the plot of the loss.
func (t *Trainer) show(ctx context.Context) {
	err := disk.MkdirAll(filepath.Join(t.Dir, previewDir), 0o755) // someone may have cleared it away
	path := ""
	if err == nil {
		path, err = t.preview(ctx)
	}
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

// mostAtStop limits the patience of a run that is being stopped: who stops it may end it by force soon.
const mostAtStop = 5 * time.Second

// stop saves the run where it stands.
func (t *Trainer) stop(ctx context.Context) error {
	if err := t.leave(context.WithoutCancel(ctx), min(t.Patience, mostAtStop)); err != nil {
		return err
	}
	t.plot()
	return &Stopped{Step: t.step, Checkpoint: t.saved}
}

// finish leaves a checkpoint, a preview and the plot of the last step.
func (t *Trainer) finish(ctx context.Context) error {
	if err := t.leave(ctx, t.Patience); err != nil {
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
