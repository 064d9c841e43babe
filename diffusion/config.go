package diffusion

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"unstir/internal/setting"
)

// Config describes the forward process and the sampler's defaults. Its keys,
// and their meaning, are those of diffusers' DDPMScheduler; set_alpha_to_one
// is DDIMScheduler's, and Class has what the schedulers of other classes add.
// Start from Defaults: the zero value is not valid.
type Config struct {
	NumTrainTimesteps int       `json:"num_train_timesteps" toml:"num_train_timesteps"`               // T; the code counts t from 0 to T-1
	BetaSchedule      string    `json:"beta_schedule" toml:"beta_schedule"`                           // linear, scaled_linear, squaredcos_cap_v2, sigmoid
	BetaStart         float64   `json:"beta_start" toml:"beta_start"`                                 // first beta, unused by squaredcos_cap_v2
	BetaEnd           float64   `json:"beta_end" toml:"beta_end"`                                     // last beta, unused by squaredcos_cap_v2
	TrainedBetas      []float64 `json:"trained_betas" toml:"trained_betas,omitempty"`                 // T betas in place of beta_schedule
	RescaleZeroSNR    bool      `json:"rescale_betas_zero_snr" toml:"rescale_betas_zero_snr"`         // shift the betas to alphaBar_{T-1} = 0
	PredictionType    string    `json:"prediction_type" toml:"prediction_type"`                       // what the model predicts: epsilon, sample (x_0), v_prediction
	VarianceType      string    `json:"variance_type" toml:"variance_type"`                           // of DDPM: fixed_small (betaTilde), fixed_large (beta)
	ClipSample        bool      `json:"clip_sample" toml:"clip_sample"`                               // clip x_0 at each step
	ClipSampleRange   float64   `json:"clip_sample_range" toml:"clip_sample_range"`                   // to [-range, range]
	Thresholding      bool      `json:"thresholding" toml:"thresholding"`                             // dynamic thresholding in place of clip_sample
	ThresholdingRatio float64   `json:"dynamic_thresholding_ratio" toml:"dynamic_thresholding_ratio"` // quantile of |x_0|, in (0, 1]
	SampleMaxValue    float64   `json:"sample_max_value" toml:"sample_max_value"`                     // largest dynamic threshold, >= 1
	TimestepSpacing   string    `json:"timestep_spacing" toml:"timestep_spacing"`                     // leading, trailing, linspace
	StepsOffset       int       `json:"steps_offset" toml:"steps_offset"`                             // added to the timesteps of leading
	SetAlphaToOne     bool      `json:"set_alpha_to_one" toml:"set_alpha_to_one"`                     // DDIM ends at alphaBar = 1, else at alphaBar_0

	Class Class `json:"-" toml:"-"` // of a pipeline's scheduler; the zero value is DDPMScheduler's
}

// What Config's strings may be.
const (
	Epsilon     = "epsilon"      // the model predicts eps
	SampleX0    = "sample"       // the model predicts x_0
	VPrediction = "v_prediction" // the model predicts v = sqrt(alphaBar) eps - sqrt(1-alphaBar) x_0
)

var (
	betaSchedules   = []string{"linear", "scaled_linear", "squaredcos_cap_v2", "sigmoid"}
	predictionTypes = []string{Epsilon, SampleX0, VPrediction}
	// The _log kinds are other parametrisations of the same two variances.
	varianceTypes = []string{"fixed_small", "fixed_small_log", "fixed_large", "fixed_large_log"}
	configSpacing = []string{string(Leading), string(Trailing), string(Linspace)}
)

// Defaults is the config of a new model: DDPMScheduler's defaults.
func Defaults() Config {
	return Config{
		NumTrainTimesteps: 1000,
		BetaSchedule:      "linear",
		BetaStart:         1e-4,
		BetaEnd:           0.02,
		PredictionType:    Epsilon,
		VarianceType:      "fixed_small",
		ClipSample:        true,
		ClipSampleRange:   1,
		ThresholdingRatio: 0.995,
		SampleMaxValue:    1,
		TimestepSpacing:   string(Leading),
		SetAlphaToOne:     true,
	}
}

