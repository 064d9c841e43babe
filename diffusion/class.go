package diffusion

import (
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"

	"unstir/internal/pyjson"
)

// The classes of diffusers' schedulers that are supported.
const (
	DDPMScheduler               = "DDPMScheduler"
	DDIMScheduler               = "DDIMScheduler"
	DDIMInverseScheduler        = "DDIMInverseScheduler"
	DPMSolverMultistepScheduler = "DPMSolverMultistepScheduler"
	HeunDiscreteScheduler       = "HeunDiscreteScheduler"
)

// Class is what a scheduler_config.json has beyond Config's keys: the scheduler's class, which decides the model's
// default sampler, and the settings of that sampler. The zero value is DDPMScheduler, the class of new models.
type Class struct {
	Name string // of diffusers' class; "" is DDPMScheduler

	// Of DPMSolverMultistepScheduler, for the samplers dpm++.
	SolverOrder1  bool     // solver_order 1, not 2
	SolverHeun    bool     // solver_type "heun", not "midpoint"
	FinalSigmaMin bool     // final_sigmas_type "sigma_min", not "zero"
	EulerFinal    bool     // euler_at_final: the last step is of first order
	KeepOrder     bool     // lower_order_final false: the last step of a short run is of second order too
	LambdaMin     *float64 // lambda_min_clipped; nil: none, -Infinity
}

// scheduler is how one class of schedulers is read.
type scheduler struct {
	name     string
	sampler  func(Class) string
	defaults func(*Config)                     // diffusers' defaults that differ from DDPMScheduler's; may be nil
	omits    []string                          // keys of Config that it does not have
	fixed    map[string][]string               // values, as JSON, of its keys that have no field: the only ones that mean what is done here
	settings map[string]func(*Class) settingOf // its keys that are fields of Class
}

// settingOf reads and writes one key of Class.
type settingOf struct {
	set    func(raw json.RawMessage) bool // false: the value is not supported
	value  func() any                     // what is written; nil: the key is left out
	wanted string
}

func always(sampler string) func(Class) string { return func(Class) string { return sampler } }

// off are the values of a switch that must be off.
var off = []string{"false", "null"}

var schedulers = []scheduler{
	{name: DDPMScheduler, sampler: always("ddpm"), omits: []string{"set_alpha_to_one"}},
	{name: DDIMScheduler, sampler: always("ddim"), omits: []string{"variance_type"}},
	{
		name: DDIMInverseScheduler, sampler: always("ddim-inverse"),
		omits: []string{"variance_type", "thresholding", "dynamic_thresholding_ratio", "sample_max_value"},
	},
	{
		name: DPMSolverMultistepScheduler,
		sampler: func(c Class) string {
			switch {
			case c.SolverOrder1:
				return "dpm++1"
			case c.SolverHeun:
				return "dpm++2m-heun"
			}
			return "dpm++2m"
		},
		defaults: func(c *Config) { c.TimestepSpacing = string(Linspace) },
		omits:    []string{"clip_sample", "clip_sample_range", "set_alpha_to_one", "variance_type"},
		fixed: map[string][]string{
			"algorithm_type":         {`"dpmsolver++"`},
			"use_karras_sigmas":      off,
			"use_exponential_sigmas": off,
			"use_beta_sigmas":        off,
			"use_lu_lambdas":         off,
			"use_flow_sigmas":        off,
			"use_dynamic_shifting":   off,
		},
		settings: map[string]func(*Class) settingOf{
			"solver_order":       func(c *Class) settingOf { return choice(&c.SolverOrder1, 2, 1) },
			"solver_type":        func(c *Class) settingOf { return choice(&c.SolverHeun, "midpoint", "heun") },
			"final_sigmas_type":  func(c *Class) settingOf { return choice(&c.FinalSigmaMin, "zero", "sigma_min") },
			"euler_at_final":     func(c *Class) settingOf { return choice(&c.EulerFinal, false, true) },
			"lower_order_final":  func(c *Class) settingOf { return choice(&c.KeepOrder, true, false) },
			"lambda_min_clipped": lambdaMin,
		},
	},
	{
		name: HeunDiscreteScheduler, sampler: always("heun"),
		defaults: func(c *Config) {
			c.BetaStart, c.BetaEnd, c.ClipSample, c.TimestepSpacing = 0.00085, 0.012, false, string(Linspace)
		},
		omits: []string{
			"variance_type", "set_alpha_to_one", "rescale_betas_zero_snr", "thresholding", "dynamic_thresholding_ratio", "sample_max_value",
		},
		fixed: map[string][]string{"use_karras_sigmas": off, "use_exponential_sigmas": off, "use_beta_sigmas": off},
	},
}

