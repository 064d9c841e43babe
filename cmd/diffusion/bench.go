package main

import (
	"cmp"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"runtime"
	"sort"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"unstir/configs"
	"unstir/data"
	"unstir/diffusion"
	"unstir/internal/machine"
	"unstir/nn/kernel"
	"unstir/train"
	"unstir/unet"
)

type benchFlags struct {
	config       string
	sets         []string
	batch, steps int
	threads      int
	json         bool
}

// benchResult is what bench prints.
type benchResult struct {
	Mode         string  `json:"mode"`
	Params       int     `json:"params"`
	Batch        int     `json:"batch"`
	Slice        int     `json:"slice,omitempty"`
	Threads      int     `json:"threads"`
	CPU          string  `json:"cpu"`
	Level        string  `json:"level"`
	MedianS      float64 `json:"median_s"`
	ImagesPerS   float64 `json:"images_per_s"`
	GFLOPS       float64 `json:"gflops"`
	PeakRSSBytes int64   `json:"peak_rss_bytes"`
}

func newBench() *cobra.Command {
	c := &cobra.Command{Use: "bench train|sample", Short: "Time training or sampling steps", Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			return usagef("bench what? train or sample; see diffusion bench --help")
		}}
	c.AddCommand(newBenchMode("train", "Time whole training steps: noise, loss, gradient, clipping, AdamW and moving average"),
		newBenchMode("sample", "Time sampling steps: one run of the model without gradients"))
	return c
}

func newBenchMode(mode, short string) *cobra.Command {
	var f benchFlags
	c := &cobra.Command{
		Use: mode + " --config FILE|PRESET", Short: short, Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return runBench(c, mode, f) },
	}
	p := c.Flags()
	p.StringVar(&f.config, "config", "", "configuration `FILE`, or the name of a preset")
	p.StringArrayVar(&f.sets, "set", nil, "override a key of the configuration: `KEY=VALUE`, repeatable")
	p.IntVar(&f.batch, "batch", 0, "images of a step (default: the configuration's, or 16 for sample)")
	p.IntVar(&f.steps, "steps", 10, "steps to time; the first is left out of the median")
	p.IntVar(&f.threads, "threads", 0, "threads; 0: as many as the system allows")
	p.BoolVar(&f.json, "json", false, "print one JSON object")
	return c
}

func runBench(c *cobra.Command, mode string, f benchFlags) error {
	if err := setThreads(f.threads); err != nil {
		return err
	}
	switch {
	case f.config == "":
		return usagef("--config is missing: a file, or one of the presets %s", strings.Join(configs.Presets(), ", "))
	case f.steps < 2:
		return usagef("--steps %d: it must be at least 2, as the first is left out", f.steps)
	case f.batch < 0:
		return usagef("--batch %d: it must be at least 1, or 0 to choose", f.batch)
	}
	cfg, err := configs.Load(f.config, f.sets)
	if err != nil {
		return err
	}
	if mode == "sample" && cfg.IsClassifier() {
		return usagef("--config %s: it trains a classifier, which is not sampled", f.config)
	}
	info := benchImages(cfg)
	if err := cfg.Fit(info); err != nil {
		return err
	}
	if f.batch > 0 {
		cfg.Train.BatchSize = f.batch
	} else if mode == "sample" {
		cfg.Train.BatchSize = 16
	}
	r := benchResult{Mode: mode, Batch: cfg.Train.BatchSize, Threads: kernel.Threads(), CPU: machine.CPU(), Level: kernel.ThisCPU().Level.String()}
	var times []float64
	var flops float64
	if mode == "train" {
		times, flops, err = benchTrain(c, cfg, info, f.steps, &r)
	} else {
		times, flops, err = benchSample(c, cfg, info, f.steps, &r)
	}
	if err != nil {
		return err
	}
	r.MedianS = median(times[1:])
	r.ImagesPerS = float64(r.Batch) / r.MedianS
	r.GFLOPS = flops / r.MedianS / 1e9
	if r.PeakRSSBytes, err = machine.PeakRSS(); err != nil {
		return err
	}
	if f.json {
		return json.NewEncoder(c.OutOrStdout()).Encode(r)
	}
	w := c.OutOrStdout()
	fmt.Fprintf(w, "%s: %d parameters, batch %d, %d threads, %s (%s)\n", r.Mode, r.Params, r.Batch, r.Threads, r.CPU, r.Level)
	_, err = fmt.Fprintf(w, "median of %d steps %.4f s, %.1f images/s, %.0f GFLOP/s, peak memory %.0f MB\n", len(times)-1, r.MedianS, r.ImagesPerS, r.GFLOPS, float64(r.PeakRSSBytes)/1e6)
	return err
}

