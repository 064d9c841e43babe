package diffusion

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"unstir/internal/oneline"
)

// DiffusersVersion is written as _diffusers_version: the version whose files
// and numbers this package was held against.
const DiffusersVersion = "0.26.3"

// fields maps each key of a scheduler_config.json to its field.
func (c *Config) fields() map[string]any {
	return map[string]any{
		"num_train_timesteps":        &c.NumTrainTimesteps,
		"beta_schedule":              &c.BetaSchedule,
		"beta_start":                 &c.BetaStart,
		"beta_end":                   &c.BetaEnd,
		"trained_betas":              &c.TrainedBetas,
		"rescale_betas_zero_snr":     &c.RescaleZeroSNR,
		"prediction_type":            &c.PredictionType,
		"variance_type":              &c.VarianceType,
		"clip_sample":                &c.ClipSample,
		"clip_sample_range":          &c.ClipSampleRange,
		"thresholding":               &c.Thresholding,
		"dynamic_thresholding_ratio": &c.ThresholdingRatio,
		"sample_max_value":           &c.SampleMaxValue,
		"timestep_spacing":           &c.TimestepSpacing,
		"steps_offset":               &c.StepsOffset,
		"set_alpha_to_one":           &c.SetAlphaToOne,
	}
}

// ParseConfig reads diffusers' scheduler_config.json of a DDPMScheduler or a
// DDIMScheduler and validates it. A missing key takes diffusers' default, a
// key that is not known is an error that names it; keys that begin with "_"
// are diffusers' own notes.
func ParseConfig(data []byte) (Config, error) {
	if len(data) > maxConfig {
		return Config{}, fmt.Errorf("scheduler config: %d bytes are more than the limit of %d", len(data), maxConfig)
	}
	c, err := parseConfig(data)
	if err != nil {
		return Config{}, oneline.Error(err)
	}
	return c, nil
}

// maxConfig bounds a scheduler_config.json, in bytes: that with the most trained betas is a little shorter.
const maxConfig = 1 << 20

func parseConfig(data []byte) (Config, error) {
	c := Defaults()
	var raw map[string]json.RawMessage
	if err := json.Unmarshal(data, &raw); err != nil {
		return Config{}, fmt.Errorf("scheduler config: not a JSON object: %w", err)
	}
	if err := checkClass(raw["_class_name"]); err != nil {
		return Config{}, err
	}
	fields := c.fields()
	for _, key := range slices.Sorted(maps.Keys(raw)) {
		if strings.HasPrefix(key, "_") {
			continue
		}
		field, known := fields[key]
		if !known {
			return Config{}, fmt.Errorf("scheduler config: unknown key %q; known are %s",
				key, strings.Join(slices.Sorted(maps.Keys(fields)), ", "))
		}
		value := bytes.TrimSpace(raw[key])
		if string(value) == "null" && key != "trained_betas" {
			return Config{}, fmt.Errorf("scheduler config: %s is null; leave it out for the default", key)
		}
		if err := json.Unmarshal(value, field); err != nil {
			return Config{}, fmt.Errorf("scheduler config: %s = %.60s: want %s", key, value, wanted(field))
		}
	}
	if err := c.Validate(); err != nil {
		return Config{}, fmt.Errorf("scheduler config: %w", err)
	}
	return c, nil
}

// checkClass refuses the schedulers whose keys mean something else.
func checkClass(raw json.RawMessage) error {
	var class string
	if raw == nil {
		return nil
	}
	if err := json.Unmarshal(raw, &class); err != nil || class != "DDPMScheduler" && class != "DDIMScheduler" {
		return fmt.Errorf("scheduler config: _class_name = %s cannot be read; DDPMScheduler and DDIMScheduler can", raw)
	}
	return nil
}

func wanted(field any) string {
	switch field.(type) {
	case *int:
		return "a whole number"
	case *float64:
		return "a number"
	case *bool:
		return "true or false"
	case *[]float64:
		return "a list of numbers, or null"
	}
	return "a string"
}

// JSON is the scheduler_config.json that diffusers' DDPMScheduler reads:
// every key it knows, sorted. set_alpha_to_one, which DDPMScheduler skips
// silently as DDIMScheduler's, is written only where it is false.
func (c Config) JSON() ([]byte, error) {
	if err := c.Validate(); err != nil {
		return nil, fmt.Errorf("scheduler config: %w", err)
	}
	out := map[string]any{"_class_name": "DDPMScheduler", "_diffusers_version": DiffusersVersion}
	for key, field := range c.fields() {
		switch v := field.(type) {
		case *float64:
			out[key] = pyFloat(*v)
		case *[]float64:
			out[key] = pyFloats(*v)
		default:
			out[key] = v
		}
	}
	if c.SetAlphaToOne {
		delete(out, "set_alpha_to_one")
	}
	data, err := json.MarshalIndent(out, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("scheduler config: %w", err)
	}
	return append(data, '\n'), nil
}

// pyFloat is written so that Python reads a float: 1.0, not 1.
type pyFloat float64

func (f pyFloat) MarshalJSON() ([]byte, error) {
	s := strconv.FormatFloat(float64(f), 'g', -1, 64)
	if !strings.ContainsAny(s, ".e") {
		s += ".0"
	}
	return []byte(s), nil
}

// pyFloats keeps nil apart from an empty list: null is diffusers' default.
func pyFloats(x []float64) []pyFloat {
	if x == nil {
		return nil
	}
	out := make([]pyFloat, len(x))
	for i, v := range x {
		out[i] = pyFloat(v)
	}
	return out
}
