package train

import (
	"fmt"
	"math"

	"unstir/internal/setting"
)

// Config is how the weights are trained: the [train] table.
type Config struct {
	Steps        int     `toml:"steps"`         // length of the run; the learning-rate schedule ends there
	BatchSize    int     `toml:"batch_size"`    // images of a step
	Slice        int     `toml:"slice"`         // images that run through the model at a time; 0: by the model's shape
	Optimizer    string  `toml:"optimizer"`     // AdamW or Muon
	LR           float64 `toml:"lr"`            // peak learning rate
	LRSchedule   string  `toml:"lr_schedule"`   // after the warm-up: "constant" or "cosine"
	WarmupSteps  int     `toml:"warmup_steps"`  // steps in which the learning rate rises linearly
	WeightDecay  float64 `toml:"weight_decay"`  // decoupled (AdamW)
	Beta1        float64 `toml:"beta1"`         // decay of the first moment
	Beta2        float64 `toml:"beta2"`         // decay of the second moment
	Eps          float64 `toml:"eps"`           // added to the root of the second moment
	GradClip     float64 `toml:"grad_clip"`     // largest norm of the whole gradient; 0: none
	MinSNRGamma  float64 `toml:"min_snr_gamma"` // min-SNR weighting of the loss (Hang et al., 2023); 0: none
	LabelDropout float64 `toml:"label_dropout"` // probability that an image is trained on without its class; 0: none
	LogEvery     int     `toml:"log_every"`     // steps between lines of log.jsonl, after the first ten
}

// The optimizers.
const (
	// AdamW is that of Loshchilov and Hutter (2019).
	AdamW = "adamw"
	// Muon updates the matrices and filters between the first and the last layer by their orthogonalized momentum
	// (Jordan et al., 2024), scaled so that AdamW's learning rates fit (Liu et al., 2025), and the rest by AdamW. Beta1, Beta2
	// and Eps are AdamW's only.
	Muon = "muon"
)

// EMAConfig is the moving average of the weights that samples are made with: the [ema] table.
type EMAConfig struct {
	Decay  float64 `toml:"decay"`  // in [0, 1)
	Warmup bool    `toml:"warmup"` // start with a short memory: see EMADecay
}

// CheckpointConfig is the [checkpoint] table.
type CheckpointConfig struct {
	Every int `toml:"every"` // steps between checkpoints; 0: only at the end
	Keep  int `toml:"keep"`  // how many of the newest are kept; 0: all
}

// PreviewConfig is the grids of samples made while training: the [preview] table.
type PreviewConfig struct {
	Every   int    `toml:"every"`   // steps between previews; 0: none
	Images  int    `toml:"images"`  // in a grid
	Sampler string `toml:"sampler"` // such as "ddim"
	Steps   int    `toml:"steps"`   // sampling steps
}

// LogConfig is what a run leaves to follow it by, beside log.jsonl and the plot of its loss: the [log] table.
type LogConfig struct {
	TensorBoard bool `toml:"tensorboard"` // an event file with scalars, previews and the configuration
}

// DefaultLog is the [log] table of a configuration that has none.
func DefaultLog() LogConfig { return LogConfig{TensorBoard: true} }

// Defaults are the values of keys that a configuration leaves out. Steps has none: a run must say where it ends.
func Defaults() (Config, EMAConfig, CheckpointConfig, PreviewConfig) {
	return Config{
			BatchSize: 128, Optimizer: AdamW, LR: 2e-4, LRSchedule: "constant", WeightDecay: 0, Beta1: 0.9, Beta2: 0.999, Eps: 1e-8,
			GradClip: 1, LogEvery: 50,
		},
		EMAConfig{Decay: 0.9999, Warmup: true},
		CheckpointConfig{Every: 1000, Keep: 3},
		PreviewConfig{Every: 1000, Images: 64, Sampler: "ddim", Steps: 50}
}

// check is one condition on one key.
type check struct {
	key   string
	value any
	ok    bool
	want  string // what it must be
}

func first(table string, checks []check) error {
	for _, c := range checks {
		if !c.ok {
			return &setting.Error{Table: table, Key: c.key, Value: fmt.Sprint(c.value), Want: "it must be " + c.want}
		}
	}
	return nil
}

func finite(v float64) bool { return !math.IsNaN(v) && !math.IsInf(v, 0) }

// Validate checks the values; an error names the key, its value and what it must be. What weights are multiplied and
// divided by has to be finite in float32, and not 0: a smaller train.eps makes 0/0 of a weight that has no gradient.
func (c Config) Validate() error {
	return first("train", []check{
		{"steps", c.Steps, c.Steps >= 1, "at least 1: the number of training steps has no default"},
		{"batch_size", c.BatchSize, c.BatchSize >= 1, "at least 1"},
		{"slice", c.Slice, c.Slice >= 0, "at least 1, or 0 to choose by the model's shape"},
		{"optimizer", fmt.Sprintf("%q", c.Optimizer), c.Optimizer == AdamW || c.Optimizer == Muon, `"adamw" or "muon"`},
		{"lr", c.LR, c.LR > 0 && finite(c.LR), "a positive number"},
		{"lr", c.LR, c.LR <= 1e20, "at most 1e20"},
		{"lr_schedule", fmt.Sprintf("%q", c.LRSchedule), c.LRSchedule == "constant" || c.LRSchedule == "cosine", `"constant" or "cosine"`},
		{"warmup_steps", c.WarmupSteps, c.WarmupSteps >= 0, "at least 0"},
		{"weight_decay", c.WeightDecay, c.WeightDecay >= 0 && finite(c.WeightDecay), "0 or a positive number"},
		{"beta1", c.Beta1, c.Beta1 >= 0 && c.Beta1 < 1, "in [0, 1)"},
		{"beta2", c.Beta2, c.Beta2 >= 0 && c.Beta2 < 1, "in [0, 1)"},
		{"eps", c.Eps, c.Eps > 0 && finite(c.Eps), "a positive number"},
		{"eps", c.Eps, c.Eps >= 1e-20 && c.Eps <= 1e20, "a number from 1e-20 to 1e20"},
		{"grad_clip", c.GradClip, c.GradClip >= 0 && finite(c.GradClip), "a positive number, or 0 for none"},
		{"min_snr_gamma", c.MinSNRGamma, c.MinSNRGamma >= 0 && finite(c.MinSNRGamma), "a positive number, or 0 for none"},
		{"label_dropout", c.LabelDropout, c.LabelDropout >= 0 && c.LabelDropout < 1, "in [0, 1)"},
		{"log_every", c.LogEvery, c.LogEvery >= 1, "at least 1"},
	})
}

// Validate checks the values; an error names the key, its value and what it must be.
func (c EMAConfig) Validate() error {
	return first("ema", []check{{"decay", c.Decay, c.Decay >= 0 && c.Decay < 1, "in [0, 1)"}})
}

// Validate checks the values; an error names the key, its value and what it must be.
func (c CheckpointConfig) Validate() error {
	return first("checkpoint", []check{
		{"every", c.Every, c.Every >= 0, "at least 1, or 0 for the last step only"},
		{"keep", c.Keep, c.Keep >= 0, "at least 1, or 0 to keep all"},
	})
}

// Validate checks the values, except that of Sampler, which the sampler's own package knows.
func (c PreviewConfig) Validate() error {
	return first("preview", []check{
		{"every", c.Every, c.Every >= 0, "at least 1, or 0 for none"},
		{"images", c.Images, c.Images >= 1 || c.Every == 0, "at least 1"},
		{"steps", c.Steps, c.Steps >= 1 || c.Every == 0, "at least 1"},
	})
}
