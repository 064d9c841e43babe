package diffusion

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
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
	sampler  func(Class) string                // the name of its sampler
	defaults func(*Config)                     // diffusers' defaults that differ from DDPMScheduler's; may be nil
	omits    []string                          // keys of Config that it does not have
	fixed    map[string][]string               // values, as JSON, of its keys that have no field: the only ones that mean what is done here
	settings map[string]func(*Class) settingOf // its keys that are fields of Class
	check    func(Config) error                // what else the sampler here does not do; may be nil
}

// schedulers lists the classes of the registry's samplers.
func schedulers() []*scheduler {
	var list []*scheduler
	for _, sp := range registry {
		if sp.class != nil && !slices.Contains(list, sp.class) {
			list = append(list, sp.class)
		}
	}
	return list
}

// settingOf reads and writes one key of Class.
type settingOf struct {
	set    func(raw json.RawMessage) bool // false: the value is not supported
	value  func() any                     // what is written; nil: the key is left out
	wanted string
}

// off are the values of a switch that must be off.
var off = []string{"false", "null"}

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
func (c Class) scheduler() (*scheduler, error) {
	list := schedulers()
	i := slices.IndexFunc(list, func(k *scheduler) bool { return k.name == c.className() })
	if i < 0 {
		return nil, fmt.Errorf("%s is not one of %s", c.Name, strings.Join(classNames(), ", "))
	}
	return list[i], nil
}

func classNames() []string {
	var names []string
	for _, k := range schedulers() {
		names = append(names, k.name)
	}
	return names
}

// Sampler is the name of the class's sampler: what diffusers' pipeline would sample with.
func (c Class) Sampler() string {
	k, err := c.scheduler()
	if err != nil {
		return ddpmSpec.Name
	}
	return k.sampler(c)
}

// readClass finds the class of a scheduler_config.json.
func readClass(raw json.RawMessage) (Class, *scheduler, error) {
	c := Class{}
	if raw != nil {
		if err := json.Unmarshal(raw, &c.Name); err != nil {
			return c, nil, fmt.Errorf("_class_name is %.60s, not a name", raw)
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
func (k *scheduler) readKey(c *Class, key string, raw json.RawMessage) error {
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

// refuse refuses what would be sampled differently here than in diffusers: a key of another class that diffusers ignores
// and that would change the sampler here, and what the class's own check finds.
func (k *scheduler) refuse(c Config) error {
	for _, key := range []struct {
		name string
		on   bool
	}{{"thresholding", c.Thresholding}, {"rescale_betas_zero_snr", c.RescaleZeroSNR}} {
		if key.on && slices.Contains(k.omits, key.name) {
			return fmt.Errorf("%s = true: %s has no such key: leave it out", key.name, k.name)
		}
	}
	if k.check != nil {
		return k.check(c)
	}
	return nil
}
