package diffusion

import (
	"context"
	"fmt"
	"math"
	"strconv"
	"strings"
)

// Conditional is a model that predicts by a condition of each image, such as its class, and without one: by the null
// condition, which took its place now and then in training.
type Conditional interface {
	// Predict is by the images' conditions.
	Model
	// PredictNull is Predict by the null condition.
	PredictNull(ctx context.Context, out, x []float64, t []int) error
	// PredictBoth writes what Predict does to out and what PredictNull does to null, in one run of the model.
	PredictBoth(ctx context.Context, out, null, x []float64, t []int) error
}

// Guidance is classifier-free guidance (Ho and Salimans, "Classifier-Free Diffusion Guidance", 2022, eq. 6): in place of what
// the model says of x_t by its condition c, samplers see
//
//	out(x_t, null) + Weight (out(x_t, c) - out(x_t, null))
//
// where out is the model's own output, before it is converted or clipped. For given x_t, eps, x_0 and v are linear in each
// other, so that it is the same guidance whichever the model predicts. The paper's w is Weight-1; diffusers'
// guidance_scale is Weight. For eps it adds Weight-1 times the gradient of log p(c | x_t), of the classifier that the two
// predictions imply, to the score.
type Guidance struct {
	Weight float64 // 0 or more: 0 is the model by the null condition, 1 the model by the condition, more exaggerates

	// Rescale, phi, is the share, 0 to 1, in which the guided output of each image is scaled to the standard deviation of
	// the conditional one, since large weights make images that are too bright and too saturated (Lin et al., "Common
	// Diffusion Noise Schedules and Sample Steps are Flawed", 2023, eq. 15 and 16; the paper's choice is 0.7):
	//
	//	rescaled = guided std(conditional) / std(guided)
	//	out      = phi rescaled + (1-phi) guided
	Rescale float64

	// Interval is where there is guidance; nil: everywhere. At other timesteps the model is asked by the condition alone.
	// (Kynkäänniemi et al., "Applying Guidance in a Limited Interval Improves Sample and Distribution Quality in Diffusion
	// Models", 2024: guidance costs variety where the noise is high, and is of little use where it is low.)
	Interval *Interval

	// KeepEps leaves ddim's eps as the guided model has it where x_0 is clipped, as diffusers' pipelines do by default. Else
	// weights above 1 set Options.RederiveEps: see Complete.
	KeepEps bool
}

// Interval is the timesteps from Low to High, both included.
type Interval struct{ Low, High int }

func (i *Interval) contains(t int) bool { return i == nil || i.Low <= t && t <= i.High }

// GuidanceError says which option of guidance cannot be.
type GuidanceError struct {
	Option string // guidance, guidance-rescale, guidance-interval or null-class
	Value  string
	Reason string // what is wrong, or what would be right
}

func (e *GuidanceError) Error() string { return e.Option + " " + e.Value + ": " + e.Reason }

const (
	weightWanted   = "it must be a number from 0 on, such as 2"
	rescaleWanted  = "it must be a number from 0 to 1"
	intervalWanted = "it must be two timesteps LO,HI, such as 100,800"
)

// Validate checks the options for a model of T timesteps. The error is a *GuidanceError.
func (g Guidance) Validate(T int) error {
	if err := g.check(); err != nil {
		return err
	}
	if i := g.Interval; i != nil && i.High >= T {
		return &GuidanceError{"guidance-interval", i.String(), fmt.Sprintf("the timesteps that the model was trained on are 0 to %d", T-1)}
	}
	return nil
}

// check is Validate without what depends on the model.
func (g Guidance) check() error {
	i := g.Interval
	switch {
	case !(g.Weight >= 0) || math.IsInf(g.Weight, 0):
		return &GuidanceError{"guidance", fmt.Sprint(g.Weight), weightWanted}
	case !(g.Rescale >= 0 && g.Rescale <= 1):
		return &GuidanceError{"guidance-rescale", fmt.Sprint(g.Rescale), rescaleWanted}
	case i != nil && i.Low > i.High:
		return &GuidanceError{"guidance-interval", i.String(), fmt.Sprintf("it holds no timestep, as %d is above %d", i.Low, i.High)}
	case i != nil && i.Low < 0:
		return &GuidanceError{"guidance-interval", i.String(), "timesteps count from 0"}
	}
	return nil
}

// String is what ParseGuidance reads.
func (i *Interval) String() string {
	if i == nil {
		return ""
	}
	return fmt.Sprintf("%d,%d", i.Low, i.High)
}

