package diffusion

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/BurntSushi/toml"
	"github.com/google/go-cmp/cmp"
)

// ddpmKeys is what DDPMScheduler's constructor takes.
var ddpmKeys = []string{
	"beta_end", "beta_schedule", "beta_start", "clip_sample", "clip_sample_range",
	"dynamic_thresholding_ratio", "num_train_timesteps", "prediction_type", "rescale_betas_zero_snr",
	"sample_max_value", "steps_offset", "thresholding", "timestep_spacing", "trained_betas", "variance_type",
}

func TestJSONIsADDPMScheduler(t *testing.T) {
	data, err := Defaults().JSON()
	if err != nil {
		t.Fatal(err)
	}
	var got map[string]any
	if err := json.Unmarshal(data, &got); err != nil {
		t.Fatal(err)
	}
	want := append([]string{"_class_name", "_diffusers_version"}, ddpmKeys...)
	if keys := slices.Sorted(maps.Keys(got)); !slices.Equal(keys, slices.Sorted(slices.Values(want))) {
		t.Errorf("keys %v, want %v", keys, want)
	}
	if got["_class_name"] != "DDPMScheduler" || got["trained_betas"] != nil {
		t.Errorf("wrote %s", data)
	}
	if !strings.Contains(string(data), `"clip_sample_range": 1.0,`) || !strings.Contains(string(data), `"beta_start": 0.0001,`) {
		t.Errorf("floats are not written as Python would: %s", data)
	}
}

// other differs from the defaults in every key.
func other() Config {
	return Config{
		NumTrainTimesteps: 3, BetaSchedule: "sigmoid", BetaStart: 1e-5, BetaEnd: 0.5, TrainedBetas: []float64{0.25, 0.5, 1e-7},
		RescaleZeroSNR: true, PredictionType: VPrediction, VarianceType: "fixed_large", ClipSample: false,
		ClipSampleRange: 2, Thresholding: true, ThresholdingRatio: 0.5, SampleMaxValue: 3,
		TimestepSpacing: "trailing", StepsOffset: 1, SetAlphaToOne: false,
	}
}

func TestConfigRoundTrips(t *testing.T) {
	for name, c := range map[string]Config{"defaults": Defaults(), "other": other()} {
		data, err := c.JSON()
		if err != nil {
			t.Fatal(err)
		}
		got, err := ParseConfig(data)
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(c, got); d != "" {
			t.Errorf("%s through JSON: %s", name, d)
		}
		text, err := toml.Marshal(c)
		if err != nil {
			t.Fatal(err)
		}
		var fromTOML Config
		meta, err := toml.Decode(string(text), &fromTOML)
		if err != nil || len(meta.Undecoded()) > 0 {
			t.Fatal(err, meta.Undecoded())
		}
		if d := cmp.Diff(c, fromTOML); d != "" {
			t.Errorf("%s through TOML: %s", name, d)
		}
	}
}

// Every field has a key in JSON and the same one in TOML.
func TestEveryFieldHasAKey(t *testing.T) {
	c := other()
	data, _ := json.Marshal(c)
	var byTag map[string]any
	if err := json.Unmarshal(data, &byTag); err != nil {
		t.Fatal(err)
	}
	text, _ := toml.Marshal(c)
	var byTOML map[string]any
	if err := toml.Unmarshal(text, &byTOML); err != nil {
		t.Fatal(err)
	}
	want := slices.Sorted(maps.Keys(c.fields()))
	if got := slices.Sorted(maps.Keys(byTag)); !slices.Equal(got, want) {
		t.Errorf("json tags %v, want %v", got, want)
	}
	if got := slices.Sorted(maps.Keys(byTOML)); !slices.Equal(got, want) {
		t.Errorf("toml tags %v, want %v", got, want)
	}
}

// The scheduler_config.json of google/ddpm-cifar10-32, and a DDIMScheduler's.
func TestParsePublishedConfigs(t *testing.T) {
	c, err := ParseConfig([]byte(`{
  "_class_name": "DDPMScheduler", "_diffusers_version": "0.1.1", "beta_end": 0.02, "beta_schedule": "linear",
  "beta_start": 0.0001, "clip_sample": true, "num_train_timesteps": 1000, "trained_betas": null, "variance_type": "fixed_large"}`))
	if err != nil {
		t.Fatal(err)
	}
	want := Defaults()
	want.VarianceType = "fixed_large"
	if d := cmp.Diff(want, c); d != "" {
		t.Error(d)
	}

	c, err = ParseConfig([]byte(`{"_class_name": "DDIMScheduler", "beta_schedule": "scaled_linear", "beta_start": 0.00085, "beta_end": 0.012,
  "clip_sample": false, "set_alpha_to_one": false, "steps_offset": 1}`))
	if err != nil || c.SetAlphaToOne || c.StepsOffset != 1 || c.ClipSample {
		t.Errorf("%+v, %v", c, err)
	}
}

