package diffusion

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
)

var allSpacings = []Spacing{Leading, Trailing, Linspace, Quad}

// shortSchedule is one of T steps that ends near pure noise, as the usual ones
// of 1000 do.
func shortSchedule(t *testing.T, betaSchedule string, T int) *Schedule {
	return newSchedule(t, func(c *Config) {
		c.BetaSchedule, c.NumTrainTimesteps = betaSchedule, T
		c.BetaStart, c.BetaEnd = 0.1/float64(T), min(20/float64(T), 0.9)
	})
}

// moments are the mean and the standard deviation.
func moments(x []float64) (mean, sd float64) {
	square, n := 0.0, float64(len(x))
	for _, v := range x {
		mean += v / n
		square += v * v / n
	}
	return mean, math.Sqrt(max(square-mean*mean, 0))
}

// Paired with the next timestep, every sampler turns N(0, 1) into the data's
// distribution in any number of steps from 1 to T and every spacing: no noise
// stays. (Few steps lose some of the spread: they end nearer the mean.)
func TestPairNextSamplesCleanlyInAnyNumberOfSteps(t *testing.T) {
	const mu, sd = 0.4, 0.5
	var every, some []int
	for S := 1; S <= 50; S++ {
		every = append(every, S)
		if S%4 == 3 {
			some = append(some, S)
		}
	}
	for _, c := range []struct {
		betas string
		T     int
		steps []int
	}{
		{"linear", 50, every},
		{"squaredcos_cap_v2", 50, some},
		{"squaredcos_cap_v2", 7, every[:7]},
		{"squaredcos_cap_v2", 1000, []int{3, 60, 350, 501, 600, 1000}},
	} {
		s := shortSchedule(t, c.betas, c.T)
		for _, name := range Names(nil) {
			if name == "ddim-inverse" {
				continue
			}
			for _, spacing := range allSpacings {
				for _, S := range c.steps {
					d := mustNew(t, name, s, Options{Steps: S, Spacing: spacing, Pairing: PairNext, Clip: ClipNone})
					mean, got := moments(mustSample(t, d, gaussian{s, mu, sd}, initial(1, 600, 0)))
					if math.Abs(mean-mu) > 0.05 || got > sd+0.04+0.5/float64(S) || got < sd-0.07-1.8/float64(S) {
						t.Errorf("%s, T = %d, %s, %s, %d steps: mean %.3f, deviation %.3f; want %v, %v", c.betas, c.T, name, spacing, S, mean, got, mu, sd)
					}
				}
			}
		}
	}
}

// What the option is for: in 600 steps diffusers' pairing leaves noise, and
// the option does not. The numbers are diffusers'.
func TestStrideLeavesNoiseWhereItDoesNotTile(t *testing.T) {
	s := newSchedule(t, func(c *Config) { c.BetaSchedule = "squaredcos_cap_v2" })
	for _, c := range []struct {
		name    string
		spacing Spacing
		stride  float64
	}{
		{"ddim", Trailing, 0.66}, {"ddim", Leading, 0.58}, {"dpm++2m", Leading, 0.58}, {"heun", Leading, 0.58},
	} {
		deviation := func(p Pairing) float64 {
			d := mustNew(t, c.name, s, Options{Steps: 600, Spacing: c.spacing, Pairing: p, Clip: ClipNone})
			_, sd := moments(mustSample(t, d, gaussian{s, 0.4, 0.5}, initial(1, 1000, 0)))
			return sd
		}
		if stride, next := deviation(""), deviation(PairNext); !(stride > c.stride && math.Abs(next-0.5) < 0.03) {
			t.Errorf("%s, %s: deviation %.3f by stride, want above %v; %.3f by next, want 0.5", c.name, c.spacing, stride, c.stride, next)
		}
	}
}

