package diffusion

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
)

// pair is the exact model of data of two numbers: both N(0, sd^2), with the correlation rho.
type pair struct {
	s       *Schedule
	sd, rho float64
}

// Predict is exact in the sum and the difference of the two, which are independent.
func (p pair) Predict(_ context.Context, out, x []float64, ts []int) error {
	for i, t := range ts {
		a := p.s.AlphaBar[t]
		eps := func(x, variance float64) float64 { return x * math.Sqrt(1-a) / (a*variance + 1 - a) }
		sum := eps(x[2*i]+x[2*i+1], p.sd*p.sd*(1+p.rho))
		difference := eps(x[2*i]-x[2*i+1], p.sd*p.sd*(1-p.rho))
		out[2*i], out[2*i+1] = (sum+difference)/2, (sum-difference)/2
	}
	return nil
}

// repainted is the exact distribution of the second number when RePaint with ddpm on the timesteps ts fills it in beside
// the first, which is known: every move is linear, so the mean and the covariance of x go through each.
func (p pair) repainted(ts []int, jump, resample int, known float64) (mean, deviation float64) {
	steps := len(ts)
	alphaBar := func(left int) float64 { // with so many steps left
		if left == 0 {
			return 1
		}
		return p.s.AlphaBar[ts[steps-left]]
	}
	backs := map[int]int{}
	for left := 0; left < steps-jump; left += jump {
		backs[left] = resample - 1
	}
	m, v := [2]float64{}, [2]float64{1, 1} // of both numbers, and the covariance
	var cov float64
	for left := steps; left > 0; {
		a, b := alphaBar(left), alphaBar(left-1)
		beta := 1 - a/b
		// x_0 is guessed as k0 times this number of x_t and k1 times the other.
		gain := func(variance float64) float64 { return math.Sqrt(a) * variance / (a*variance + 1 - a) }
		sum, difference := gain(p.sd*p.sd*(1+p.rho)), gain(p.sd*p.sd*(1-p.rho))
		k0, k1 := (sum+difference)/2, (sum-difference)/2
		w := math.Sqrt(b) * beta / (1 - a)
		own, other := w*k0+math.Sqrt(a/b)*(1-b)/(1-a), w*k1
		m[1], v[1] = other*m[0]+own*m[1], other*other*v[0]+2*own*other*cov+own*own*v[1]+(1-b)/(1-a)*beta
		m[0], v[0], cov = math.Sqrt(b)*known, 1-b, 0
		left--
		if backs[left] > 0 {
			backs[left]--
			q := alphaBar(left+jump) / alphaBar(left)
			for i := range 2 {
				m[i], v[i] = math.Sqrt(q)*m[i], q*v[i]+1-q
			}
			cov *= q
			left += jump
		}
	}
	return m[1], math.Sqrt(v[1])
}

// RePaint has the distribution that a calculation gives for it, and with the paper's settings that is near the
// conditional one, which is known of a Gaussian: the mean of the second number given the first, c, is rho c. Without going
// back it is far from it, and the nearer the more often the run goes back.
func TestRePaintOfAGaussian(t *testing.T) {
	const known, n, steps = 0.6, 1000, 250
	p := pair{newSchedule(t, nil), 0.8, 0.9}
	exact := p.rho * known
	o := Options{Steps: steps, Clip: ClipNone}
	ts := mustNew(t, "ddpm", p.s, o).Timesteps()
	var off []float64
	for _, resample := range []int{1, 3, 10, 100} {
		mean, _ := p.repainted(ts, 10, resample, known)
		off = append(off, math.Abs(mean-exact))
	}
	if !(off[0] > 0.15 && off[1] < off[0]/2 && off[2] < 0.02 && off[3] < 0.01) {
		t.Errorf("going back 0, 2, 9 and 99 times the mean is off by %.3f", off)
	}
	for _, c := range []struct {
		name     string
		eta      float64
		resample int
		limit    float64 // from ddpm's
	}{{"ddpm", 0, 1, 0}, {"ddpm", 0, 10, 0}, {"ddim", 0, 10, 0.03}, {"heun", 0, 10, 0.05}} {
		o.Eta = c.eta
		r, err := NewRePaint(c.name, p.s, o, RePaintOptions{Fill: []bool{false, true}, Resample: c.resample})
		if err != nil {
			t.Fatal(err)
		}
		b := initial(n, 2, 0)
		b.Given = make([]float64, 2*n)
		for i := range n {
			b.Given[2*i] = known
		}
		filled := make([]float64, n)
		for i, x := range mustSample(t, r, p, b) {
			filled[i/2] = x // the second of each two
		}
		mean, deviation := meanAndDeviation(filled)
		want, wantDeviation := p.repainted(ts, 10, c.resample, known)
		limit := c.limit + 4*wantDeviation/math.Sqrt(n)
		if math.Abs(mean-want) > limit || math.Abs(deviation-wantDeviation) > limit {
			t.Errorf("%s, eta %v, run %d times: mean %.4f, deviation %.4f; want %.4f, %.4f", c.name, c.eta, c.resample, mean, deviation, want, wantDeviation)
		}
	}
}