// benchImages are the shape that the configuration gives images, or else that of its dataset.
func benchImages(cfg *configs.Config) data.Info {
	info := data.Info{Name: cfg.Data.Dataset, Channels: 1, Height: 28, Width: 28}
	if cfg.Data.Dataset == data.CIFAR10 || cfg.Data.Dataset == data.Folder {
		info.Channels, info.Height, info.Width = 3, 32, 32
	}
	for _, size := range []data.Size{data.Size(cfg.Model.SampleSize), cfg.Data.Size} {
		if size.H > 0 {
			info.Height, info.Width = size.H, size.W
		}
	}
	for _, channels := range []int{cfg.Model.InChannels, cfg.Data.Channels} {
		if channels > 0 {
			info.Channels = channels
		}
	}
	return info
}

// benchLabels are n labels for a class-conditional model; nil for another.
func benchLabels(classes, n int) []int {
	if classes == 0 {
		return nil
	}
	labels := make([]int, n)
	for i := range labels {
		labels[i] = i % classes
	}
	return labels
}

// benchTrain times the steps of a real run on random images, whose directory is thrown away.
func benchTrain(c *cobra.Command, cfg *configs.Config, info data.Info, steps int, r *benchResult) ([]float64, float64, error) {
	dim := info.Channels * info.Height * info.Width
	count := max(1, min(1024, 1<<26/dim))
	pixels := make([]byte, count*dim)
	for i := range pixels {
		pixels[i] = byte(i * 2654435761 >> 13)
	}
	classes := cfg.Model.NumClassEmbeds
	if cfg.IsClassifier() {
		classes = 10
	}
	set, err := data.NewMemory(info, pixels, benchLabels(classes, count))
	if err != nil {
		return nil, 0, err
	}
	dir, err := os.MkdirTemp("", "unstir-bench-")
	if err != nil {
		return nil, 0, err
	}
	defer os.RemoveAll(dir)
	var times []float64
	last := time.Now()
	cfg.Train.Steps, cfg.Train.WarmupSteps = steps, 0
	cfg.Preview.Every, cfg.Checkpoint.Every, cfg.Train.LogEvery = 0, 0, 1<<30
	t, err := train.New(train.Setup{
		Seed: cfg.Seed, Data: set, Flip: cfg.Data.Flip, Model: cfg.Model, Scheduler: cfg.Scheduler, Train: cfg.Train,
		Classifier: classifierOf(cfg), EMA: cfg.EMA, Checkpoint: cfg.Checkpoint, Preview: cfg.Preview, Dir: dir, Version: version(), Discard: true,
		OnStep: func(train.Progress) {
			now := time.Now()
			times = append(times, now.Sub(last).Seconds())
			last = now
		},
	})
	if err != nil {
		return nil, 0, err
	}
	if err := t.Run(c.Context()); err != nil {
		return nil, 0, cmp.Or(c.Context().Err(), err) // a run that is cut short calls itself stopped
	}
	r.Params, r.Slice = t.Parameters(), t.Slice()
	slices := math.Ceil(float64(r.Batch) / float64(r.Slice))
	return times, t.FLOPs() * slices, nil
}

func benchSample(c *cobra.Command, cfg *configs.Config, info data.Info, steps int, r *benchResult) ([]float64, float64, error) {
	m, err := unet.New(cfg.Train.UNet(cfg.Model), cfg.Seed)
	if err != nil {
		return nil, 0, err
	}
	err = machine.Fit(r.Batch, func(n int) (int64, error) { return unet.PredictorMemory(m, n, info.Height, info.Width) })
	if err != nil {
		return nil, 0, fmt.Errorf("--batch %d: %w", r.Batch, err)
	}
	q, err := unet.NewPredictor(m, r.Batch, info.Height, info.Width)
	if err != nil {
		return nil, 0, err
	}
	if labels := benchLabels(cfg.Model.NumClassEmbeds, r.Batch); labels != nil {
		if err := q.SetLabels(labels); err != nil {
			return nil, 0, err
		}
	}
	dim := info.Channels * info.Height * info.Width
	x, out := make([]float64, r.Batch*dim), make([]float64, r.Batch*dim)
	diffusion.InitialNoise(x, cfg.Seed, 0)
	t := make([]int, r.Batch)
	for i := range t {
		t[i] = i * 7 % cfg.Scheduler.NumTrainTimesteps
	}
	model := q.Float64()
	var times []float64
	for range steps {
		start := time.Now()
		if err := model.Predict(c.Context(), out, x, t); err != nil {
			return nil, 0, err
		}
		times = append(times, time.Since(start).Seconds())
	}
	r.Params = m.Params.Count()
	runtime.KeepAlive(out)
	return times, q.Machine().Stats().FLOPs, nil
}

func median(v []float64) float64 {
	s := append([]float64(nil), v...)
	sort.Float64s(s)
	if n := len(s); n%2 == 0 {
		return (s[n/2-1] + s[n/2]) / 2
	}
	return s[len(s)/2]
}