// The lists begin at T-1 and have S different timesteps, whatever the spacing,
// steps_offset and sampler; each step ends where the next begins and the last
// one at the data.
func TestPairNextLists(t *testing.T) {
	for _, T := range []int{1, 2, 7, 10, 50, 1000} {
		for _, offset := range []int{0, 1, T / 2, T - 1} {
			if offset >= T {
				continue
			}
			s := newSchedule(t, func(c *Config) { c.NumTrainTimesteps, c.StepsOffset = T, offset })
			for _, name := range Names(nil) {
				for _, spacing := range allSpacings {
					for S := 1; S <= T; S += 1 + S/5 {
						checkNext(t, name, s, Options{Steps: S, Spacing: spacing, Pairing: PairNext})
					}
					checkNext(t, name, s, Options{Steps: T, Spacing: spacing, Pairing: PairNext})
				}
			}
		}
	}
}

func checkNext(t *testing.T, name string, s *Schedule, o Options) {
	t.Helper()
	w := mustNew(t, name, s, o).(walker).walk()
	if falling(w.ts, s.T) != nil || len(w.ts) != o.Steps || w.ts[0] != s.T-1 {
		t.Errorf("%s, T = %d, offset %d, %+v: timesteps %v", name, s.T, s.Config.StepsOffset, o, w.ts)
	}
	for k, end := range w.end {
		if want := append(w.begin, 1)[k+1]; end != want {
			t.Errorf("%s, T = %d, %+v: step %d ends at alphaBar %v, the next begins at %v", name, s.T, o, k, end, want)
		}
	}
	if notes := Notes(name, s, o); len(notes) > 0 {
		t.Errorf("%s, T = %d, %+v: there is something to note: %v", name, s.T, o, notes)
	}
}

func TestPairNextListsByHand(t *testing.T) {
	s := newSchedule(t, nil)
	offset := newSchedule(t, func(c *Config) { c.StepsOffset = 1 })
	ten := newSchedule(t, func(c *Config) { c.NumTrainTimesteps = 10 })
	for _, c := range []struct {
		name string
		s    *Schedule
		o    Options
		want []int
	}{
		{"ddim", s, Options{Steps: 4, Spacing: Leading}, []int{999, 500, 250, 0}},
		{"ddim", offset, Options{Steps: 4, Spacing: Leading}, []int{999, 500, 250, 1}},
		{"ddim", s, Options{Steps: 3, Spacing: Trailing}, []int{999, 666, 332}},
		{"ddim", s, Options{Steps: 4, Spacing: Linspace}, []int{999, 666, 333, 0}},
		{"ddim", s, Options{Steps: 4, Spacing: Quad}, []int{999, 444, 111, 0}},
		{"ddim", ten, Options{Steps: 7, Spacing: Leading}, []int{9, 7, 5, 4, 2, 1, 0}},
		{"ddim", ten, Options{Steps: 7, Spacing: Quad}, []int{9, 6, 4, 3, 2, 1, 0}},
		{"ddim", ten, Options{Steps: 7, Spacing: Trailing}, []int{9, 8, 6, 5, 3, 2, 0}},
		{"ddim-inverse", ten, Options{Steps: 7, Spacing: Trailing}, []int{0, 2, 3, 5, 6, 8, 9}},
		{"dpm++2m", s, Options{Steps: 4, Spacing: Leading}, []int{999, 600, 400, 200}},
		{"dpm++2m", s, Options{Steps: 4, Spacing: Linspace}, []int{999, 749, 500, 250}},
		{"ddpm", s, Options{Steps: 1, Spacing: Leading}, []int{999}},
		{"heun", s, Options{Steps: 2, Spacing: Leading}, []int{999, 0, 0}},
		{"heun", s, Options{Timesteps: []int{900, 30, 4}}, []int{900, 30, 30, 4, 4}},
	} {
		c.o.Pairing = PairNext
		if got := mustNew(t, c.name, c.s, c.o).Timesteps(); !slices.Equal(got, c.want) {
			t.Errorf("%s %+v: %v, want %v", c.name, c.o, got, c.want)
		}
	}
}

