package diffusion

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"unstir/internal/oneline"
	"unstir/internal/pyjson"
)

// DiffusersVersion is written as _diffusers_version: the version whose files
// and numbers this package was verified against.
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

// ParseConfig reads diffusers' scheduler_config.json, as Python writes it (with -Infinity and NaN), and validates
// it. The classes are DDPMScheduler, DDIMScheduler, DDIMInverseScheduler, DPMSolverMultistepScheduler and
// HeunDiscreteScheduler; Config.Class says which it was. A missing key takes the class's default. A setting that
// would be sampled differently here than in diffusers, and an unknown key that is neither null nor false, is an error
// that names it; keys that begin with "_" are diffusers' own notes.
func ParseConfig(data []byte) (Config, error) {
	if len(data) > maxConfig {
		return Config{}, fmt.Errorf("scheduler config: %d bytes are more than the limit of %d", len(data), maxConfig)
	}
	c, err := parseConfig(pyjson.Standard(data))
	if err != nil {
		return Config{}, oneline.Error(fmt.Errorf("scheduler config: %w", err))
	}
	return c, nil
}

// maxConfig bounds a scheduler_config.json, in bytes: one with the most trained betas is a little shorter.
const maxConfig = 1 << 20

func parseConfig(data []byte) (Config, error) {
	c := Defaults()
	var raw map[string]json.RawMessage
	if err := json.Unmarshal(data, &raw); err != nil {
		return c, fmt.Errorf("not a JSON object: %w", err)
	}
	var k *scheduler
	var err error
	if c.Class, k, err = readClass(raw["_class_name"]); err != nil {
		return c, err
	}
	if k.defaults != nil {
		k.defaults(&c)
	}
	if err := olderKeys(raw); err != nil {
		return c, err
	}
	fields := c.fields()
	for _, key := range slices.Sorted(maps.Keys(raw)) {
		if strings.HasPrefix(key, "_") {
			continue
		}
		value := bytes.TrimSpace(raw[key])
		field, known := fields[key]
		if !known {
			err = k.readKey(&c.Class, key, value)
		} else if string(value) != "null" || !slices.Contains(k.omits, key) { // null for a key of another class is ignored
			err = readField(key, value, field)
		}
		if err != nil {
			return c, err
		}
	}
	if err := c.Validate(); err != nil {
		return c, err
	}
	return c, k.refuse(c)
}

func readField(key string, value json.RawMessage, field any) error {
	if string(value) == "null" && key != "trained_betas" {
		return fmt.Errorf("%s is null; leave it out for the default", key)
	}
	if err := json.Unmarshal(value, field); err != nil {
		return fmt.Errorf("%s = %.60s: want %s", key, value, wanted(field))
	}
	return nil
}

// olderKeys turns predict_epsilon, which early versions of diffusers had, into prediction_type, where that is not
// there already.
func olderKeys(raw map[string]json.RawMessage) error {
	old, ok := raw["predict_epsilon"]
	if !ok {
		return nil
	}
	delete(raw, "predict_epsilon")
	var epsilon *bool // or null
	if err := json.Unmarshal(old, &epsilon); err != nil {
		return fmt.Errorf("predict_epsilon = %.60s: want true or false", old)
	}
	if _, newer := raw["prediction_type"]; epsilon != nil && !newer {
		predicts := Epsilon
		if !*epsilon {
			predicts = SampleX0
		}
		raw["prediction_type"] = json.RawMessage(strconv.Quote(predicts))
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

// JSON is the scheduler_config.json for diffusers' scheduler of the config's class, with every key that the class has,
// sorted. A key that it does not have, which diffusers carries along without using it, is written only where it differs
// from the default, as set_alpha_to_one of a DDPMScheduler.
func (c Config) JSON() ([]byte, error) {
	if err := c.Validate(); err != nil {
		return nil, fmt.Errorf("scheduler config: %w", err)
	}
	k, err := c.Class.scheduler()
	if err != nil {
		return nil, fmt.Errorf("scheduler config: %w", err)
	}
	out := map[string]any{"_class_name": k.name, "_diffusers_version": DiffusersVersion}
	standard := Defaults()
	defaults := standard.fields()
	for key, field := range c.fields() {
		if slices.Contains(k.omits, key) && reflect.DeepEqual(field, defaults[key]) {
			continue
		}
		switch v := field.(type) {
		case *float64:
			out[key] = pyFloat(*v)
		case *[]float64:
			out[key] = pyFloats(*v)
		default:
			out[key] = v
		}
	}
	for key, setting := range k.settings {
		if v := setting(&c.Class).value(); v != nil {
			out[key] = v
		}
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
