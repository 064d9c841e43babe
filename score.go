package unstir

import (
	"context"
	"errors"
	"fmt"
	"os"

	"unstir/classifier"
	"unstir/data"
	"unstir/internal/images"
	"unstir/train"
)

// scoreSteps is how many steps of 64 images the classifier of the accuracy score is trained.
const scoreSteps = 1500

// accuracyScore is the classification accuracy score (Ravuri and Vinyals, "Classification Accuracy Score for Conditional
// Generative Models", 2019): the share of real images that a classifier tells which has seen labelled samples only. It has the
// feature network's architecture. It is nil where there are no labels or no real images, with a note.
func (e *evaluation) accuracyScore(ctx context.Context) (*float64, error) {
	if e.Labels == nil {
		e.note("accuracy_score is null: it needs labelled samples")
		return nil, nil
	}
	real, err := e.realImages(ctx)
	if real == nil {
		return nil, err
	}
	set, err := e.labelled()
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "unstir-score-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	net := e.Net.Config()
	tc, ema, checkpoint, preview := train.Defaults()
	tc.Steps, tc.BatchSize, tc.LR, tc.LRSchedule, tc.WarmupSteps, tc.WeightDecay = scoreSteps, min(64, e.Samples.N), 2e-3, "cosine", 100, 0.01
	tc.LogEvery, ema.Decay, checkpoint.Every, preview.Every = scoreSteps, 0.99, 0, 0
	t, err := train.New(train.Setup{
		Data: set, Flip: e.Data.Flip, Classifier: &classifier.Config{Channels: net.Channels, Features: net.Features}, Test: real,
		Train: tc, EMA: ema, Checkpoint: checkpoint, Preview: preview, Dir: dir, Discard: true,
		OnStep: func(p train.Progress) { e.progress("accuracy score", p.Step, p.Steps) },
	})
	if err != nil {
		return nil, err
	}
	if err := t.Run(ctx); ctx.Err() != nil {
		return nil, ctx.Err() // a run that is cut short calls itself stopped
	} else if err != nil {
		return nil, err
	}
	if t.Tested() == nil {
		return nil, errors.New("the classifier of the accuracy score was not tested")
	}
	return &t.Tested().Accuracy, nil
}

// realImages are the test images, or where they cannot be had without the network, the training images; nil, with a note,
// where there are none of either. The error is that of the context, or of a directory that was named.
func (e *evaluation) realImages(ctx context.Context) (data.Dataset, error) {
	if e.test != nil {
		return e.test, nil
	}
	test, err := e.open(ctx, data.Test, true)
	switch {
	case err == nil:
		return test, nil
	case ctx.Err() != nil || e.Open.Dir != "":
		return nil, err
	case e.training != nil:
		e.note("accuracy_score is of the training images, as there are no test images: %v", err)
		return e.training, nil
	}
	e.note("accuracy_score is null: there are no real images: %v", err)
	return nil, nil
}

// labelled are the samples as a dataset.
func (e *evaluation) labelled() (data.Dataset, error) {
	s := e.Samples
	pixels := make([]byte, len(s.Data))
	images.ToBytes(pixels, s.Data)
	info := data.Info{Name: "samples", Channels: s.C, Height: s.H, Width: s.W, Classes: e.Net.Classes}
	set, err := data.NewMemory(info, pixels, e.Labels)
	if err != nil {
		return nil, fmt.Errorf("unstir: evaluate: %w", err)
	}
	return set, nil
}