// The zero value is diffusers' pairing, by name too.
func TestStrideIsTheDefault(t *testing.T) {
	s := newSchedule(t, nil)
	for _, name := range Names(nil) {
		for _, spacing := range allSpacings {
			o := Options{Steps: 30, Spacing: spacing}
			plain := mustSample(t, mustNew(t, name, s, o), toy{0.9, 0.001}, initial(1, 20, 0))
			o.Pairing = PairStride
			if named := mustSample(t, mustNew(t, name, s, o), toy{0.9, 0.001}, initial(1, 20, 0)); !slices.Equal(plain, named) {
				t.Errorf("%s, %s: stride differs from the default", name, spacing)
			}
		}
	}
}

// Images come back from their encoding in as many steps of the same pairing.
func TestPairNextInversionReturns(t *testing.T) {
	for _, S := range []int{35, 60, 333, 501, 600, 1000} {
		for i, spacing := range append(allSpacings, allSpacings...) {
			s := newSchedule(t, func(c *Config) {
				if i >= len(allSpacings) { // alphaBar_{T-1} is 2e-9
					c.BetaSchedule, c.PredictionType = "squaredcos_cap_v2", VPrediction
				}
			})
			m := gaussian{s: s, mu: 0.2, sd: 0.3}
			b := initial(2, 50, 0)
			for j := range b.X {
				b.X[j] = m.mu + m.sd*b.X[j]
			}
			want := slices.Clone(b.X)
			o := Options{Steps: S, Spacing: spacing, Pairing: PairNext, Refine: 6}
			mustSample(t, mustNew(t, "ddim-inverse", s, o), m, b)
			if _, sd := moments(b.X); math.Abs(sd-1.05) > 0.2 {
				t.Errorf("%s, %d steps, %s: x_T has the deviation %.3f", s.Config.BetaSchedule, S, spacing, sd)
			}
			o.Refine, o.Clip = 0, ClipNone
			if d := relative(mustSample(t, mustNew(t, "ddim", s, o), m, b), want); d > 1e-4 {
				t.Errorf("%s, %d steps, %s: off by %.2g", s.Config.BetaSchedule, S, spacing, d)
			}
		}
	}
}

// On squaredcos_cap_v2 the first step from T-1 divides sigma by hundreds: Heun's
// correction magnifies the noise, a bounded one does not.
func TestBoundedHeunBearsALongFirstStep(t *testing.T) {
	s := newSchedule(t, func(c *Config) { c.BetaSchedule = "squaredcos_cap_v2" })
	deviation := func(p Pairing, spacing Spacing, steps int) float64 {
		d := mustNew(t, "heun", s, Options{Steps: steps, Spacing: spacing, Pairing: p, Clip: ClipNone})
		_, sd := moments(mustSample(t, d, gaussian{s, 0.4, 0.5}, initial(1, 1000, 0)))
		return sd
	}
	for _, spacing := range []Spacing{Trailing, Linspace} {
		for _, steps := range []int{10, 20, 50} {
			if next := deviation(PairNext, spacing, steps); math.Abs(next-0.5) > 0.02 {
				t.Errorf("%s, %d steps: deviation %.3f, want 0.5", spacing, steps, next)
			}
		}
		if plain := deviation(PairStride, spacing, 10); plain < 1 {
			t.Errorf("%s: with Heun's own correction the deviation is %.3f only: is the bound still needed?", spacing, plain)
		}
	}
}

// Where the correction's weight is below the bound, the bound changes nothing.
func TestBoundedHeunIsHeunForShortSteps(t *testing.T) {
	s := newSchedule(t, nil)
	o := Options{Clip: ClipNone}
	for ti := 999; ti > 300; ti -= 20 {
		o.Timesteps = append(o.Timesteps, ti)
	}
	plain := mustSample(t, mustNew(t, "heun", s, o), toy{0.9, 0.001}, initial(1, 20, 0))
	o.Pairing = PairNext
	if bounded := mustSample(t, mustNew(t, "heun", s, o), toy{0.9, 0.001}, initial(1, 20, 0)); !slices.Equal(plain, bounded) {
		t.Error("they differ")
	}
}