// choice is a key with two values, stored as a bool: no is false, yes is true.
func choice(field *bool, no, yes any) settingOf {
	text := func(v any) string {
		out, _ := json.Marshal(v) // a number, a string or a bool
		return string(out)
	}
	return settingOf{
		set: func(raw json.RawMessage) bool {
			*field = string(raw) == text(yes)
			return *field || string(raw) == text(no)
		},
		value: func() any {
			if *field {
				return yes
			}
			return no
		},
		wanted: text(no) + " or " + text(yes),
	}
}

func lambdaMin(c *Class) settingOf {
	return settingOf{
		set: func(raw json.RawMessage) bool {
			v, ok := pyjson.Float(raw)
			if c.LambdaMin = nil; !math.IsInf(v, -1) {
				c.LambdaMin = &v
			}
			return ok && !math.IsNaN(v) && !math.IsInf(v, 1)
		},
		value: func() any {
			if c.LambdaMin == nil {
				return nil // JSON has no -Infinity, which is diffusers' default
			}
			return pyFloat(*c.LambdaMin)
		},
		wanted: "a number or -Infinity",
	}
}

// related are diffusers' schedulers for the same models as those above whose samplers are not supported. foreign are the
// keys of all of these that diffusers carries along when it makes a scheduler from the config of another class: a class
// that lacks them ignores them.
var (
	related = []string{
		"PNDMScheduler", "LMSDiscreteScheduler", "EulerDiscreteScheduler", "EulerAncestralDiscreteScheduler",
		"DPMSolverSinglestepScheduler", "KDPM2DiscreteScheduler", "KDPM2AncestralDiscreteScheduler", "DEISMultistepScheduler",
		"UniPCMultistepScheduler", "DPMSolverSDEScheduler", "DDPMParallelScheduler", "DDIMParallelScheduler",
		"DPMSolverMultistepInverseScheduler", "RePaintScheduler", "SASolverScheduler",
	}
	foreign = []string{
		"algorithm_type", "disable_corrector", "euler_at_final", "final_sigmas_type", "flow_shift", "interpolation_type",
		"lambda_min_clipped", "lower_order_final", "noise_sampler_seed", "predict_x0", "shift_terminal", "sigma_max", "sigma_min",
		"skip_prk_steps", "solver_order", "solver_p", "solver_type", "time_shift_type", "timestep_type", "use_beta_sigmas",
		"use_dynamic_shifting", "use_exponential_sigmas", "use_flow_sigmas", "use_karras_sigmas", "use_lu_lambdas",
		"eta",
		"tensor_format", "timestep_values", "set_alpha_to_zero", // of diffusers before 0.3
	}
)

// className is diffusers' name of the class.
func (c Class) className() string {
	if c.Name == "" {
		return DDPMScheduler
	}
	return c.Name
}

// scheduler is how the class is read.
func (c Class) scheduler() (scheduler, error) {
	i := slices.IndexFunc(schedulers, func(k scheduler) bool { return k.name == c.className() })
	if i < 0 {
		return scheduler{}, fmt.Errorf("%s is not one of %s", c.Name, strings.Join(classNames(), ", "))
	}
	return schedulers[i], nil
}

