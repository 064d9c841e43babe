package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"unstir/classifier"
	"unstir/configs"
	"unstir/data"
	"unstir/train"
)

type trainFlags struct {
	config, out, dataDir, resume string
	sets                         []string
	steps, stopAt, threads       int
	seed                         uint64
}

func newTrain() *cobra.Command {
	var f trainFlags
	c := &cobra.Command{
		Use:   "train --config FILE|PRESET",
		Short: "Train a model",
		Long: `Train a model on a dataset. The run's directory, by default runs/NAME, holds the resolved configuration, a log,
previews, a plot of the loss, TensorBoard's event file and checkpoints, each of which is a pipeline that Python's
diffusers opens too. A configuration with [classifier], as the preset mnist-classifier, trains a classifier instead, and
the log has its accuracy.
Ctrl-C, kill and a closed terminal save a checkpoint first; --resume auto goes on from the newest one, with the same numbers.`,
		Example: `  diffusion train --config quickstart.toml
  diffusion train --config mnist.toml --data-dir ~/datasets --set train.lr=1e-4
  diffusion train --config mnist.toml --resume auto
  diffusion train --out runs/mnist --resume auto`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return runTrain(c, f) },
	}
	p := c.Flags()
	p.StringVar(&f.config, "config", "", "configuration: a `FILE`, or the name of a preset (see diffusion presets); a run that goes on has its own")
	p.StringArrayVar(&f.sets, "set", nil, "override a key of the configuration, as in train.lr=1e-4: `KEY=VALUE`, repeatable")
	p.StringVar(&f.out, "out", "", "`DIR` of the run (default runs/NAME)")
	p.StringVar(&f.dataDir, "data-dir", "", "`DIR` with the dataset's files, or with a directory of its name that has them (sets data.dir)")
	p.StringVar(&f.resume, "resume", "", "go on: auto for the run's newest checkpoint (a run that has none begins), or the `DIR` of a run or checkpoint")
	p.IntVar(&f.steps, "steps", 0, "length of the run in `STEPS` (sets train.steps)")
	p.IntVar(&f.stopAt, "stop-at", 0, "save and stop at this `STEP`, as Ctrl-C would; the learning rate stays that of the whole run")
	p.Uint64Var(&f.seed, "seed", 0, "seed of all randomness (sets seed)")
	p.IntVar(&f.threads, "threads", 0, "threads; 0: as many as the system allows. The numbers do not depend on it")
	return c
}

// settings are the configuration's overrides: --set, then the flags that stand for a key.
func (f trainFlags) settings(c *cobra.Command) []string {
	sets := f.sets
	if c.Flags().Changed("steps") {
		sets = append(sets, fmt.Sprintf("train.steps=%d", f.steps))
	}
	if c.Flags().Changed("seed") {
		sets = append(sets, fmt.Sprintf("seed=%d", f.seed))
	}
	return sets
}

// check finds what is wrong with the flags by themselves.
func (f trainFlags) check(c *cobra.Command) error {
	switch {
	case c.Flags().Changed("stop-at") && f.stopAt < 1:
		return usagef("--stop-at %d: it must be at least 1", f.stopAt)
	case c.Flags().Changed("steps") && f.steps < 1:
		return usagef("--steps %d: it must be at least 1", f.steps)
	case f.resume != "" && f.resume != train.Auto && !isDir(f.resume):
		return usagef("--resume %s: there is no such directory; it must be auto, or the directory of a run or of a checkpoint", f.resume)
	case c.Flags().Changed("seed") && f.seed > math.MaxInt64:
		return usagef("--seed %d: it must be at most %d, the largest integer of TOML", f.seed, math.MaxInt64)
	}
	return nil
}

// load reads the configuration and settles the run's directory.
func (f trainFlags) load(c *cobra.Command) (cfg *configs.Config, dir string, err error) {
	config, dir := f.config, f.out
	if config == "" {
		if config, dir, err = f.ofRun(); err != nil {
			return nil, "", err
		}
	}
	if cfg, err = configs.Load(config, f.settings(c)); err != nil {
		return nil, "", err
	}
	if f.stopAt > cfg.Train.Steps {
		return nil, "", usagef("--stop-at %d is beyond the run's last step, train.steps = %d", f.stopAt, cfg.Train.Steps)
	}
	if dir == "" {
		dir = filepath.Join("runs", cfg.Name)
	}
	if f.dataDir != "" {
		cfg.Data.Dir = f.dataDir
	}
	if cfg.Data.Dir != "" { // the run may go on from another working directory
		if cfg.Data.Dir, err = filepath.Abs(cfg.Data.Dir); err != nil {
			return nil, "", fmt.Errorf("data.dir: %w", err)
		}
	}
	return cfg, dir, nil
}

