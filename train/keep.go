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

// keep does what a step's number asks for: a line of the log, a checkpoint, a preview. What cannot be written is
// noted and tried again later; it does not end the run. A number that is not finite does, and so does another run in
// its directory.
func (t *Trainer) keep(ctx context.Context) error {
	every := t.Checkpoint.Every
	save := every > 0 && t.step%every == 0
	if save || t.logged() {
		remade, err := t.ensureDir()
		if err != nil {
			return err
		}
		save = save || remade
	}
	if t.tests() {
		t.measure(ctx)
	}
	if t.logged() {
		t.logStep()
	}
	if t.step == t.Train.Steps {
		return nil // finish does it
	}
	if save {
		if err := t.trySave(ctx); err != nil {
			return err
		}
	}
	if every := t.Preview.Every; every > 0 && t.step%every == 0 {
		t.show(ctx)
	}
	return nil
}

// trySave saves a checkpoint in the middle of a run.
func (t *Trainer) trySave(ctx context.Context) error {
	err := t.save(context.WithoutCancel(ctx))
	if err == nil || isPermanent(err) {
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
	t.note("no checkpoint of step %d: %s; training goes on, the next try is at step %d; %s", t.step, withoutPackage(err), next, newest)
	return nil
}

// saveAtEnd saves where the run ends. A save that fails is tried again until patience is over.
func (t *Trainer) saveAtEnd(ctx context.Context, patience time.Duration) error {
	err := t.saveAll(ctx)
	if err == nil || patience <= 0 || isPermanent(err) {
		return err
	}
	t.note("%s; trying again for %v", withoutPackage(err), patience)
	end := time.Now().Add(patience)
	for wait := patience / 64; err != nil && !isPermanent(err) && time.Now().Before(end); wait *= 2 {
		select {
		case <-ctx.Done():
			end = time.Now() // one last try
		case <-time.After(min(wait, time.Until(end))):
		}
		err = t.saveAll(ctx)
	}
	return err
}

// isPermanent tells whether a save failed in a way that another try cannot mend, unlike an error of the disk.
func isPermanent(err error) bool {
	var permanent permanentError
	return errors.As(err, &permanent) || errors.Is(err, ErrNotFinite)
}

// saveAll saves a checkpoint and the pending lines of the log.
func (t *Trainer) saveAll(ctx context.Context) error {
	if _, err := t.ensureDir(); err != nil {
		return err
	}
	if err := t.save(context.WithoutCancel(ctx)); err != nil {
		return err
	}
	err := t.log.flush()
	t.noteLog(err)
	t.renewEvents()
	return err
}

// withoutPackage is an error's message for a note, without the package's name.
func withoutPackage(err error) string { return strings.TrimPrefix(err.Error(), "train: ") }

// show makes a preview and the plot of the loss.
func (t *Trainer) show(ctx context.Context) {
	err := disk.MkdirAll(filepath.Join(t.Dir, previewDir), 0o755) // someone may have removed it
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
		t.eventPreview()
	}
	t.plot()
}

// plot draws the log's loss.
func (t *Trainer) plot() {
	lines, err := ReadLog(LogFile(t.Dir))
	loss := "mean squared error"
	if t.Classifier != nil {
		loss = "cross-entropy"
	}
	if err == nil {
		err = plotLoss(filepath.Join(t.Dir, plotName), loss, lines)
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

// stopPatience limits the patience of a run that is being stopped: it may be killed soon.
const stopPatience = 5 * time.Second

// stop saves the run where it stands.
func (t *Trainer) stop(ctx context.Context) error {
	if err := t.saveAtEnd(context.WithoutCancel(ctx), min(t.Patience, stopPatience)); err != nil {
		return err
	}
	t.plot()
	return &Stopped{Step: t.step, Checkpoint: t.saved}
}

// finish leaves a checkpoint, a preview and the plot of the last step.
func (t *Trainer) finish(ctx context.Context) error {
	if err := t.saveAtEnd(ctx, t.Patience); err != nil {
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