// mustRePaint wraps the sampler of a name and options for 10 steps; the third of each image's four numbers is known.
func mustRePaint(t *testing.T, name string, s *Schedule, o Options, r RePaintOptions) *RePaint {
	t.Helper()
	o.Steps = 10
	if r.Fill == nil {
		r.Fill = []bool{true, true, false, true}
	}
	p, err := NewRePaint(name, s, o, r)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// given is a batch of four numbers an image, with what is known.
func given(n, first int) *Batch {
	b := initial(n, 4, first)
	for i := range 4 * n {
		b.Given = append(b.Given, math.Sin(float64(4*first+i)))
	}
	return b
}

// What is known comes out with its bits, wherever the sampler ends.
func TestRePaintKeepsTheBitsOfWhatIsKnown(t *testing.T) {
	for _, toOne := range []bool{true, false} {
		s := newSchedule(t, func(c *Config) { c.SetAlphaToOne = toOne })
		for _, name := range Names(CanRePaint) {
			p := mustRePaint(t, name, s, Options{}, RePaintOptions{Resample: 2})
			b := given(3, 0)
			for i, v := range []float64{math.Copysign(0, -1), 1e-300, 0.1} {
				b.Given[4*i+2] = v
			}
			x := mustSample(t, p, toy{0.9, 0.001}, b)
			for i := range 3 {
				if at := 4*i + 2; !sameBits(x[at], b.Given[at]) {
					t.Errorf("%s: image %d has %v, want the bits of %v", name, i, x[at], b.Given[at])
				}
				if x[4*i] == b.Given[4*i] {
					t.Errorf("%s: image %d: what was to be filled is what it was", name, i)
				}
			}
		}
	}
}

// Where nothing is known, the run is the sampler's own, bit for bit.
func TestRePaintOfNothingKnownIsTheSampler(t *testing.T) {
	s := newSchedule(t, nil)
	for _, name := range Names(CanRePaint) {
		p := mustRePaint(t, name, s, Options{}, RePaintOptions{Fill: []bool{true, true, true, true}})
		plain := mustNew(t, name, s, Options{Steps: 10})
		b := given(2, 5)
		got, want := mustSample(t, p, toy{0.9, 0.001}, b), mustSample(t, plain, toy{0.9, 0.001}, initial(2, 4, 5))
		if !slices.Equal(got, want) || !slices.Equal(p.Timesteps(), plain.Timesteps()) {
			t.Errorf("%s: %v, want %v", name, got, want)
		}
	}
}

// Image i has the same bits in any batch; so has an image that SDEdit makes.
func TestWrappedImagesDependOnTheirNumberOnly(t *testing.T) {
	s := newSchedule(t, nil)
	for _, name := range Names(forward) {
		e, err := NewSDEdit(name, s, Options{Steps: 10}, 0.5)
		if err != nil {
			t.Fatal(err)
		}
		wrapped := []Sampler{e}
		if info, _ := Find(name); CanRePaint(info) {
			wrapped = append(wrapped, mustRePaint(t, name, s, Options{}, RePaintOptions{Resample: 2}))
		}
		for _, w := range wrapped {
			all := mustSample(t, w, toy{0.9, 0.001}, given(3, 4))
			for i := range 3 {
				if one := mustSample(t, w, toy{0.9, 0.001}, given(1, 4+i)); !slices.Equal(one, all[4*i:4*i+4]) {
					t.Errorf("%s, %T: image %d alone is %v, in a batch %v", name, w, 4+i, one, all[4*i:4*i+4])
				}
			}
			b := given(3, 0)
			copy(b.X, initial(1, 4, 6).X)
			copy(b.Given, given(1, 6).Given)
			b.Numbers = []int{6, 0, 1}
			if x := mustSample(t, w, toy{0.9, 0.001}, b); !slices.Equal(x[:4], all[8:]) {
				t.Errorf("%s, %T: by its number image 6 is %v, want %v", name, w, x[:4], all[8:])
			}
		}
	}
}

// The observer sees the steps down, in one count, with what is known at its noise.
func TestRePaintShowsItsSteps(t *testing.T) {
	s := newSchedule(t, nil)
	p := mustRePaint(t, "ddim", s, Options{}, RePaintOptions{JumpLength: 4, Resample: 3})
	const total = 10 + 2*2*4 // back from 0 and from 4 steps before the end
	var ts []int
	err := p.Sample(t.Context(), toy{0.9, 0.001}, given(2, 0), NormalNoise(11), func(st Step) error {
		if st.Index != len(ts) || st.Total != total || len(st.X) != 8 || len(st.X0) != 8 {
			t.Fatalf("step %d of %d with %d and %d numbers", st.Index, st.Total, len(st.X), len(st.X0))
		}
		ts = append(ts, st.T)
		if st.Index == total-1 && st.X[2] != given(2, 0).Given[2] {
			t.Errorf("at the end %v is known, want %v", st.X[2], given(2, 0).Given[2])
		}
		return nil
	})
	if err != nil || !slices.Equal(ts, p.Timesteps()) {
		t.Errorf("%v; the steps are at %v, want %v", err, ts, p.Timesteps())
	}
	stop := errors.New("enough")
	err = p.Sample(t.Context(), toy{0.9, 0.001}, given(2, 0), NormalNoise(11), func(st Step) error {
		if st.Index == 3 {
			return stop
		}
		return nil
	})
	if !errors.Is(err, stop) || !strings.Contains(err.Error(), fmt.Sprintf("step 4 of %d", total)) {
		t.Errorf("an observer's error comes back as %v", err)
	}
}

// A jump length that was not given is at most one less than the steps, and one that was must be.
func TestJumpLengthsFitTheSteps(t *testing.T) {
	s := newSchedule(t, nil)
	for steps, want := range map[int]int{1: 1, 2: 1, 10: 9, 11: 10, 250: 10} {
		p, err := NewRePaint("ddpm", s, Options{Steps: steps}, RePaintOptions{Fill: []bool{true, false}})
		if err != nil || p.jump != want {
			t.Errorf("%d steps: jump length %d, %v; want %d", steps, p.jump, err, want)
		}
	}
	for _, c := range []struct{ steps, jump int }{{1, 1}, {10, 10}, {10, -1}, {10, 11}} {
		_, err := NewRePaint("ddpm", s, Options{Steps: c.steps}, RePaintOptions{Fill: []bool{true, false}, JumpLength: c.jump})
		var wrong *JumpLengthError
		if !errors.As(err, &wrong) || *wrong != (JumpLengthError{c.jump, c.steps}) {
			t.Errorf("jump length %d of %d steps: %v", c.jump, c.steps, err)
		}
	}
	p := mustRePaint(t, "ddpm", s, Options{}, RePaintOptions{JumpLength: 9})
	if got, want := len(p.Timesteps()), 10+9*9; got != want {
		t.Errorf("%d calls of the model, want %d", got, want)
	}
}

func TestRePaintRefuses(t *testing.T) {
	s := newSchedule(t, nil)
	half := []bool{true, false}
	for _, name := range []string{"ddim-inverse", "dpm++2m", "dpm++2m-heun"} {
		_, err := NewRePaint(name, s, Options{Steps: 10}, RePaintOptions{Fill: half})
		var undefined *UndefinedError
		if !errors.As(err, &undefined) || undefined.Sampler != name || !slices.Equal(undefined.Defined, []string{"ddpm", "ddim", "dpm++1", "heun"}) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for what, r := range map[string]RePaintOptions{
		"filled": {Fill: []bool{false, false}}, "from 1 to 1000": {Fill: half, Resample: -1}, "= 1001": {Fill: half, Resample: 1001},
	} {
		if _, err := NewRePaint("ddim", s, Options{Steps: 10}, r); err == nil || !strings.Contains(err.Error(), what) {
			t.Errorf("%+v: %v", r, err)
		}
	}
	p := mustRePaint(t, "ddim", s, Options{}, RePaintOptions{})
	without, wide := initial(1, 4, 0), initial(1, 5, 0)
	wide.Given = wide.X
	for what, b := range map[string]*Batch{"begins with images of 0": without, "mask of 4": wide} {
		if err := p.Sample(t.Context(), toy{0.9, 0.001}, b, NormalNoise(1), nil); err == nil || !strings.Contains(err.Error(), what) {
			t.Errorf("%s: %v", what, err)
		}
	}
	if err := p.Sample(t.Context(), toy{0.9, 0.001}, given(1, 0), nil, nil); err == nil || !strings.Contains(err.Error(), "noise") {
		t.Errorf("without noise: %v", err)
	}
}

// A jump length that had to be reduced is noted, beside what is noted of the sampler.
func TestNotesOfRePaint(t *testing.T) {
	s := newSchedule(t, nil)
	half := []bool{true, false}
	for _, c := range []struct {
		steps int
		r     RePaintOptions
		want  string
	}{
		{10, RePaintOptions{Fill: half}, "9 in place of 10, to fit 10 steps"},
		{1, RePaintOptions{Fill: half}, "nothing to go back to"},
		{20, RePaintOptions{Fill: half}, ""},
		{10, RePaintOptions{Fill: half, JumpLength: 3}, ""},
		{10, RePaintOptions{Fill: half, Resample: 1}, ""},
		{10, RePaintOptions{Fill: []bool{true, true}}, ""},
		{10, RePaintOptions{}, ""},
		{600, RePaintOptions{Fill: half}, "x_T is pure noise"},
	} {
		notes := RePaintNotes("ddim", s, Options{Steps: c.steps, Spacing: Leading}, c.r)
		if (len(notes) > 0) != (c.want != "") || len(notes) > 0 && !strings.Contains(notes[len(notes)-1].Problem, c.want) {
			t.Errorf("%d steps, %+v: %v, want %q", c.steps, c.r, notes, c.want)
		}
	}
}
