package train

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"

	"unstir/checkpoints"
	"unstir/checkpoints/safetensors"
	"unstir/nn/kernel"
)

// ErrChanged is wrapped by Resume's error when the run cannot go on with what it is given: the error names what
// differs.
var ErrChanged = errors.New("cannot go on")

// Auto as the second argument of Resume goes on from the newest whole checkpoint, or begins where there is none.
const Auto = "auto"

// Resume goes on with a run from the checkpoint named, or by Auto. The data, the model, the noise schedule, the
// seed and the batch must be those that the run began with.
func Resume(ctx context.Context, s Setup, from string) (*Trainer, error) {
	auto := from == Auto
	if auto {
		from = s.Dir
	}
	c, err := checkpoints.Load(ctx, from)
	if auto && (errors.Is(err, checkpoints.ErrNone) || errors.Is(err, fs.ErrNotExist)) {
		return begin(s, func() error { return nil })
	}
	if err != nil {
		return nil, fmt.Errorf("train: resume: %w", err)
	}
	defer c.Close()
	if s.Notes != nil {
		for _, skipped := range c.Skipped {
			fmt.Fprintf(s.Notes, "skipped %s: %v\n", skipped.Dir, skipped.Err)
		}
	}
	if s.Train.Slice == 0 {
		s.Train.Slice = c.State.Slice
	}
	t, err := prepare(s, c.State.Slice)
	if err != nil {
		return nil, err
	}
	if err := t.same(c); err != nil {
		return nil, fmt.Errorf("train: %s %w: %w", c.Dir, ErrChanged, err)
	}
	if err := t.restore(c); err != nil {
		return nil, fmt.Errorf("train: resume from %s: %w", c.Dir, err)
	}
	if now := kernelsInUse(); s.Notes != nil && now != c.State.CPU && !sameKernels(now, c.State.CPU) {
		fmt.Fprintf(s.Notes, "the checkpoint was made with the kernels %q, and these are %q: numbers will differ by rounding\n", c.State.CPU, now)
	}
	t, err = t.openRun(func() error {
		newest, _, err := checkpoints.Latest(ctx, s.Dir)
		if auto && (err != nil || newest != c.Dir) {
			return fmt.Errorf("train: %s was the newest checkpoint of %s, and is not any more: another process works there", c.Dir, s.Dir)
		}
		return nil
	})
	if err == nil && auto { // the program may have ended between a checkpoint and the removal of older ones
		t.prune(ctx)
	}
	return t, err
}

// rounding counts the changes of the program after which a run's numbers round otherwise; older programs state none.
const rounding = "v2"

// kernelsInUse names what the bits of a run depend on beside its settings: the kernels' level, whether
// convolutions are direct, and the program's rounding.
func kernelsInUse() string {
	level := kernel.ThisCPU().Level.String()
	if kernel.ThisCPU().Direct {
		level += " direct"
	}
	return level + " " + rounding
}

// sameKernels tells whether two sets of kernels give the same bits: AVX2 and AVX-512 do.
func sameKernels(a, b string) bool {
	return strings.Replace(a, "avx512", "avx2", 1) == strings.Replace(b, "avx512", "avx2", 1)
}

// same compares what a run began with and what it is asked to go on with.
func (t *Trainer) same(c *checkpoints.Model) error {
	var model checkpoints.Checkpoint
	if err := t.task.describe(&model); err != nil {
		return err
	}
	if was, now := c.Classifier != nil, model.Classifier != nil; was != now {
		kinds := map[bool]string{false: "a UNet", true: "a classifier"}
		return fmt.Errorf("it trains %s, and the configuration is that of %s", kinds[was], kinds[now])
	}
	was, now := *c.State, t.state()
	if err := sameNullClass(&was, &now); err != nil {
		return err
	}
	for _, part := range []struct {
		table    string
		was, now []byte
	}{{"model", c.UNet, model.UNet}, {"classifier", c.Classifier, model.Classifier}, {"scheduler", c.Scheduler, model.Scheduler}} {
		if part.now == nil {
			continue
		}
		if err := sameKeys(part.table, part.was, part.now); err != nil {
			return err
		}
	}
	differences := []struct {
		what     string
		was, now any
	}{
		{"the seed", was.Seed, now.Seed},
		{"train.batch_size", was.BatchSize, now.BatchSize},
		{"train.slice", was.Slice, now.Slice},
		{"data.flip", was.Data.Flip, now.Data.Flip},
	}
	for _, d := range differences {
		if d.was != d.now {
			return fmt.Errorf("%s was %v and is now %v", d.what, d.was, d.now)
		}
	}
	if was, now := describe(was.Data), describe(now.Data); was != now {
		return fmt.Errorf("the dataset was %s and is now %s: give it the pictures that it began with, or begin another run", was, now)
	}
	if was.Step > t.Train.Steps {
		return fmt.Errorf("it has done %d steps, and train.steps is %d", was.Step, t.Train.Steps)
	}
	return nil
}

func describe(d checkpoints.Data) string {
	return fmt.Sprintf("%s: %d images of %dx%dx%d, SHA-256 %.12s", d.Name, d.Count, d.Channels, d.Height, d.Width, d.Hash)
}