// Validate returns an error that names the first key with an impossible value,
// the value and what it must be.
func (c Config) Validate() error {
	if c.NumTrainTimesteps < 1 || c.NumTrainTimesteps > 1e6 {
		return wrong("num_train_timesteps", c.NumTrainTimesteps, "from 1 to 1000000")
	}
	for _, e := range []struct {
		key, value string
		values     []string
	}{
		{"beta_schedule", c.BetaSchedule, betaSchedules},
		{"prediction_type", c.PredictionType, predictionTypes},
		{"variance_type", c.VarianceType, varianceTypes},
		{"timestep_spacing", c.TimestepSpacing, configSpacing},
	} {
		if !slices.Contains(e.values, e.value) {
			return wrong(e.key, fmt.Sprintf("%q", e.value), "one of "+strings.Join(e.values, ", "))
		}
	}
	if err := c.validateBetas(); err != nil {
		return err
	}
	switch {
	case !(c.ClipSampleRange > 0) || math.IsInf(c.ClipSampleRange, 0):
		return wrong("clip_sample_range", c.ClipSampleRange, "a number above 0")
	case !(c.ThresholdingRatio > 0 && c.ThresholdingRatio <= 1):
		return wrong("dynamic_thresholding_ratio", c.ThresholdingRatio, "above 0 and up to 1")
	case !(c.SampleMaxValue >= 1):
		return wrong("sample_max_value", c.SampleMaxValue, "1 or more")
	case c.StepsOffset < 0 || c.StepsOffset >= c.NumTrainTimesteps:
		return wrong("steps_offset", c.StepsOffset, fmt.Sprintf("from 0 to num_train_timesteps-1 = %d", c.NumTrainTimesteps-1))
	}
	return nil
}

// maxTrainedBetas keeps a configuration that lists its betas to some 300 KB.
const maxTrainedBetas = 10000

// validateBetas checks what decides the noise schedule.
func (c Config) validateBetas() error {
	if c.TrainedBetas != nil {
		if n := len(c.TrainedBetas); n > maxTrainedBetas {
			return wrong("trained_betas", fmt.Sprintf("%d numbers", n), fmt.Sprintf("at most %d", maxTrainedBetas))
		}
		if len(c.TrainedBetas) != c.NumTrainTimesteps {
			return wrong("trained_betas", fmt.Sprintf("%d numbers", len(c.TrainedBetas)),
				fmt.Sprintf("num_train_timesteps = %d numbers", c.NumTrainTimesteps))
		}
		for t, b := range c.TrainedBetas {
			if !(b > 0 && b < 1) {
				return &setting.Error{Key: "trained_betas", Element: fmt.Sprintf("[%d]", t), Value: fmt.Sprint(b), Want: "it must be above 0 and below 1"}
			}
		}
	} else if c.BetaSchedule != "squaredcos_cap_v2" {
		if !(c.BetaStart > 0 && c.BetaStart < 1) {
			return wrong("beta_start", c.BetaStart, "above 0 and below 1")
		}
		if !(c.BetaEnd >= c.BetaStart && c.BetaEnd < 1) {
			return wrong("beta_end", c.BetaEnd, fmt.Sprintf("beta_start = %v or more, and below 1", c.BetaStart))
		}
	}
	if c.RescaleZeroSNR && c.PredictionType == Epsilon {
		return wrong("rescale_betas_zero_snr", true,
			"false with prediction_type epsilon: at alphaBar = 0, eps says nothing about x_0 (use v_prediction or sample)")
	}
	if c.RescaleZeroSNR && c.NumTrainTimesteps < 2 {
		return wrong("rescale_betas_zero_snr", true, "false with num_train_timesteps 1")
	}
	return nil
}

// wrong is the error of a key whose value cannot be.
func wrong(key string, value any, want string) error {
	return &setting.Error{Key: key, Value: fmt.Sprint(value), Want: "it must be " + want}
}