// diskPatience is how long the last checkpoint waits for a disk that cannot be written.
var diskPatience = time.Minute

func runTrain(c *cobra.Command, f trainFlags) error {
	ctx := c.Context()
	if err := setThreads(f.threads); err != nil {
		return err
	}
	if err := f.check(c); err != nil {
		return err
	}
	cfg, dir, err := f.load(c)
	if err != nil {
		return err
	}
	if err := f.checkDir(ctx, dir, cfg); err != nil {
		return err
	}
	dataset, err := openData(c, cfg)
	if err != nil {
		return err
	}
	if err := cfg.Fit(dataset.Info()); err != nil {
		return err
	}
	resolved, err := cfg.TOML()
	if err != nil {
		return err
	}
	lines := &notes{w: c.ErrOrStderr(), classifier: cfg.IsClassifier()}
	var test data.Dataset
	if cfg.IsClassifier() {
		test = openTest(c, cfg)
	}
	setup := train.Setup{
		Seed: cfg.Seed, Data: dataset, Flip: cfg.Data.Flip, Model: cfg.Model, Scheduler: cfg.Scheduler,
		Classifier: classifierOf(cfg), Test: test, Train: cfg.Train, EMA: cfg.EMA, Checkpoint: cfg.Checkpoint, Preview: cfg.Preview, Log: cfg.Log,
		Dir: dir, ConfigTOML: resolved, Version: version(), StopAt: f.stopAt,
		OnStep: lines.step, Notes: lines, Patience: diskPatience,
	}
	t, err := newTrainer(ctx, setup, f.resume)
	if err != nil {
		return err
	}
	defer t.Close()
	describeRun(lines, dir, cfg, dataset.Info(), t)
	if t.Step() == cfg.Train.Steps {
		if err := t.Run(ctx); err != nil {
			return err
		}
		fmt.Fprintf(c.OutOrStdout(), "the run is complete: step %d of %d; saved %s\nto go on, give it more: diffusion train --out %s --resume auto --steps N\n",
			t.Step(), cfg.Train.Steps, t.Saved(), quote(dir))
		return nil
	}
	if f.stopAt > 0 && t.Step() >= f.stopAt {
		fmt.Fprintf(c.OutOrStdout(), "stopped at step %d already, and --stop-at is %d: there is nothing to do; saved %s\n%s\n",
			t.Step(), f.stopAt, t.Saved(), goOn(dir))
		return nil
	}
	start := time.Now()
	lines.bar = newMeter(c.ErrOrStderr(), "train", t.Step(), cfg.Train.Steps)
	told := context.AfterFunc(ctx, func() {
		fmt.Fprintln(lines, stopping(ctx))
	})
	err = t.Run(ctx)
	told()
	lines.bar.done()
	return report(c.OutOrStdout(), err, dir, t, time.Since(start))
}

// classifierOf is the classifier that a configuration trains; nil where it trains a UNet.
func classifierOf(cfg *configs.Config) *classifier.Config {
	if !cfg.IsClassifier() {
		return nil
	}
	return &cfg.Classifier
}

// stopping is what is said when ctx ends.
func stopping(ctx context.Context) string {
	var s stopSignal
	if errors.As(context.Cause(ctx), &s) && s.Signal != os.Interrupt {
		return fmt.Sprintf("stopping (%v): saving a checkpoint", s)
	}
	return "stopping: saving a checkpoint (Ctrl-C again: end at once, unsaved)"
}

func newTrainer(ctx context.Context, s train.Setup, resume string) (*train.Trainer, error) {
	if resume == "" {
		return train.New(s)
	}
	return train.Resume(ctx, s, resume)
}

// notes shows lines for people, above the bar while there is one.
type notes struct {
	w   io.Writer
	bar *meter
	per float64 // seconds an image takes, smoothed

	classifier bool // is what is trained
}

func (n *notes) Write(p []byte) (int, error) {
	if n.bar != nil {
		return n.bar.Write(p)
	}
	return n.w.Write(p)
}

// step shows a training step on the bar. The speed is a mean over the last ten steps or so.
func (n *notes) step(p train.Progress) {
	per := 1 / p.ImagesPerSecond
	if n.per == 0 {
		n.per = per
	}
	n.per = 0.9*n.per + 0.1*per
	what := fmt.Sprintf("step %d/%d, loss %.4f", p.Step, p.Steps, p.Loss)
	if n.classifier {
		what += fmt.Sprintf(", accuracy %.1f %%", 100*p.Accuracy)
	}
	n.bar.set(p.Step, fmt.Sprintf("%s, %.0f images/s", what, 1/n.per))
}