func TestConfigErrorsNameTheKey(t *testing.T) {
	for _, c := range []struct{ json, says string }{
		{`[]`, "not a JSON object"},
		{`{"a_later_key": 2}`, `unknown key "a_later_key" with the value 2`},
		{`{"_class_name": "EulerDiscreteScheduler"}`, "EulerDiscreteScheduler, whose sampler is not supported"},
		{`{"_class_name": "EulerDiscreteScheduler"}`, "DDIMScheduler.from_config"},
		{`{"_class_name": "FlowMatchEulerDiscreteScheduler"}`, `"FlowMatchEulerDiscreteScheduler", which is not supported: it must be one of DDPMScheduler, `},
		{`{"_class_name": 3}`, "_class_name is 3"},
		{`{"beta_schedule": "laplace"}`, `beta_schedule is "laplace"`},
		{`{"beta_schedule": "laplace"}`, "linear, scaled_linear, squaredcos_cap_v2, sigmoid"},
		{`{"variance_type": "learned_range"}`, "fixed_small"},
		{`{"prediction_type": "flow"}`, "v_prediction"},
		{`{"timestep_spacing": "quad"}`, "leading, trailing, linspace"},
		{`{"clip_sample": "yes"}`, `clip_sample = "yes": want true or false`},
		{`{"clip_sample": null}`, "clip_sample is null"},
		{`{"num_train_timesteps": 0}`, "num_train_timesteps is 0"},
		{`{"num_train_timesteps": 1.5}`, "a whole number"},
		{`{"beta_start": 0}`, "beta_start is 0"},
		{`{"beta_start": 0.03}`, "beta_end is 0.02"},
		{`{"trained_betas": [0.1]}`, "trained_betas is 1 numbers"},
		{`{"trained_betas": [0.1, 1.5], "num_train_timesteps": 2}`, "trained_betas[1] is 1.5"},
		{`{"rescale_betas_zero_snr": true}`, "rescale_betas_zero_snr is true"},
		{`{"clip_sample_range": -1}`, "clip_sample_range is -1"},
		{`{"dynamic_thresholding_ratio": 1.5}`, "dynamic_thresholding_ratio is 1.5"},
		{`{"sample_max_value": 0.5}`, "sample_max_value is 0.5"},
		{`{"steps_offset": 1000}`, "steps_offset is 1000"},
	} {
		_, err := ParseConfig([]byte(c.json))
		if err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v, want an error that says %q", c.json, err, c.says)
		}
	}
}

// Each class has its own keys and defaults, says which sampler is its own, and reads what it wrote.
func TestClassesOfSchedulers(t *testing.T) {
	lambda := -5.1
	for text, want := range map[string]struct {
		sampler string
		class   Class
	}{
		`{}`:                                             {"ddpm", Class{}},
		`{"_class_name": "DDPMScheduler"}`:               {"ddpm", Class{}},
		`{"_class_name": "DDIMScheduler"}`:               {"ddim", Class{Name: DDIMScheduler}},
		`{"_class_name": "DDIMInverseScheduler"}`:        {"ddim-inverse", Class{Name: DDIMInverseScheduler}},
		`{"_class_name": "DPMSolverMultistepScheduler"}`: {"dpm++2m", Class{Name: DPMSolverMultistepScheduler}},
		`{"_class_name": "DPMSolverMultistepScheduler", "lambda_min_clipped": -Infinity}`:       {"dpm++2m", Class{Name: DPMSolverMultistepScheduler}},
		`{"_class_name": "DPMSolverMultistepScheduler", "lambda_min_clipped": -5.1}`:            {"dpm++2m", Class{Name: DPMSolverMultistepScheduler, LambdaMin: &lambda}},
		`{"_class_name": "DPMSolverMultistepScheduler", "solver_order": 1}`:                     {"dpm++1", Class{Name: DPMSolverMultistepScheduler, SolverOrder1: true}},
		`{"_class_name": "DPMSolverMultistepScheduler", "solver_type": "heun"}`:                 {"dpm++2m-heun", Class{Name: DPMSolverMultistepScheduler, SolverHeun: true}},
		`{"_class_name": "DPMSolverMultistepScheduler", "final_sigmas_type": "sigma_min"}`:      {"dpm++2m", Class{Name: DPMSolverMultistepScheduler, FinalSigmaMin: true}},
		`{"_class_name": "DPMSolverMultistepScheduler", "lower_order_final": false}`:            {"dpm++2m", Class{Name: DPMSolverMultistepScheduler, KeepOrder: true}},
		`{"_class_name": "DPMSolverMultistepScheduler", "euler_at_final": true, "later": null}`: {"dpm++2m", Class{Name: DPMSolverMultistepScheduler, EulerFinal: true}},
		`{"_class_name": "HeunDiscreteScheduler", "timestep_spacing": "leading"}`:               {"heun", Class{Name: HeunDiscreteScheduler}},
		// Keys of other classes, which diffusers carries along, mean nothing.
		`{"_class_name": "DDIMScheduler", "use_karras_sigmas": true, "solver_order": 3, "sigma_max": 20.0, "interpolation_type": "linear"}`: {"ddim", Class{Name: DDIMScheduler}},
		`{"_class_name": "DDPMScheduler", "tensor_format": "pt", "timestep_values": null, "later_switch": false}`:                           {"ddpm", Class{}},
	} {
		c, err := ParseConfig([]byte(text))
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		if d := cmp.Diff(want.class, c.Class); d != "" || c.Class.Sampler() != want.sampler {
			t.Errorf("%s: %s, %s", text, c.Class.Sampler(), d)
		}
		data, err := c.JSON()
		if err != nil {
			t.Fatal(err)
		}
		again, err := ParseConfig(data)
		if d := cmp.Diff(c, again); err != nil || d != "" {
			t.Errorf("%s is written as %s: %v, %s", text, data, err, d)
		}
	}
	heun, err := ParseConfig([]byte(`{"_class_name": "HeunDiscreteScheduler", "timestep_spacing": "leading"}`))
	if err != nil || heun.BetaStart != 0.00085 || heun.BetaEnd != 0.012 || heun.ClipSample {
		t.Errorf("Heun's defaults: %+v, %v", heun, err)
	}
	if dpm, err := ParseConfig([]byte(`{"_class_name": "DPMSolverMultistepScheduler"}`)); err != nil || dpm.TimestepSpacing != "linspace" {
		t.Errorf("DPM-Solver's defaults: %+v, %v", dpm, err)
	}
	for text, predicts := range map[string]string{
		`{"predict_epsilon": false}`: SampleX0, `{"predict_epsilon": true}`: Epsilon, `{"predict_epsilon": null}`: Epsilon,
		`{"predict_epsilon": false, "prediction_type": "v_prediction"}`: VPrediction,
	} {
		if c, err := ParseConfig([]byte(text)); err != nil || c.PredictionType != predicts {
			t.Errorf("%s predicts %s, %v", text, c.PredictionType, err)
		}
	}
}

