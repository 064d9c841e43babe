package diffusion

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
)

// Options are the settings of one sampling run. The zero value of each but
// Steps means: as the schedule's config says.
type Options struct {
	Steps       int      // 1 to T; the number of updates
	Timesteps   []int    // in place of Steps and Spacing: where to call the model, falling, in 0..T-1
	Spacing     Spacing  // how Steps timesteps are spread
	Pairing     Pairing  // where each step ends: as in diffusers, or at the next timestep of the list
	Clip        Clip     // what is done to each guess of x_0
	Eta         float64  // ddim: 0 deterministic .. 1 as noisy as ddpm
	SigmaHat    bool     // ddim: the DDIM paper's larger noise sigma-hat, in place of Eta
	RederiveEps bool     // ddim: take eps from the clipped x_0 (diffusers' use_clipped_model_output)
	Variance    Variance // ddpm: sigma^2 of the noise
	Refine      int      // ddim-inverse: fixed-point iterations of each step; 0: the plain inversion

	// dpm++: end at the noise of t = 0 instead of at none (diffusers'
	// final_sigmas_type "sigma_min"), and begin where log(sqrt(alphaBar) /
	// sqrt(1-alphaBar)) reaches LambdaMin (diffusers' lambda_min_clipped).
	// What is not set follows the config's Class.
	FinalSigmaMin bool
	LambdaMin     *float64
}

// Spacing spreads S timesteps over 0..T-1. The zero value is the config's
// timestep_spacing.
type Spacing string

// The spacings.
const (
	Leading  Spacing = "leading"  // multiples of T/S from 0, plus steps_offset
	Trailing Spacing = "trailing" // multiples of T/S down from T-1
	Linspace Spacing = "linspace" // evenly from T-1 down to 0, both included
	Quad     Spacing = "quad"     // squares of S even numbers up to sqrt(0.8 T): the DDIM paper's for CIFAR-10
)

// Clip says what a sampler does to each guess of x_0 before using it. The
// zero value is the config's clip_sample and thresholding.
type Clip string

// The kinds of clipping.
const (
	ClipNone    Clip = "none"
	ClipStatic  Clip = "static"  // to [-r, r], r = clip_sample_range
	ClipDynamic Clip = "dynamic" // per image: to [-s, s] and divided by s, a quantile of |x_0|
)

// Variance is the choice of sigma_t^2 between the lower bound betaTilde_t
// (F = 0) and the upper bound beta_t (F = 1), interpolated in the logarithm
// (Nichol and Dhariwal 2021, eq. 15). The zero value is the config's
// variance_type.
type Variance struct {
	Set bool
	F   float64 // 0 to 1
}

// The two ends of Variance.
var (
	VariancePosterior = Variance{Set: true, F: 0}
	VarianceBeta      = Variance{Set: true, F: 1}
)

// ParseVariance reads "posterior", "beta" or a number from 0 to 1 between.
func ParseVariance(s string) (Variance, error) {
	switch s {
	case "posterior":
		return VariancePosterior, nil
	case "beta":
		return VarianceBeta, nil
	}
	f, err := strconv.ParseFloat(s, 64)
	if err != nil || !(f >= 0 && f <= 1) {
		return Variance{}, fmt.Errorf("variance %.60q is not possible: it must be posterior, beta, or a number from 0 (posterior) to 1 (beta)", s)
	}
	return Variance{Set: true, F: f}, nil
}

// String is what ParseVariance reads; empty where nothing is set.
func (v Variance) String() string {
	switch {
	case !v.Set:
		return ""
	case v.F == 0:
		return "posterior"
	case v.F == 1:
		return "beta"
	}
	return strconv.FormatFloat(v.F, 'g', -1, 64)
}

// ParseEta reads a number from 0 to 1, or "hat" for the DDIM paper's
// sigma-hat.
func ParseEta(s string) (eta float64, hat bool, err error) {
	if s == "hat" {
		return 0, true, nil
	}
	eta, err = strconv.ParseFloat(s, 64)
	if err != nil || !(eta >= 0 && eta <= 1) {
		return 0, false, fmt.Errorf("eta %.60q is not possible: it must be a number from 0 to 1, or hat", s)
	}
	return eta, false, nil
}

// ParseClip reads "static", "dynamic" or "none".
func ParseClip(s string) (Clip, error) {
	switch c := Clip(s); c {
	case ClipNone, ClipStatic, ClipDynamic:
		return c, nil
	}
	return "", fmt.Errorf("clip %.60q is not possible: it must be static, dynamic, none", s)
}

// ParseSpacing reads "leading", "trailing", "linspace" or "quad".
func ParseSpacing(s string) (Spacing, error) {
	switch p := Spacing(s); p {
	case Leading, Trailing, Linspace, Quad:
		return p, nil
	}
	return "", fmt.Errorf("spacing %.60q is not possible: it must be leading, trailing, linspace, quad", s)
}

