package diffusion

import (
	"fmt"
	"math"
	"slices"
)

// transition is one step of a sampler: from the noise level of t to that of
// prev < t, prev < 0 being the data.
type transition struct{ t, prev int }

// path is the falling list of timesteps that the options ask for, each with
// the next entry of the list as its previous timestep; the last one ends at
// the data.
func (s *Schedule) path(o Options) ([]transition, error) {
	ts, err := s.timesteps(o)
	if err != nil {
		return nil, err
	}
	p := make([]transition, len(ts))
	for k, t := range ts {
		p[k] = transition{t, -1}
		if k+1 < len(ts) {
			p[k].prev = ts[k+1]
		}
	}
	return p, nil
}

// timesteps is the falling list of timesteps that the options ask for.
func (s *Schedule) timesteps(o Options) ([]int, error) {
	if o.Timesteps != nil {
		return slices.Clone(o.Timesteps), nil
	}
	T, S := s.T, o.Steps
	if o.Pairing == PairNext {
		ts := s.spread(o, T, false)
		slices.Reverse(ts)
		return ts, nil
	}
	var ts []int
	switch s.spacing(o) {
	case Leading:
		ts = multiples(S, T/S, s.Config.StepsOffset)
	case Trailing:
		ts = trailing(T, T, S)
	case Linspace:
		ts = rounded(linspace(0, float64(T-1), S))
	case Quad:
		ts = quad(T, S)
	}
	slices.Reverse(ts)
	if err := falling(ts, T); err != nil {
		return nil, fmt.Errorf("%d steps, spacing %s, steps_offset %d: %w; or pairing next, which fits any number of steps", S, s.spacing(o), s.Config.StepsOffset, err)
	}
	return ts, nil
}

// spacing is the options' spacing, or else the config's.
func (s *Schedule) spacing(o Options) Spacing {
	if o.Spacing != "" {
		return o.Spacing
	}
	return Spacing(s.Config.TimestepSpacing)
}

// multiples is offset, offset + stride, ..., n of them.
func multiples(n, stride, offset int) []int {
	ts := make([]int, n)
	for i := range ts {
		ts[i] = i*stride + offset
	}
	return ts
}

// trailing is the rising list of at most S timesteps below top that lie
// multiples of T/S below top-1. Halves round to even after the rounding errors
// of numpy's arange, whose stride is (top - T/S) - top: so the lists are
// diffusers', also where T/S is no whole number.
func trailing(T, top, S int) []int {
	first := float64(top)
	stride := first - float64(T)/float64(S) - first
	var ts []int
	for i := range S {
		if v := first + float64(float64(i)*stride); v > 0 {
			ts = append(ts, int(math.RoundToEven(v))-1)
		}
	}
	slices.Reverse(ts)
	return ts
}

// quad is the rising list of the DDIM paper's section D.2: S numbers evenly
// from 0 to sqrt(0.8 T), squared and cut to whole numbers. Repeats, which come
// where S is large, are left out: a step from t to t changes nothing.
func quad(T, S int) []int {
	ts := make([]int, S)
	for i, v := range linspace(0, math.Sqrt(0.8*float64(T)), S) {
		ts[i] = int(v * v)
	}
	return slices.Compact(ts)
}

// rounded rounds halves to even, as numpy does.
func rounded(x []float64) []int {
	ts := make([]int, len(x))
	for i, v := range x {
		ts[i] = int(math.RoundToEven(v))
	}
	return ts
}

// calls lists where a sampler with one call for each step asks the model.
func calls(path []transition) []int {
	ts := make([]int, len(path))
	for k, p := range path {
		ts[k] = p.t
	}
	return ts
}