// What a class's sampler would do otherwise here than in diffusers is refused by its key and value.
func TestSettingsThatAreNotHereAreRefused(t *testing.T) {
	for _, c := range []struct{ keys, says string }{
		{`"solver_order": 3`, "solver_order = 3"},
		{`"solver_type": "bh2"`, `solver_type = "bh2"`},
		{`"algorithm_type": "dpmsolver"`, `algorithm_type = "dpmsolver"`},
		{`"final_sigmas_type": "x"`, `final_sigmas_type = "x"`},
		{`"lambda_min_clipped": NaN`, `lambda_min_clipped = "NaN"`},
		{`"lambda_min_clipped": Infinity`, `lambda_min_clipped = "Infinity"`},
		{`"lambda_min_clipped": "low"`, `lambda_min_clipped = "low"`},
		{`"use_karras_sigmas": true`, "use_karras_sigmas = true"},
		{`"use_exponential_sigmas": true`, "use_exponential_sigmas = true"},
		{`"use_beta_sigmas": true`, "use_beta_sigmas = true"},
		{`"use_lu_lambdas": true`, "use_lu_lambdas = true"},
		{`"use_flow_sigmas": true`, "use_flow_sigmas = true"},
		{`"use_dynamic_shifting": true`, "use_dynamic_shifting = true"},
		{`"prediction_type": "flow_prediction"`, `prediction_type is "flow_prediction"`},
		{`"beta_schedule": "exp"`, `beta_schedule is "exp"`},
		{`"beta_start": NaN`, `beta_start = "NaN"`},
		{`"a_later_key": 1`, `unknown key "a_later_key"`},
	} {
		_, err := ParseConfig([]byte(`{"_class_name": "DPMSolverMultistepScheduler", ` + c.keys + `}`))
		if err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v, want an error that says %q", c.keys, err, c.says)
		}
	}
	for text, says := range map[string]string{
		`{"_class_name": "HeunDiscreteScheduler"}`:                                                                                             `timestep_spacing = "linspace"`,
		`{"_class_name": "HeunDiscreteScheduler", "timestep_spacing": "trailing"}`:                                                             `timestep_spacing = "trailing"`,
		`{"_class_name": "HeunDiscreteScheduler", "timestep_spacing": "leading", "use_karras_sigmas": true}`:                                   "use_karras_sigmas = true",
		`{"_class_name": "HeunDiscreteScheduler", "timestep_spacing": "leading", "thresholding": true}`:                                        "thresholding = true",
		`{"_class_name": "HeunDiscreteScheduler", "timestep_spacing": "leading", "prediction_type": "sample", "rescale_betas_zero_snr": true}`: "rescale_betas_zero_snr = true",
		`{"_class_name": "DDIMInverseScheduler", "thresholding": true}`:                                                                        "thresholding = true",
		`{"predict_epsilon": 1}`: "predict_epsilon = 1",
	} {
		if _, err := ParseConfig([]byte(text)); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: %v, want an error that says %q", text, err, says)
		}
	}
}