// String lists the settings that are not left to their defaults, but for the number of steps, such as "eta 1, spacing trailing".
func (o Options) String() string {
	var list []string
	add := func(set bool, format string, args ...any) {
		if set {
			list = append(list, fmt.Sprintf(format, args...))
		}
	}
	add(o.Timesteps != nil, "timesteps %s", strings.Trim(fmt.Sprint(o.Timesteps), "[]"))
	add(o.Spacing != "", "spacing %s", o.Spacing)
	add(o.Pairing != "", "pairing %s", o.Pairing)
	add(o.Clip != "", "clip %s", o.Clip)
	add(o.Eta != 0, "eta %v", o.Eta)
	add(o.SigmaHat, "eta hat")
	add(o.RederiveEps, "eps of the clipped x_0")
	add(o.Variance.Set, "variance %s", o.Variance)
	add(o.Refine != 0, "refine %d", o.Refine)
	add(o.FinalSigmaMin, "final sigma of t = 0")
	if o.LambdaMin != nil {
		add(true, "least lambda %v", *o.LambdaMin)
	}
	return strings.Join(list, ", ")
}

// check validates the options for a sampler on T timesteps; one that the sampler
// would ignore is an error.
func (o Options) check(T int, of Info) error {
	idle := func(what string, has func(Info) bool) error {
		return fmt.Errorf("%s no meaning here; only %s takes it", what, strings.Join(Names(has), ", "))
	}
	if _, err := ParseClip(string(o.Clip)); err != nil && o.Clip != "" {
		return err
	}
	if _, err := ParseSpacing(string(o.Spacing)); err != nil && o.Spacing != "" {
		return err
	}
	if _, err := ParsePairing(string(o.Pairing)); err != nil && o.Pairing != "" {
		return err
	}
	switch {
	case !(o.Eta >= 0 && o.Eta <= 1):
		return fmt.Errorf("eta = %v is not possible: it must be 0 to 1", o.Eta)
	case o.SigmaHat && o.Eta != 0:
		return fmt.Errorf("eta = %v and sigma-hat exclude each other", o.Eta)
	case (o.SigmaHat || o.Eta != 0) && !of.Eta:
		return idle("eta has", func(i Info) bool { return i.Eta })
	case !(o.Variance.F >= 0 && o.Variance.F <= 1):
		return fmt.Errorf("variance = %v is not possible: it must be 0 (posterior) to 1 (beta)", o.Variance.F)
	case o.Variance.Set && !of.Variance:
		return idle("variance has", func(i Info) bool { return i.Variance })
	case o.Refine < 0:
		return fmt.Errorf("refine = %d is not possible: it must be 0 or more", o.Refine)
	case o.Refine > 0 && !of.Refine:
		return idle("refine has", func(i Info) bool { return i.Refine })
	case (o.FinalSigmaMin || o.LambdaMin != nil) && !of.Lambda:
		return idle("the final sigma, as the least lambda, has", func(i Info) bool { return i.Lambda })
	case o.LambdaMin != nil && math.IsNaN(*o.LambdaMin):
		return errors.New("the least lambda is not a number")
	}
	if o.Timesteps != nil {
		return o.checkTimesteps(T)
	}
	if o.Steps < 1 || o.Steps > T {
		return fmt.Errorf("steps = %d is not possible: it must be 1 to num_train_timesteps = %d", o.Steps, T)
	}
	return nil
}

func (o Options) checkTimesteps(T int) error {
	switch {
	case o.Spacing != "":
		return errors.New("a list of timesteps and a spacing exclude each other")
	case o.Pairing == PairStride:
		return errors.New("a list of timesteps and pairing stride exclude each other: a list is always paired with its next entry")
	case o.LambdaMin != nil:
		return errors.New("a list of timesteps and the least lambda exclude each other")
	case o.Steps != 0 && o.Steps != len(o.Timesteps):
		return fmt.Errorf("steps = %d, but the list of timesteps has %d", o.Steps, len(o.Timesteps))
	case len(o.Timesteps) == 0:
		return errors.New("the list of timesteps is empty")
	}
	return falling(o.Timesteps, T)
}

// falling checks that ts falls strictly within T-1..0.
func falling(ts []int, T int) error {
	for i, t := range ts {
		if t < 0 || t >= T || i > 0 && t >= ts[i-1] {
			list := strings.Trim(fmt.Sprint(ts[:min(len(ts), i+1)]), "[]")
			return fmt.Errorf("timesteps %s: it must be a list that falls from at most T-1 = %d to at least 0 without repeats", list, T-1)
		}
	}
	return nil
}
