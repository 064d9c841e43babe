package diffusion

import "cmp"

// Resolve fills in what the options leave to the schedule's config and to the
// sampler: Clip, Spacing and Pairing (unless Timesteps are listed), for ddpm
// Variance, and for dpm++ FinalSigmaMin and LambdaMin.
// New makes the same sampler from the result as from o.
func (s *Schedule) Resolve(sampler string, o Options) Options {
	if sp := find(sampler); sp != nil && sp.resolve != nil {
		o = sp.resolve(s, o)
	}
	o.Clip = cmp.Or(o.Clip, s.clipper(o).kind)
	if o.Timesteps == nil {
		o.Spacing = s.spacing(o)
		o.Pairing = cmp.Or(o.Pairing, PairStride)
	}
	return o
}
