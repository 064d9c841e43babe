package diffusion

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"testing"
)

// twoGaussians is the exact model of data of one number that are of class 0 or 1, each as likely as the other, and normal with
// the class's mean and one deviation. class is that of each image.
type twoGaussians struct {
	s     *Schedule
	mu    [2]float64
	sd    float64
	class []int

	calls []call
}

// call is how the model was asked: "class", "null" or "both", at the timestep of the first image.
type call struct {
	how string
	t   int
}

// level is the mean of class c, and the variance, of x_t.
func (m *twoGaussians) level(c, t int) (mean, variance float64) {
	a := m.s.AlphaBar[t]
	return math.Sqrt(a) * m.mu[c], a*m.sd*m.sd + 1 - a
}

// isClass is p(c | x_t).
func (m *twoGaussians) isClass(c int, x float64, t int) float64 {
	mean, v := m.level(c, t)
	other, _ := m.level(1-c, t)
	return 1 / (1 + math.Exp((math.Pow(x-mean, 2)-math.Pow(x-other, 2))/(2*v)))
}

// output is what a model that predicts eps, x_0 or v says where the score is that.
func (m *twoGaussians) output(score, x float64, t int) float64 {
	a := m.s.AlphaBar[t]
	eps := -math.Sqrt(1-a) * score
	x0 := (x - math.Sqrt(1-a)*eps) / math.Sqrt(a)
	switch m.s.Config.PredictionType {
	case Epsilon:
		return eps
	case SampleX0:
		return x0
	}
	return math.Sqrt(a)*eps - math.Sqrt(1-a)*x0
}

func (m *twoGaussians) byClass(c int, x float64, t int) float64 {
	mean, v := m.level(c, t)
	return m.output(-(x-mean)/v, x, t)
}

// byNull is the model of the mixture of the classes.
func (m *twoGaussians) byNull(x float64, t int) float64 {
	score := 0.0
	for c := range 2 {
		mean, v := m.level(c, t)
		score -= m.isClass(c, x, t) * (x - mean) / v
	}
	return m.output(score, x, t)
}

// guidedScore is grad log p(x_t | c) + (w-1) grad log p(c | x_t), the score of p(x_t | c) p(c | x_t)^(w-1), in closed form.
func (m *twoGaussians) guidedScore(c int, x float64, t int, w float64) float64 {
	mean, v := m.level(c, t)
	other, _ := m.level(1-c, t)
	return -(x-mean)/v + (w-1)*(1-m.isClass(c, x, t))*(mean-other)/v
}

func (m *twoGaussians) Predict(_ context.Context, out, x []float64, t []int) error {
	m.calls = append(m.calls, call{"class", t[0]})
	for i, v := range x {
		out[i] = m.byClass(m.class[i], v, t[i])
	}
	return nil
}

func (m *twoGaussians) PredictNull(_ context.Context, out, x []float64, t []int) error {
	m.calls = append(m.calls, call{"null", t[0]})
	for i, v := range x {
		out[i] = m.byNull(v, t[i])
	}
	return nil
}

func (m *twoGaussians) PredictBoth(_ context.Context, out, null, x []float64, t []int) error {
	m.calls = append(m.calls, call{"both", t[0]})
	for i, v := range x {
		out[i], null[i] = m.byClass(m.class[i], v, t[i]), m.byNull(v, t[i])
	}
	return nil
}

// exactlyGuided is the guided model in closed form.
type exactlyGuided struct {
	*twoGaussians
	w float64
}

func (m exactlyGuided) Predict(_ context.Context, out, x []float64, t []int) error {
	for i, v := range x {
		out[i] = m.output(m.guidedScore(m.class[i], v, t[i], m.w), v, t[i])
	}
	return nil
}

func newTwoGaussians(t *testing.T, predicts string, n int) *twoGaussians {
	m := &twoGaussians{s: newSchedule(t, func(c *Config) { c.PredictionType = predicts }), mu: [2]float64{-0.6, 0.5}, sd: 0.3, class: make([]int, n)}
	for i := range m.class {
		m.class[i] = i % 2
	}
	return m
}