func classNames() []string {
	var names []string
	for _, k := range schedulers {
		names = append(names, k.name)
	}
	return names
}

// Sampler is the name of the class's sampler: what diffusers' pipeline would sample with.
func (c Class) Sampler() string {
	k, err := c.scheduler()
	if err != nil {
		return "ddpm"
	}
	return k.sampler(c)
}

// complete fills in the options of a dpm++ sampler that are not set from the class.
func (c Class) complete(o Options) Options {
	o.FinalSigmaMin = o.FinalSigmaMin || c.FinalSigmaMin
	if o.LambdaMin == nil && o.Timesteps == nil {
		o.LambdaMin = c.LambdaMin
	}
	return o
}

// readClass finds the class of a scheduler_config.json.
func readClass(raw json.RawMessage) (Class, scheduler, error) {
	c := Class{}
	if raw != nil {
		if err := json.Unmarshal(raw, &c.Name); err != nil {
			return c, scheduler{}, fmt.Errorf("_class_name is %.60s, not a name", raw)
		}
	}
	if c.Name == DDPMScheduler {
		c.Name = ""
	}
	k, err := c.scheduler()
	switch {
	case err == nil:
		return c, k, nil
	case slices.Contains(related, c.Name):
		return c, k, fmt.Errorf("_class_name is %s, whose sampler is not supported: give the pipeline another scheduler, in Python by "+
			"pipeline.scheduler = DDIMScheduler.from_config(pipeline.scheduler.config), and save it again (supported: %s)",
			c.Name, strings.Join(classNames(), ", "))
	}
	return c, k, fmt.Errorf("_class_name is %.60q, which is not supported: it must be one of %s",
		c.Name, strings.Join(classNames(), ", "))
}

// readKey reads a key that is not one of Config's.
func (k scheduler) readKey(c *Class, key string, raw json.RawMessage) error {
	if setting, ok := k.settings[key]; ok {
		if s := setting(c); !s.set(raw) {
			return fmt.Errorf("%s = %.60s: the sampler of %s here takes %s", key, raw, k.name, s.wanted)
		}
		return nil
	}
	if values, ok := k.fixed[key]; ok {
		if !slices.Contains(values, string(raw)) {
			return fmt.Errorf("%s = %.60s: the sampler of %s here takes %s only", key, raw, k.name, values[0])
		}
		return nil
	}
	// A later version of diffusers adds keys; one that is off changes nothing.
	if slices.Contains(foreign, key) || slices.Contains(off, string(raw)) {
		return nil
	}
	known := slices.Sorted(maps.Keys((&Config{}).fields()))
	known = append(known, slices.Sorted(maps.Keys(k.settings))...)
	known = append(known, slices.Sorted(maps.Keys(k.fixed))...)
	return fmt.Errorf("unknown key %.80q with the value %.60s; known are %s", key, raw, strings.Join(known, ", "))
}

// check refuses what would be sampled differently here than in diffusers: a key of another class that diffusers ignores
// and that would change the sampler here, and timesteps that the samplers here do not have.
func (k scheduler) check(c Config) error {
	if k.name != HeunDiscreteScheduler && k.name != DDIMInverseScheduler {
		return nil
	}
	for _, key := range []struct {
		name string
		on   bool
	}{{"thresholding", c.Thresholding}, {"rescale_betas_zero_snr", c.RescaleZeroSNR}} {
		if key.on && slices.Contains(k.omits, key.name) {
			return fmt.Errorf("%s = true: %s has no such key: leave it out", key.name, k.name)
		}
	}
	if k.name == HeunDiscreteScheduler && c.TimestepSpacing != string(Leading) {
		return fmt.Errorf("timestep_spacing = %q: with it %s begins with another x_T, or asks the model at fractional timesteps; "+
			"the sampler here takes %q: save the pipeline with HeunDiscreteScheduler.from_config(pipeline.scheduler.config, timestep_spacing=%q)",
			c.TimestepSpacing, k.name, Leading, Leading)
	}
	return nil
}
