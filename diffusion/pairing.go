package diffusion

import "fmt"

// Pairing says where the step from a timestep ends. The zero value is
// PairStride.
type Pairing string

// The pairings.
const (
	// PairStride is as in diffusers: spacings as its schedulers have them, and
	// for ddim a step from t to t - T/S (whole-number division), wherever the
	// next timestep of the list lies. Where S does not divide T the two differ,
	// and the noise between them is never removed; and a list may begin far
	// below T-1, though x_T is pure noise. Notes says where that matters.
	PairStride Pairing = "stride"

	// PairNext makes every step end where the next one begins, and the last at
	// the data (ddim's at alphaBar_0 where set_alpha_to_one is false), for every
	// number of steps from 1 to T:
	//
	//   - the list begins at T-1 and has S different timesteps, spread over all
	//     T: leading has steps_offset plus the whole parts of multiples of
	//     (T - steps_offset)/S, quad has its squares end at T-1, and where a
	//     list would repeat a timestep it takes the next lower one. S = 1 is
	//     T-1 in every spacing;
	//   - ddim takes eps from the clipped x_0, as Options.RederiveEps does: what
	//     clipping takes from x_0 alone is noise that the next step does not
	//     know of, and with many steps it adds up;
	//   - heun's correction is bounded where sigma falls to less than half in a
	//     step; see Heun.
	//
	// With Options.Timesteps the list is taken as it is.
	PairNext Pairing = "next"
)

// ParsePairing reads "stride" or "next".
func ParsePairing(s string) (Pairing, error) {
	switch p := Pairing(s); p {
	case PairStride, PairNext:
		return p, nil
	}
	return "", fmt.Errorf("pairing %.60q is not possible: it must be stride or next", s)
}

// spread is the rising list of S timesteps below top for PairNext. Where
// inner is set, S+1 are spread and the lowest is left out, for solvers of
// several steps: from t = 0 to the data the noise falls too far for them.
func (s *Schedule) spread(o Options, top int, inner bool) []int {
	S, offset := o.Steps, min(s.Config.StepsOffset, top-1)
	n, skip := S, 0
	if inner {
		n, skip = S+1, 1
	}
	ts := make([]int, n)
	switch s.spacing(o) {
	case Leading:
		for i := range ts {
			ts[i] = offset + int(int64(i)*int64(top-offset)/int64(n))
		}
	case Trailing:
		ts, skip = trailing(top, top, S), 0
	case Linspace:
		ts = rounded(linspace(0, float64(top-1), n))
	case Quad:
		for i := range ts {
			ts[i] = int(int64(i) * int64(i) * int64(top-1) / max(int64(n-1)*int64(n-1), 1))
		}
	}
	return distinct(ts[skip:], top)
}

// distinct makes a rising list one of different timesteps that ends at top-1:
// from the top down, what is not below its successor is put there. A list of n
// <= top has room for it.
func distinct(ts []int, top int) []int {
	ts[len(ts)-1] = top - 1
	for i := len(ts) - 2; i >= 0; i-- {
		ts[i] = min(max(ts[i], i), ts[i+1]-1)
	}
	return ts
}