// The guided output is that of the score that the paper says, for every kind of prediction and at every noise level.
func TestGuidanceHasTheScoreOfTwoGaussians(t *testing.T) {
	xs := []float64{-3, -1, -0.6, -0.1, 0, 0.2, 0.5, 1.4, 2.5}
	for _, predicts := range predictionTypes {
		m := newTwoGaussians(t, predicts, len(xs))
		for _, w := range []float64{0, 0.5, 1, 1.5, 3, 7.5} {
			guided := Guidance{Weight: w}.Guide(m)
			for _, ti := range []int{0, 10, 200, 600, 999} {
				ts := slices.Repeat([]int{ti}, len(xs))
				got, want := make([]float64, len(xs)), make([]float64, len(xs))
				if err := guided.Predict(t.Context(), got, xs, ts); err != nil {
					t.Fatal(err)
				}
				if err := (exactlyGuided{m, w}).Predict(t.Context(), want, xs, ts); err != nil {
					t.Fatal(err)
				}
				if e := relative(got, want); !(e < 1e-11) {
					t.Errorf("%s, weight %v, t = %d: off by %.2g", predicts, w, ti, e)
				}
			}
		}
	}
}

// Every sampler walks as it does with the guided model in closed form, and every time that it asks the model it is guided: also
// in the second evaluation of a step and in the solvers' history.
func TestEverySamplerIsGuidedInEveryEvaluation(t *testing.T) {
	const n, w = 12, 2.5
	for _, name := range Names(nil) {
		info, _ := Find(name)
		for _, predicts := range predictionTypes {
			m := newTwoGaussians(t, predicts, n)
			o := Options{Steps: 10, Clip: ClipNone}
			if predicts == SampleX0 && info.Inverts {
				m.s = newSchedule(t, func(c *Config) { c.PredictionType, c.SetAlphaToOne = predicts, false })
			}
			if info.Refine {
				o.Refine = 2
			}
			d := mustNew(t, name, m.s, o)
			got := mustSample(t, d, Guidance{Weight: w}.Guide(m), initial(n, 1, 0))
			want := mustSample(t, d, exactlyGuided{m, w}, initial(n, 1, 0))
			if e := relative(got, want); !(e < 1e-9) {
				t.Errorf("%s, %s: off by %.2g", name, predicts, e)
			}
			var both []call
			for _, ti := range d.Timesteps() {
				for range o.Refine + 1 {
					both = append(both, call{"both", ti})
				}
			}
			if !slices.Equal(m.calls, both) {
				t.Errorf("%s, %s: the model was asked %v, want %v", name, predicts, m.calls, both)
			}
		}
	}
}

// A weight of 1 is the model by the class: its bits, at its cost, whatever the rescaling. A weight of 0 is the model by the null
// class, and outside of its interval guidance leaves the model alone.
func TestGuidanceCostsWhatItNeeds(t *testing.T) {
	const n = 6
	m := newTwoGaussians(t, VPrediction, n)
	d := mustNew(t, "heun", m.s, Options{Steps: 10})
	sample := func(model Model) []float64 {
		m.calls = nil
		return mustSample(t, d, model, initial(n, 1, 0))
	}
	calls := func(how func(t int) string) (list []call) {
		for _, ti := range d.Timesteps() {
			list = append(list, call{how(ti), ti})
		}
		return list
	}
	always := func(how string) func(int) string { return func(int) string { return how } }
	plain := sample(m)
	byNull := sample(onlyNull{m})
	within := func(inside, outside string, i Interval) func(int) string {
		return func(t int) string {
			if i.contains(t) {
				return inside
			}
			return outside
		}
	}
	middle := Interval{200, 600} // both of which are timesteps of the run
	for _, c := range []struct {
		g         Guidance
		how       func(int) string
		want      []float64
		one, both bool
	}{
		{Guidance{Weight: 1}, always("class"), plain, true, false},
		{Guidance{Weight: 1, Rescale: 0.7}, always("class"), plain, true, false},
		{Guidance{Weight: 1, Interval: &middle}, always("class"), plain, true, false},
		{Guidance{Weight: 3, Interval: &Interval{950, 999}}, always("class"), plain, true, false},
		{Guidance{Weight: 0}, always("null"), byNull, true, false},
		{Guidance{Weight: 0, Interval: &middle}, within("null", "class", middle), nil, true, false},
		{Guidance{Weight: 3, Interval: &middle}, within("both", "class", middle), nil, true, true},
		{Guidance{Weight: 0, Rescale: 0.5}, always("both"), nil, false, true},
		{Guidance{Weight: 3, Interval: &Interval{0, 999}}, always("both"), nil, false, true},
	} {
		name := fmt.Sprintf("weight %v, rescale %v, interval %v", c.g.Weight, c.g.Rescale, c.g.Interval)
		got := sample(c.g.Guide(m))
		if want := calls(c.how); !slices.Equal(m.calls, want) {
			t.Errorf("%s: the model was asked %v, want %v", name, m.calls, want)
		}
		if c.want != nil && !slices.Equal(got, c.want) {
			t.Errorf("%s: the samples have other bits", name)
		}
		if one, both := c.g.Calls(d.Timesteps()); one != c.one || both != c.both {
			t.Errorf("%s: Calls says %t, %t, want %t, %t", name, one, both, c.one, c.both)
		}
	}
	if slices.Contains(d.Timesteps(), 950) || !slices.Contains(d.Timesteps(), 200) || !slices.Contains(d.Timesteps(), 600) {
		t.Fatalf("the run's timesteps %v are not those that the cases are about", d.Timesteps())
	}
}

