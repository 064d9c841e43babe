package diffusion

import (
	"fmt"
	"math"
	"strings"
	"testing"
)

// invertAndDecode is the largest error of images that were inverted and decoded by DDIM in as many steps.
func invertAndDecode(t *testing.T, s *Schedule, steps, refine int) float64 {
	t.Helper()
	m := gaussian{s: s, mu: 0.2, sd: 0.3}
	b := initial(2, 50, 0)
	want := make([]float64, len(b.X))
	for j := range b.X {
		b.X[j] = m.mu + m.sd*b.X[j]
		want[j] = b.X[j]
	}
	mustSample(t, mustNew(t, "ddim-inverse", s, Options{Steps: steps, Refine: refine}), m, b)
	mustSample(t, mustNew(t, "ddim", s, Options{Steps: steps, Clip: ClipNone}), m, b)
	worst := 0.0
	for j, v := range b.X {
		worst = math.Max(worst, math.Abs(v-want[j]))
	}
	return worst
}

// The plain inversion is of first order: twice the steps, half the error. Each round of refinement multiplies the
// error by less than one, and enough of them leave only rounding, with few steps too.
func TestInversionThenDDIMReturns(t *testing.T) {
	for _, predicts := range []string{Epsilon, VPrediction} {
		c := Defaults()
		c.PredictionType = predicts
		s, err := NewSchedule(c)
		if err != nil {
			t.Fatal(err)
		}
		t.Run(predicts, func(t *testing.T) {
			coarse, fine := invertAndDecode(t, s, 50, 0), invertAndDecode(t, s, 200, 0)
			if !(fine < 0.04 && fine < coarse/3) {
				t.Errorf("without refinement the error is %.2g in 50 steps and %.2g in 200", coarse, fine)
			}
			last := math.Inf(1)
			for _, refine := range []int{0, 1, 3, 10} {
				e := invertAndDecode(t, s, 20, refine)
				if !(e < last) {
					t.Errorf("refine = %d: error %.2g, not less than %.2g", refine, e, last)
				}
				last = e
			}
			if last > 1e-4 {
				t.Errorf("refine = 10 leaves an error of %.2g", last)
			}
			if e := invertAndDecode(t, s, 10, 400); e > 1e-10 {
				t.Errorf("refine = 400 leaves an error of %.2g", e)
			}
		})
	}
}

// Refinement belongs to the inversion, and knows no clipping.
func TestRefineOptions(t *testing.T) {
	s, err := NewSchedule(Defaults())
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		sampler string
		o       Options
		want    string
	}{
		{"ddim", Options{Steps: 10, Refine: 1}, "only ddim-inverse takes it"},
		{"ddim-inverse", Options{Steps: 10, Refine: -1}, "it must be 0 or more"},
		{"ddim-inverse", Options{Steps: 10, Refine: 1, Clip: ClipStatic}, "exclude each other"},
	} {
		t.Run(fmt.Sprint(c.sampler, c.o.Refine), func(t *testing.T) {
			if _, err := New(c.sampler, s, c.o); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v, want one with %q", err, c.want)
			}
		})
	}
}