// sameKeys compares two JSON objects and names the first key whose value has changed.
func sameKeys(table string, was, now []byte) error {
	var a, b map[string]any
	if err := json.Unmarshal(was, &a); err != nil {
		return fmt.Errorf("%s: %w", table, err)
	}
	if err := json.Unmarshal(now, &b); err != nil {
		return fmt.Errorf("%s: %w", table, err)
	}
	for _, k := range slices.Sorted(maps.Keys(b)) {
		if !reflect.DeepEqual(a[k], b[k]) {
			return fmt.Errorf("%s.%s was %s and is now %s", table, k, jsonWords(a[k]), jsonWords(b[k]))
		}
	}
	return nil
}

// jsonWords is a JSON value for people; keys that have none were left out.
func jsonWords(v any) string {
	if v == nil {
		return "not given"
	}
	return fmt.Sprint(v)
}

// restore reads the weights, the average and the moments.
func (t *Trainer) restore(c *checkpoints.Model) error {
	parts := []struct {
		flat   []float32
		from   *safetensors.Reader
		prefix string
	}{
		{t.weights, c.Raw, ""}, {t.ema, c.Weights, ""},
		{t.expAvg, c.Optimizer, checkpoints.ExpAvg}, {t.expAvgSq, c.Optimizer, checkpoints.ExpAvgSq},
	}
	for _, part := range parts {
		err := t.params.Fill(part.flat, func(name string, _ []int, dst []float32) error {
			return part.from.ReadFloat32(part.prefix+name, dst)
		})
		if err != nil {
			return err
		}
	}
	t.step, t.seconds, t.saved, t.lrVersion = c.State.Step, c.State.TrainSeconds, c.Dir, c.State.LRVersion
	t.tested = c.State.Test
	t.last = Progress{Step: t.step, Steps: t.Train.Steps, Images: c.State.ImagesSeen, Loss: c.State.Loss}
	if fault := t.firstFault(); fault != "" {
		return fmt.Errorf("%s: %w; an older checkpoint can be named instead", fault, ErrNotFinite)
	}
	return nil
}

// state is where the run stands.
func (t *Trainer) state() checkpoints.State {
	return checkpoints.State{
		Program: t.Version, Step: t.step, Steps: t.Train.Steps, ImagesSeen: int64(t.step) * int64(t.Train.BatchSize),
		Seed: t.Seed, BatchSize: t.Train.BatchSize, Slice: t.Slice(), OptimizerStep: t.step, EMAUpdates: t.step,
		Loss: t.last.Loss, TrainSeconds: t.seconds, CPU: kernelsInUse(), LRVersion: t.lrVersion, NullClass: t.nullClass(), Test: t.tested,
		Data: checkpoints.Data{
			Name: t.info.Name, Source: t.info.Source, Hash: t.info.Hash, Count: t.info.Count,
			Channels: t.info.Channels, Height: t.info.Height, Width: t.info.Width, Flip: t.Flip, Classes: t.info.Classes, Holdout: t.info.Holdout,
		},
	}
}

// save writes a checkpoint of the step that the run has reached, unless it is there, and removes older ones.
func (t *Trainer) save(ctx context.Context) error {
	if t.Discard {
		return nil
	}
	there := checkpoints.StepDir(t.Dir, t.step)
	if t.saved != "" && filepath.Clean(t.saved) == there && isDir(there) { // no step was done since, so a configuration that has changed has changed nothing
		return nil
	}
	if fault := t.firstFault(); fault != "" {
		return t.diverged(t.step, fault)
	}
	tensors := func(flat []float32) []checkpoints.Tensor {
		list := t.params.Tensors(flat)
		out := make([]checkpoints.Tensor, len(list))
		for i, x := range list {
			out[i] = checkpoints.Tensor(x)
		}
		return out
	}
	c := &checkpoints.Checkpoint{
		State: t.state(), Config: t.ConfigTOML,
		EMA: tensors(t.ema), Raw: tensors(t.weights), ExpAvg: tensors(t.expAvg), ExpAvgSq: tensors(t.expAvgSq),
	}
	if err := t.task.describe(c); err != nil {
		return fmt.Errorf("train: save: %w", err)
	}
	t.noteLog(t.log.sync()) // after a power cut, too, the log has every step up to the checkpoint
	dir, err := checkpoints.Save(ctx, t.Dir, c)
	if errors.Is(err, fs.ErrExist) { // this very step was saved before the run went on
		config, readErr := os.ReadFile(checkpoints.ConfigFile(there))
		if readErr != nil || !bytes.Equal(config, t.ConfigTOML) {
			return permanentError{fmt.Errorf("train: save: %s is there already and was made with another configuration; go on in another directory, or move it away", there)}
		}
		t.saved = there
		return nil
	}
	if err != nil {
		return fmt.Errorf("train: %w", err)
	}
	t.saved = dir
	t.prune(ctx)
	return nil
}

// prune removes older checkpoints. A failure is noted and does not end the run.
func (t *Trainer) prune(ctx context.Context) {
	if _, err := checkpoints.Prune(ctx, t.Dir, t.Checkpoint.Keep); err != nil {
		t.note("%v", err)
	}
}
