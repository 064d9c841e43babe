package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

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
previews, a plot of the loss and checkpoints, each of which is a pipeline that Python's diffusers opens too.
Ctrl-C saves a checkpoint; --resume auto goes on from the newest one, with the same numbers.`,
		Example: `  diffusion train --config quickstart.toml
  diffusion train --config mnist.toml --data-dir ~/datasets --set train.lr=1e-4
  diffusion train --config mnist.toml --resume auto
  diffusion train --out runs/mnist --resume auto`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return runTrain(c, f) },
	}
	p := c.Flags()
	p.StringVar(&f.config, "config", "", "configuration `FILE`, or the name of a preset (see diffusion presets)")
	p.StringArrayVar(&f.sets, "set", nil, "override a key of the configuration: `KEY=VALUE`, repeatable")
	p.StringVar(&f.out, "out", "", "the run's `DIR`ectory (default runs/NAME)")
	p.StringVar(&f.dataDir, "data-dir", "", "`DIR`ectory with the dataset, or with a directory of its name")
	p.StringVar(&f.resume, "resume", "", "go on: \"auto\" for the run's newest checkpoint, or a checkpoint's `DIR`ectory")
	p.IntVar(&f.steps, "steps", 0, "length of the run in steps (sets train.steps)")
	p.IntVar(&f.stopAt, "stop-at", 0, "save and stop at this step, as Ctrl-C would; the schedule stays that of the whole run")
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
	if f.dataDir != "" {
		sets = append(sets, fmt.Sprintf("data.dir=%q", f.dataDir))
	}
	return sets
}

func runTrain(c *cobra.Command, f trainFlags) error {
	ctx := c.Context()
	if err := setThreads(f.threads); err != nil {
		return err
	}
	if c.Flags().Changed("stop-at") && f.stopAt < 1 {
		return usagef("--stop-at %d: it must be at least 1", f.stopAt)
	}
	config := f.config
	if config == "" && f.resume != "" && f.out != "" {
		config = filepath.Join(f.out, "config.toml")
	}
	if config == "" {
		return usagef("--config is missing: a file, or one of the presets %s", strings.Join(configs.Presets(), ", "))
	}
	cfg, err := configs.Load(config, f.settings(c))
	if err != nil {
		return err
	}
	if f.stopAt > cfg.Train.Steps {
		return usagef("--stop-at %d is beyond the run's last step, train.steps = %d", f.stopAt, cfg.Train.Steps)
	}
	dir := f.out
	if dir == "" {
		dir = filepath.Join("runs", cfg.Name)
	}
	dataset, err := openData(ctx, cfg)
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
	var bar *meter
	setup := train.Setup{
		Seed: cfg.Seed, Data: dataset, Flip: cfg.Data.Flip, Model: cfg.Model, Scheduler: cfg.Scheduler,
		Train: cfg.Train, EMA: cfg.EMA, Checkpoint: cfg.Checkpoint, Preview: cfg.Preview,
		Dir: dir, ConfigTOML: resolved, Version: version(), StopAt: f.stopAt,
		OnStep: func(p train.Progress) {
			bar.set(p.Step, fmt.Sprintf("step %d/%d  loss %.4f  %.0f images/s", p.Step, p.Steps, p.Loss, p.ImagesPerSecond))
		},
		Notes: lateWriter{&bar},
	}
	t, err := newTrainer(ctx, setup, f.resume)
	if err != nil {
		return err
	}
	describeRun(dir, cfg, dataset.Info(), t)
	bar = newMeter("train", t.Step(), cfg.Train.Steps)
	start := time.Now()
	err = t.Run(ctx)
	bar.done()
	return report(err, dir, f, t, start)
}

// lateWriter writes to a meter that does not exist yet, or to stderr.
type lateWriter struct{ m **meter }

func (w lateWriter) Write(p []byte) (int, error) {
	if *w.m == nil {
		return os.Stderr.Write(p)
	}
	return (*w.m).Write(p)
}

func newTrainer(ctx context.Context, s train.Setup, resume string) (*train.Trainer, error) {
	if resume == "" {
		return train.New(s)
	}
	return train.Resume(ctx, s, resume)
}

// openData opens the configuration's dataset and shows what that takes.
func openData(ctx context.Context, cfg *configs.Config) (data.Dataset, error) {
	var bar *meter
	what := ""
	defer func() {
		if bar != nil {
			bar.done()
		}
	}()
	return data.Open(ctx, cfg.Data, data.Options{
		Log: os.Stderr,
		Progress: func(p data.Progress) {
			if p.Total <= 0 {
				return
			}
			if p.What != what {
				if bar != nil {
					bar.done()
				}
				what, bar = p.What, newMeter(p.What, 0, int(p.Total))
			}
			bar.set(int(p.Done), p.Unit)
		},
	})
}

func describeRun(dir string, cfg *configs.Config, info data.Info, t *train.Trainer) {
	fmt.Fprintf(os.Stderr, "run %s: %s, %d images of %dx%dx%d from %s; %d parameters; batch %d in slices of %d\n",
		dir, info.Name, info.Count, info.Channels, info.Height, info.Width, info.Source, t.Parameters(), cfg.Train.BatchSize, t.Slice())
	if t.Step() > 0 {
		fmt.Fprintf(os.Stderr, "going on from step %d (%s)\n", t.Step(), t.Saved())
	}
}

// report says what the run left, on stdout, and how to go on when it was stopped.
func report(err error, dir string, f trainFlags, t *train.Trainer, start time.Time) error {
	var stopped *train.Stopped
	if err != nil && !errors.As(err, &stopped) {
		return err
	}
	took := time.Since(start).Round(time.Second)
	var out io.Writer = os.Stdout
	if stopped != nil {
		fmt.Fprintf(out, "stopped at step %d after %v; saved %s\n", stopped.Step, took, stopped.Checkpoint)
		fmt.Fprintf(out, "go on with: diffusion train --out %s --resume auto\n", dir)
		return nil
	}
	p := t.Last()
	fmt.Fprintf(out, "step %d, loss %.4f, %v; saved %s\n", p.Step, p.Loss, took, t.Saved())
	fmt.Fprintf(out, "sample with: diffusion sample --model %s --sampler ddim\n", dir)
	return nil
}