// onlyNull is the model by the null class.
type onlyNull struct{ *twoGaussians }

func (m onlyNull) Predict(ctx context.Context, out, x []float64, t []int) error {
	return m.PredictNull(ctx, out, x, t)
}

// recorded says what it was told to say by the condition and without.
type recorded struct{ out, null []float64 }

func (m recorded) Predict(_ context.Context, out, _ []float64, _ []int) error {
	copy(out, m.out)
	return nil
}

func (m recorded) PredictNull(_ context.Context, out, _ []float64, _ []int) error {
	copy(out, m.null)
	return nil
}

func (m recorded) PredictBoth(_ context.Context, out, null, _ []float64, _ []int) error {
	copy(out, m.out)
	copy(null, m.null)
	return nil
}

// Rescaling is of each image by itself, in the share that is asked for; an image that is flat is left as it is, and one at a
// timestep outside of the interval is the conditional one.
func TestRescaledGuidance(t *testing.T) {
	const dim, w, phi = 4, 3.0, 0.7
	m := recorded{
		out:  []float64{1, 2, 3, 6, 5, 5, 5, 5, -1, 0.5, 2, 0, 1, 2, 3, 6},
		null: []float64{0, 1, 1, 2, 4, 4, 4, 4, 1, 1, -1, 3, 0, 1, 1, 2},
	}
	got := make([]float64, len(m.out))
	g := Guidance{Weight: w, Rescale: phi, Interval: &Interval{5, 8}}
	if err := g.Guide(m).Predict(t.Context(), got, got, []int{5, 7, 8, 9}); err != nil {
		t.Fatal(err)
	}
	std := func(x []float64) float64 { // by sums of squares
		var s, ss float64
		for _, v := range x {
			s, ss = s+v, ss+v*v
		}
		return math.Sqrt((ss - s*s/dim) / (dim - 1))
	}
	for i := range 4 {
		out, null := m.out[i*dim:(i+1)*dim], m.null[i*dim:(i+1)*dim]
		want := slices.Clone(out)
		if i < 3 {
			for j := range want {
				want[j] = null[j] + w*(out[j]-null[j])
			}
		}
		if i == 0 || i == 2 {
			ratio := std(out) / std(want)
			for j := range want {
				want[j] = phi*want[j]*ratio + (1-phi)*want[j]
			}
		}
		if e := relative(got[i*dim:(i+1)*dim], want); !(e < 1e-14) {
			t.Errorf("image %d is %v, want %v", i, got[i*dim:(i+1)*dim], want)
		}
	}
	whole := make([]float64, dim)
	if err := (Guidance{Weight: w, Rescale: 1}).Guide(recorded{m.out[:dim], m.null[:dim]}).Predict(t.Context(), whole, whole, []int{0}); err != nil {
		t.Fatal(err)
	}
	if got, want := std(whole), std(m.out[:dim]); math.Abs(got-want) > 1e-14 {
		t.Errorf("rescaled in full, the deviation is %v, and that of the conditional output %v", got, want)
	}
}