// With many steps, what clipping takes from x_0 but not from eps adds up.
func TestPairNextKeepsEpsWithTheClippedX0(t *testing.T) {
	s := newSchedule(t, nil)
	o := Options{Steps: 40, Pairing: PairNext}
	next := mustSample(t, mustNew(t, "ddim", s, o), toy{0.9, 0.001}, initial(1, 20, 0))
	o.RederiveEps = true
	if again := mustSample(t, mustNew(t, "ddim", s, o), toy{0.9, 0.001}, initial(1, 20, 0)); !slices.Equal(next, again) {
		t.Error("RederiveEps changes a run of PairNext")
	}
}

// alphaBar below 2^-24, but not 0, is what the model was trained on: a model
// of eps has to be read by it.
func TestSolversReadEpsByTheSchedulesOwnAlphaBar(t *testing.T) {
	s := newSchedule(t, func(c *Config) { c.BetaSchedule = "squaredcos_cap_v2" })
	if a := s.AlphaBar[s.T-1]; !(a > 0 && a < zeroSNRAlphaBar) {
		t.Fatalf("alphaBar ends at %g", a)
	}
	for _, name := range []string{"ddim", "dpm++1", "dpm++2m", "dpm++2m-heun", "heun"} {
		d := mustNew(t, name, s, Options{Steps: 1, Spacing: Trailing, Clip: ClipNone})
		if mean, _ := moments(mustSample(t, d, gaussian{s, 0.4, 0.5}, initial(1, 100, 0))); math.Abs(mean-0.4) > 1e-3 {
			t.Errorf("%s: one step from pure noise leads to %.3f, want the data's mean 0.4", name, mean)
		}
	}
}

func TestPairingOptions(t *testing.T) {
	for _, p := range []Pairing{PairStride, PairNext} {
		if got, err := ParsePairing(string(p)); got != p || err != nil {
			t.Error(got, err)
		}
	}
	for _, bad := range []string{"", "tile", "Next"} {
		if _, err := ParsePairing(bad); err == nil || !strings.Contains(err.Error(), "must be stride or next") {
			t.Errorf("ParsePairing(%q): %v", bad, err)
		}
	}
	s := newSchedule(t, nil)
	few := newSchedule(t, func(c *Config) { c.StepsOffset = 1 })
	least := -1.0
	for _, c := range []struct {
		name string
		s    *Schedule
		o    Options
		says string
	}{
		{"ddim", s, Options{Steps: 10, Pairing: "tile"}, `pairing "tile" is not possible: it must be stride or next`},
		{"ddim", s, Options{Steps: 0, Pairing: PairNext}, "steps = 0"},
		{"ddim", s, Options{Steps: 1001, Pairing: PairNext}, "steps = 1001"},
		{"ddim", s, Options{Timesteps: []int{900, 4}, Pairing: PairStride}, "exclude each other"},
		{"ddim", few, Options{Steps: 1000}, "or pairing next, which fits any number of steps"},
		{"dpm++2m", s, Options{Steps: 900, Pairing: PairNext, LambdaMin: &least}, "take fewer steps"},
	} {
		if _, err := New(c.name, c.s, c.o); err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s %+v: %v, want an error that says %q", c.name, c.o, err, c.says)
		}
	}
	// From a least lambda on, the list begins there.
	d := mustNew(t, "dpm++2m", s, Options{Steps: 5, Spacing: Linspace, Pairing: PairNext, LambdaMin: &least})
	if ts := d.Timesteps(); len(ts) != 5 || !(-math.Log(s.sigma(ts[0])) >= least && -math.Log(s.sigma(ts[0]+1)) < least) {
		t.Error(fmt.Sprint(ts))
	}
}
