package diffusion

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
)

func forward(i Info) bool { return !i.Inverts }

// constant is a batch of one image whose guide has the same value everywhere.
func constant(value float64, dim int) *Batch {
	b := initial(1, dim, 0)
	for range dim {
		b.Given = append(b.Given, value)
	}
	return b
}

func meanAndDeviation(x []float64) (mean, deviation float64) {
	for _, v := range x {
		mean += v / float64(len(x))
	}
	for _, v := range x {
		deviation += (v - mean) * (v - mean) / float64(len(x))
	}
	return mean, math.Sqrt(deviation)
}

// Of data N(mu, sd^2) and a guide c, what an exact sampler makes is known: x_t is N(sqrt(alphaBar) c, 1-alphaBar), and
// from there the ODE keeps its quantile, while ancestral sampling draws from q(x_0 | x_t).
func TestSDEditOfAGaussian(t *testing.T) {
	const mu, sd, guide, dim = 0.4, 0.5, -0.7, 4000
	s := newSchedule(t, nil)
	g := gaussian{s, mu, sd}
	for _, name := range Names(forward) {
		for _, strength := range []float64{0.1, 0.3, 0.6, 1} {
			o := Options{Steps: 200, Clip: ClipNone, Spacing: Trailing}
			e, err := NewSDEdit(name, s, o, strength)
			if err != nil {
				t.Fatal(err)
			}
			a := s.AlphaBar[e.Timesteps()[0]]
			v := a*sd*sd + 1 - a // the variance of x_t
			mean, deviation := g.flow(math.Sqrt(a)*guide, a, 1), sd*math.Sqrt((1-a)/v)
			if info, _ := Find(name); info.Noisy {
				slope := math.Sqrt(a) * sd * sd / v // of E[x_0 | x_t]
				mean, deviation = g.x0(math.Sqrt(a)*guide, a), math.Sqrt(slope*slope*(1-a)+sd*sd*(1-a)/v)
			}
			gotMean, gotDeviation := meanAndDeviation(mustSample(t, e, g, constant(guide, dim)))
			if math.Abs(gotMean-mean) > 0.02 || math.Abs(gotDeviation-deviation) > 0.02 {
				t.Errorf("%s, strength %v: mean %.4f, deviation %.4f; want %.4f, %.4f", name, strength, gotMean, gotDeviation, mean, deviation)
			}
		}
	}
}

// Strength 0 returns the guide's bits without asking the model; strength 1 begins at the first timestep.
func TestStrengthChoosesTheFirstStep(t *testing.T) {
	s := newSchedule(t, nil)
	for _, name := range Names(forward) {
		o := Options{Steps: 50, Spacing: Leading}
		whole := mustNew(t, name, s, o).Timesteps()
		calls := len(whole)/50 + len(whole)%2 // of a step; heun's last has one
		for strength, steps := range map[float64]int{0: 0, 0.019: 0, 0.02: 1, 0.58: 28, 0.99: 49, 1: 50} {
			e, err := NewSDEdit(name, s, o, strength)
			if err != nil {
				t.Fatal(err)
			}
			ts := e.Timesteps()
			if want := max(0, steps*calls-len(whole)%2); len(ts) != want || !slices.Equal(ts, whole[len(whole)-want:]) {
				t.Errorf("%s, strength %v: timesteps %v, want the last %d steps", name, strength, ts, steps)
			}
			if steps > 0 {
				continue
			}
			b := initial(2, 3, 0)
			b.Given = []float64{0.25, math.Copysign(0, -1), -1, 1, 1e-40, 0.1}
			if got := mustSample(t, e, nil, b); !slices.EqualFunc(got, b.Given, sameBits) {
				t.Errorf("%s, strength %v: %v, want the guide %v", name, strength, got, b.Given)
			}
		}
	}
}

func sameBits(a, b float64) bool { return math.Float64bits(a) == math.Float64bits(b) }

// A step of a run that begins later draws the noise that it draws in the whole run.
func TestSDEditKeepsTheNoiseOfASteps(t *testing.T) {
	s := newSchedule(t, nil)
	drawn := func(strength float64) (steps []int) {
		e, err := NewSDEdit("ddpm", s, Options{Steps: 10}, strength)
		if err != nil {
			t.Fatal(err)
		}
		z := func(dst []float64, _, step int) { steps = append(steps, step) }
		if err := e.Sample(t.Context(), toy{0.9, 0.001}, constant(0.1, 1), z, nil); err != nil {
			t.Fatal(err)
		}
		return steps
	}
	if got, want := fmt.Sprint(drawn(1), drawn(0.3)), "[0 1 2 3 4 5 6 7 8] [7 8]"; got != want {
		t.Errorf("strengths 1 and 0.3 draw the noise of steps %s, want %s", got, want)
	}
}

func TestSDEditRefuses(t *testing.T) {
	s := newSchedule(t, nil)
	for _, strength := range []float64{-0.1, 1.01, math.NaN(), math.Inf(1)} {
		if _, err := NewSDEdit("ddim", s, Options{Steps: 10}, strength); err == nil || !strings.Contains(err.Error(), "from 0") {
			t.Errorf("strength %v: %v", strength, err)
		}
	}
	_, err := NewSDEdit("ddim-inverse", s, Options{Steps: 10}, 0.5)
	var undefined *UndefinedError
	if !errors.As(err, &undefined) || !slices.Equal(undefined.Defined, Names(forward)) {
		t.Errorf("of an inversion: %v", err)
	}
	if _, err := NewSDEdit("ddim", s, Options{}, 0.5); err == nil {
		t.Error("no steps: no error")
	}
	e, err := NewSDEdit("ddim", s, Options{Steps: 10}, 0.5)
	if err != nil {
		t.Fatal(err)
	}
	if err := e.Sample(t.Context(), toy{0.9, 0.001}, initial(1, 3, 0), nil, nil); err == nil {
		t.Error("a batch without guides: no error")
	}
}

// A run that begins at an image is noted for what its own steps do, and not for beginning below pure noise.
func TestNotesOfSDEdit(t *testing.T) {
	s := newSchedule(t, func(c *Config) { c.BetaSchedule = "squaredcos_cap_v2" })
	for _, c := range []struct {
		name     string
		o        Options
		strength float64
		whole    bool   // the sampler alone is noted
		want     string // in SDEdit's note; none where it is empty
	}{
		{"ddim", Options{Steps: 50, Spacing: Leading}, 0.5, false, ""},
		{"ddim", Options{Steps: 50, Spacing: Quad}, 1, true, ""},             // begins at 0.8 T
		{"dpm++2m", Options{Steps: 100, Spacing: Leading}, 1, true, ""},      // begins at t = 900
		{"ddim", Options{Steps: 350, Spacing: Trailing}, 0.8, true, "pairs"}, // each step ends where the next does not begin
		{"ddim", Options{Steps: 50, Spacing: Leading}, 0.01, false, "leaves none of the 50 steps"},
		{"ddim", Options{Steps: 50, Spacing: Leading}, 0, false, ""},
		{"ddim", Options{Steps: 50, Spacing: Leading}, 2, false, ""},
	} {
		notes := SDEditNotes(c.name, s, c.o, c.strength)
		if got := len(Notes(c.name, s, c.o)) > 0; got != c.whole {
			t.Errorf("%s, %+v: the whole run is noted: %v", c.name, c.o, got)
		}
		if (len(notes) > 0) != (c.want != "") || len(notes) > 0 && !strings.Contains(notes[0].Problem, c.want) {
			t.Errorf("%s, %+v, strength %v: %v, want %q", c.name, c.o, c.strength, notes, c.want)
		}
	}
}