// An error of the model is the guided model's.
func TestGuidancePassesErrorsOn(t *testing.T) {
	for _, w := range []float64{0, 1, 2} {
		d := mustNew(t, "ddim", newSchedule(t, nil), Options{Steps: 2})
		err := d.Sample(t.Context(), Guidance{Weight: w}.Guide(broken{}), initial(1, 2, 0), nil, nil)
		if !errors.Is(err, errBroken) {
			t.Errorf("weight %v: error %v", w, err)
		}
	}
}

var errBroken = errors.New("it is broken")

type broken struct{}

func (broken) Predict(context.Context, []float64, []float64, []int) error     { return errBroken }
func (broken) PredictNull(context.Context, []float64, []float64, []int) error { return errBroken }
func (broken) PredictBoth(context.Context, []float64, []float64, []float64, []int) error {
	return errBroken
}

func TestGuidanceThatCannotBe(t *testing.T) {
	for _, c := range []struct {
		g    Guidance
		want string
	}{
		{Guidance{Weight: -1}, "guidance -1: it must be a number from 0 on, such as 2"},
		{Guidance{Weight: math.NaN()}, "guidance NaN: it must be a number from 0 on, such as 2"},
		{Guidance{Weight: math.Inf(1)}, "guidance +Inf: it must be a number from 0 on, such as 2"},
		{Guidance{Rescale: 1.5}, "guidance-rescale 1.5: it must be a number from 0 to 1"},
		{Guidance{Rescale: math.NaN()}, "guidance-rescale NaN: it must be a number from 0 to 1"},
		{Guidance{Interval: &Interval{5, 3}}, "guidance-interval 5,3: it holds no timestep, as 5 is above 3"},
		{Guidance{Interval: &Interval{-1, 3}}, "guidance-interval -1,3: timesteps count from 0"},
		{Guidance{Interval: &Interval{0, 1000}}, "guidance-interval 0,1000: the timesteps that the model was trained on are 0 to 999"},
		{Guidance{Weight: 2, Rescale: 1, Interval: &Interval{0, 999}}, ""},
	} {
		err := c.g.Validate(1000)
		var typed *GuidanceError
		if c.want == "" && err != nil || c.want != "" && (!errors.As(err, &typed) || err.Error() != c.want) {
			t.Errorf("%+v: error %v, want %q", c.g, err, c.want)
		}
	}
	for _, c := range []struct{ weight, rescale, interval, want string }{
		{"two", "", "", `guidance "two": it must be a number from 0 on, such as 2`},
		{"", "", "", `guidance "": it must be a number from 0 on, such as 2`},
		{"-0.5", "", "", `guidance -0.5: it must be a number from 0 on, such as 2`},
		{"nan", "", "", `guidance NaN: it must be a number from 0 on, such as 2`},
		{"2", "all", "", `guidance-rescale "all": it must be a number from 0 to 1`},
		{"2", "", "5", `guidance-interval "5": it must be two timesteps LO,HI, such as 100,800`},
		{"2", "", "5,6,7", `guidance-interval "5,6,7": it must be two timesteps LO,HI, such as 100,800`},
		{"2", "", "0.1,0.8", `guidance-interval "0.1,0.8": it must be two timesteps LO,HI, such as 100,800`},
		{"2", "", "7,5", `guidance-interval 7,5: it holds no timestep, as 7 is above 5`},
	} {
		if _, err := ParseGuidance(c.weight, c.rescale, c.interval); err == nil || err.Error() != c.want {
			t.Errorf("%+v: error %v", c, err)
		}
	}
	g, err := ParseGuidance("1.5", "0.7", "100, 800")
	if err != nil || g.Weight != 1.5 || g.Rescale != 0.7 || *g.Interval != (Interval{100, 800}) {
		t.Errorf("parsed %+v, %v", g, err)
	}
}