// ParseGuidance reads a weight, a share of rescaling and an interval "LO,HI" as the program's flags have them; an empty share is
// 0, and an empty interval all timesteps. What depends on the model is left to Validate. The error is a *GuidanceError.
func ParseGuidance(weight, rescale, interval string) (g Guidance, err error) {
	if g.Weight, err = strconv.ParseFloat(weight, 64); err != nil {
		return g, &GuidanceError{"guidance", fmt.Sprintf("%.60q", weight), weightWanted}
	}
	if rescale != "" {
		if g.Rescale, err = strconv.ParseFloat(rescale, 64); err != nil {
			return g, &GuidanceError{"guidance-rescale", fmt.Sprintf("%.60q", rescale), rescaleWanted}
		}
	}
	if interval != "" {
		low, high, ok := strings.Cut(interval, ",")
		var i Interval
		var errLow, errHigh error
		i.Low, errLow = strconv.Atoi(strings.TrimSpace(low))
		i.High, errHigh = strconv.Atoi(strings.TrimSpace(high))
		if !ok || errLow != nil || errHigh != nil {
			return g, &GuidanceError{"guidance-interval", fmt.Sprintf("%.60q", interval), intervalWanted}
		}
		g.Interval = &i
	}
	return g, g.check()
}

// Idle tells that the guided model is the model by its condition.
func (g Guidance) Idle() bool { return g.Weight == 1 }

// nullOnly tells that where there is guidance the guided model is the model by the null condition.
func (g Guidance) nullOnly() bool { return g.Weight == 0 && g.Rescale == 0 }

// Calls tells how a model that is evaluated at the timesteps is asked: by one condition at a time, by both at once, or now one
// and now the other.
func (g Guidance) Calls(timesteps []int) (one, both bool) {
	for _, t := range timesteps {
		if g.Idle() || g.nullOnly() || !g.Interval.contains(t) {
			one = true
		} else {
			both = true
		}
	}
	return one, both
}

// String lists the weight and the settings that are not left to their defaults.
func (g Guidance) String() string {
	s := fmt.Sprintf("guidance %v", g.Weight)
	if g.Rescale != 0 {
		s += fmt.Sprintf(", guidance rescale %v", g.Rescale)
	}
	if g.Interval != nil {
		s += fmt.Sprintf(", guidance interval %v", g.Interval)
	}
	if g.KeepEps {
		s += ", eps of the guided x_0 before clipping"
	}
	return s
}

// Complete adds what guidance needs to the settings of a sampler: ddim takes eps from the clipped x_0, unless KeepEps says
// otherwise. Guidance leads x_0 far out of the images' range, and what clipping takes from x_0 alone spoils the images.
func (g Guidance) Complete(name string, o Options) Options {
	if info, _ := Find(name); info.Eta && g.Weight > 1 && !g.KeepEps {
		o.RederiveEps = true
	}
	return o
}

// Guide is the guided model, of one batch at a time. Where Weight is 1 its predictions are m's, bit for bit.
func (g Guidance) Guide(m Conditional) Model { return &guided{Guidance: g, model: m} }

type guided struct {
	Guidance
	model Conditional
	null  []float64 // [n, Dim]
}

// Predict is Model's.
func (g *guided) Predict(ctx context.Context, out, x []float64, t []int) error {
	inside := 0 // images that are guided
	for _, ti := range t {
		if g.Interval.contains(ti) {
			inside++
		}
	}
	switch {
	case g.Idle() || inside == 0:
		return g.model.Predict(ctx, out, x, t)
	case g.nullOnly() && inside == len(t):
		return g.model.PredictNull(ctx, out, x, t)
	}
	if cap(g.null) < len(out) {
		g.null = make([]float64, len(out))
	}
	null := g.null[:len(out)]
	if err := g.model.PredictBoth(ctx, out, null, x, t); err != nil {
		return err
	}
	dim := len(out) / len(t)
	for i, ti := range t {
		if g.Interval.contains(ti) {
			g.combine(out[i*dim:(i+1)*dim], null[i*dim:(i+1)*dim])
		}
	}
	return nil
}

// combine makes an image's guided output of its conditional one, in place.
func (g Guidance) combine(out, null []float64) {
	conditional := deviation(out)
	for j, n := range null {
		out[j] = n + float64(g.Weight*(out[j]-n))
	}
	if g.Rescale == 0 {
		return
	}
	if guided := deviation(out); guided > 0 { // else there is nothing to scale
		scale := float64(g.Rescale*(conditional/guided)) + (1 - g.Rescale)
		for j := range out {
			out[j] *= scale
		}
	}
}

// deviation is the standard deviation of an image's values, without the bias of their own mean; NaN of a single one.
func deviation(x []float64) float64 {
	n, mean, sum := float64(len(x)), 0.0, 0.0
	for _, v := range x {
		mean += v / n
	}
	for _, v := range x {
		d := v - mean
		sum += float64(d * d)
	}
	return math.Sqrt(sum / (n - 1))
}
