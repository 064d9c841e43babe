package diffusion

import (
	"cmp"
	"strings"
)

// Resolve fills in what the options leave to the schedule's config and to the
// sampler: Clip, Spacing and Pairing (unless Timesteps are listed) and, for
// ddpm, Variance.
// New makes the same sampler of the result as of o.
func (s *Schedule) Resolve(sampler string, o Options) Options {
	unclipped := sampler == "ddim-inverse" || strings.HasPrefix(sampler, "dpm++") && !s.Config.Thresholding
	switch {
	case o.Clip != "":
	case unclipped:
		o.Clip = ClipNone
	default:
		o.Clip = s.clipper(o).kind
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
