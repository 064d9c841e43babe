package diffusion

import (
	"cmp"
	"strings"
)

// Resolve fills in what the options leave to the schedule's config and to the
// sampler: Clip, Spacing and Pairing (unless Timesteps are listed), for ddpm
// Variance, and for dpm++ FinalSigmaMin and LambdaMin.
// New makes the same sampler from the result as from o.
func (s *Schedule) Resolve(sampler string, o Options) Options {
	dpm := strings.HasPrefix(sampler, "dpm++")
	switch {
	case o.Clip != "":
	case sampler == "ddim-inverse":
		o.Clip = s.inverseClip(o)
	case dpm && !s.Config.Thresholding:
		o.Clip = ClipNone
	default:
		o.Clip = s.clipper(o).kind
	}
	if dpm {
		o = s.Config.Class.complete(o)
	}
	if o.Timesteps == nil {
		o.Spacing = s.spacing(o)
		o.Pairing = cmp.Or(o.Pairing, PairStride)
	}
	if sampler == "ddpm" {
		o.Variance = Variance{Set: true, F: s.variance(o)}
	}
	return o
}