// openData opens the training split of the configuration's dataset and shows what that takes.
func openData(c *cobra.Command, cfg *configs.Config) (data.Dataset, error) {
	return openSplit(c, cfg, data.Train)
}

// openTest opens the test split for a classifier's accuracy; nil, with a note, where there is none.
func openTest(c *cobra.Command, cfg *configs.Config) data.Dataset {
	test, err := openSplit(c, cfg, data.Test)
	if err != nil {
		fmt.Fprintf(c.ErrOrStderr(), "the test accuracy is not measured: %v\n", err)
		return nil
	}
	return test
}

func openSplit(c *cobra.Command, cfg *configs.Config, split data.Split) (data.Dataset, error) {
	o, end := openingOptions(c)
	defer end()
	o.Split = split
	return data.Open(c.Context(), cfg.Data, o)
}

// openingOptions show on stderr what opening data takes, until end.
func openingOptions(c *cobra.Command) (o data.Options, end func()) {
	lines := &notes{w: c.ErrOrStderr()}
	end = func() {
		if lines.bar != nil {
			lines.bar.done()
			lines.bar = nil
		}
	}
	return data.Options{
		Log: lines,
		Progress: func(p data.Progress) {
			if p.Total <= 0 {
				return
			}
			if lines.bar == nil || lines.bar.what != p.What {
				end()
				lines.bar = newMeter(c.ErrOrStderr(), p.What, 0, int(p.Total))
			}
			lines.bar.set(int(p.Done), "")
		},
	}, end
}

func describeRun(w io.Writer, dir string, cfg *configs.Config, info data.Info, t *train.Trainer) {
	fmt.Fprintf(w, "run %s\n", dir)
	fmt.Fprintf(w, "data %s: %d images of %dx%dx%d, from %s\n", info.Name, info.Count, info.Channels, info.Height, info.Width, info.Source)
	fmt.Fprintf(w, "model of %d parameters; batches of %d images in slices of %d\n", t.Parameters(), cfg.Train.BatchSize, t.Slice())
	if t.Saved() == "" {
		return
	}
	fmt.Fprintf(w, "going on from step %d, %s\n", t.Step(), t.Saved())
	for _, change := range changedSince(t.Saved(), cfg) {
		fmt.Fprintf(w, "changed: %s\n", change)
	}
}

// report says what the run left, and how to go on when it was stopped or failed.
func report(w io.Writer, err error, dir string, t *train.Trainer, took time.Duration) error {
	took = took.Round(time.Second)
	var stopped *train.Stopped
	switch {
	case errors.As(err, &stopped):
		fmt.Fprintf(w, "stopped at step %d after %v; saved %s\n%s\n", stopped.Step, took, stopped.Checkpoint, goOn(dir))
		return nil
	case err != nil && strings.Contains(err.Error(), cmp.Or(t.Saved(), "no checkpoint")):
		return err
	case err != nil && t.Saved() == "":
		return fmt.Errorf("%w; no checkpoint was saved before", err)
	case err != nil:
		return fmt.Errorf("%w; the newest checkpoint is %s, %s", err, t.Saved(), goOn(dir))
	}
	if t.Classifier != nil {
		accuracy := ""
		if test := t.Tested(); test != nil {
			accuracy = fmt.Sprintf("test accuracy %.2f %%, ", 100*test.Accuracy)
		}
		fmt.Fprintf(w, "step %d, loss %.4f, %s%v; saved %s\n", t.Last().Step, t.Last().Loss, accuracy, took, t.Saved())
		return nil
	}
	fmt.Fprintf(w, "step %d, loss %.4f, %v; saved %s\n", t.Last().Step, t.Last().Loss, took, t.Saved())
	fmt.Fprintf(w, "sample with: diffusion sample --model %s --sampler ddim\n", quote(dir))
	return nil
}

func goOn(dir string) string {
	return fmt.Sprintf("go on with: diffusion train --out %s --resume auto", quote(dir))
}

// quote writes a path so that a shell takes it for one word: in double quotes, as any shell's, unless there is something
// in it that has a meaning within them.
func quote(path string) string {
	switch {
	case runtime.GOOS != "windows" && strings.ContainsAny(path, "\"$`!\\\n"):
		return "'" + strings.ReplaceAll(path, "'", `'\''`) + "'"
	case strings.ContainsAny(path, " \t\"'$&;()<>|*?`!#~[]{}"):
		return `"` + path + `"`
	}
	return path
}
