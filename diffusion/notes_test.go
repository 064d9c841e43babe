package diffusion

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

// sweep are the numbers of steps of the tables below, of T = 1000.
var sweep = []int{1, 2, 3, 5, 8, 10, 15, 20, 25, 30, 40, 50, 60, 64, 75, 80, 100, 125, 150, 200, 250, 300, 333, 350, 400, 500, 501, 600, 700, 800, 900, 950, 999, 1000}

// noted lists the numbers of steps of the sweep that have a note.
func noted(name string, s *Schedule, spacing Spacing) (steps []int) {
	for _, S := range sweep {
		if len(Notes(name, s, Options{Steps: S, Spacing: spacing})) > 0 {
			steps = append(steps, S)
		}
	}
	return steps
}

// Which runs have a note. On squaredcos_cap_v2 the noise falls evenly in t, so
// that a list that begins a little below T-1 begins below much of it; on
// linear there is hardly a difference between the topmost timesteps.
func TestWhichStepsAreNoted(t *testing.T) {
	gaps := []int{60, 64, 80, 150, 300, 350, 400, 501, 600, 700, 800, 900, 950} // T//S of them leave 4 % of T or more
	wide := append([]int{1, 2, 3, 5, 8, 10, 15, 20, 25, 30, 60, 64, 75}, gaps[2:]...)
	dpm := []int{1, 2, 3, 5, 100, 125, 150, 200, 250, 300, 333, 350, 400, 500, 501, 600, 700, 800, 900, 950}
	far := []int{350, 501, 600, 700}
	for _, c := range []struct {
		betas    string
		samplers []string
		spacing  Spacing
		want     []int
	}{
		{"squaredcos_cap_v2", []string{"ddim", "ddim-inverse"}, Leading, append([]int{1, 2, 3, 5}, gaps...)},
		{"squaredcos_cap_v2", []string{"ddim", "ddim-inverse"}, Trailing, gaps},
		{"squaredcos_cap_v2", []string{"ddim", "ddim-inverse"}, Linspace, wide},
		{"squaredcos_cap_v2", []string{"ddpm"}, Leading, []int{1, 2, 3, 350, 400, 501, 600, 700, 800}},
		{"squaredcos_cap_v2", []string{"ddpm", "dpm++1", "dpm++2m", "dpm++2m-heun"}, Trailing, nil},
		{"squaredcos_cap_v2", []string{"dpm++1", "dpm++2m", "dpm++2m-heun"}, Leading, dpm},
		{"squaredcos_cap_v2", []string{"dpm++1", "dpm++2m", "dpm++2m-heun"}, Linspace, nil},
		{"squaredcos_cap_v2", []string{"heun"}, Leading, append([]int{1, 2, 3, 5}, gaps...)},
		{"squaredcos_cap_v2", []string{"heun"}, Trailing, []int{2, 3, 5, 8, 10, 15, 20, 25, 30}},
		{"squaredcos_cap_v2", []string{"heun"}, Linspace, []int{1, 2, 3, 5, 8, 10, 15, 20, 25, 30}},
		{"squaredcos_cap_v2", []string{"ddpm", "ddim", "dpm++2m", "heun"}, Quad, sweep}, // begins at 0.8 T
		{"linear", []string{"ddim", "ddim-inverse"}, Leading, append([]int{1, 2}, far...)},
		{"linear", []string{"ddim", "ddim-inverse"}, Trailing, gaps},
		{"linear", []string{"ddim", "ddim-inverse"}, Linspace, wide},
		{"linear", []string{"ddpm"}, Leading, []int{1, 501}},
		{"linear", []string{"dpm++1", "dpm++2m", "dpm++2m-heun"}, Leading, []int{1, 250, 333, 350, 500, 501, 600, 700}},
		{"linear", []string{"ddpm", "dpm++1", "dpm++2m", "dpm++2m-heun"}, Trailing, nil},
		{"linear", []string{"heun"}, Leading, append([]int{1, 2}, far...)},
		{"linear", []string{"heun"}, Trailing, []int{2}},
		{"linear", []string{"ddpm", "ddim", "dpm++2m"}, Quad, []int{1}},
	} {
		s := newSchedule(t, func(config *Config) { config.BetaSchedule = c.betas })
		for _, name := range c.samplers {
			if got := noted(name, s, c.spacing); !slices.Equal(got, c.want) {
				t.Errorf("%s, %s, %s: notes for %v steps, want %v", c.betas, name, c.spacing, got, c.want)
			}
		}
	}
}

// A note says what happens, the nearest steps that tile, and the option.
func TestNotesSayWhatHelps(t *testing.T) {
	cosine := func(c *Config) { c.BetaSchedule = "squaredcos_cap_v2" }
	s := newSchedule(t, cosine)
	offset := newSchedule(t, func(c *Config) { c.StepsOffset = 50 })
	ten := newSchedule(t, func(c *Config) { cosine(c); c.NumTrainTimesteps = 10 })
	seven := newSchedule(t, func(c *Config) { cosine(c); c.NumTrainTimesteps = 7 })
	zero := newSchedule(t, func(c *Config) { c.RescaleZeroSNR, c.PredictionType = true, VPrediction })
	lead, trail := Options{Steps: 600, Spacing: Leading}, Options{Steps: 600, Spacing: Trailing}
	const next = ", or --pairing next, which draws clean images with any number of steps"
	for _, c := range []struct {
		name string
		s    *Schedule
		o    Options
		want string
	}{
		{"ddim", s, lead, "ddim with 600 steps and spacing leading covers the timesteps up to t = 599 of 999, though x_T is pure noise: the images keep noise; take 500 or 1000 steps" + next},
		{"ddim", s, trail, "ddim with 600 steps and spacing trailing pairs each timestep with the one 1 below, though the next of its list lies 1.67 below on average: the images keep noise; take 500 or 1000 steps" + next},
		{"ddim-inverse", s, lead, "ddim-inverse with 600 steps and spacing leading covers the timesteps up to t = 599 of 999, though x_T is pure noise: x_T has less than the noise of N(0, I); take 500 or 1000 steps" + next},
		{"dpm++2m", s, Options{Steps: 500}, "dpm++2m with 500 steps and spacing leading covers the timesteps up to t = 500 of 999, though x_T is pure noise: the images keep noise; take 499 or 999 steps" + next},
		{"heun", s, lead, "heun with 600 steps and spacing leading covers...; take 500 or 1000 steps" + next},
		{"heun", s, Options{Steps: 20, Spacing: Trailing}, "the first step of heun with 20 steps and spacing trailing, from t = 999 to 949, divides the noise sigma by 320, which is too far for its correction: the images will be speckled; take 40 steps" + next},
		{"ddim", s, Options{Steps: 60}, "ddim with 60 steps and spacing leading covers the timesteps up to t = 944 of 999...; take 50 or 100 steps" + next},
		{"ddim", s, Options{Steps: 5, Spacing: Quad}, "ddim with 5 steps and spacing quad covers the timesteps up to t = 800 of 999...: the images keep noise; --pairing next, which draws clean images with any number of steps"},
		{"ddim", offset, Options{Steps: 60}, "ddim with 60 steps and spacing leading ends above the data, its last timestep being t = 50: the images keep noise; take 10 steps" + next},
		{"ddim", ten, Options{Steps: 6, Spacing: Trailing}, "ddim with 6 steps and spacing trailing pairs...; take 5 or 10 steps" + next},
		{"ddim", seven, Options{Steps: 5, Spacing: Trailing}, "ddim with 5 steps and spacing trailing pairs...; take 7 steps" + next},
		{"ddim", s, Options{Timesteps: []int{500, 250, 0}}, "ddim with this list of 3 timesteps covers the timesteps up to t = 500 of 999, though x_T is pure noise: the images keep noise"},
		{"ddpm", zero, Options{Steps: 50}, "the model has rescale_betas_zero_snr, for runs that begin at pure noise, t = 999, but ddpm with 50 steps and spacing leading begins at t = 980: dark and bright images come out paler; --pairing next..."},
		{"ddpm", zero, Options{Steps: 50, Spacing: Trailing}, ""},
		{"ddim", s, Options{Steps: 50}, ""},
		{"ddim", s, Options{Timesteps: []int{999, 500, 0}}, ""},
		{"ddim", s, Options{Steps: 1001}, ""}, // New refuses it
		{"nosuch", s, lead, ""},
	} {
		var text []string
		for _, n := range Notes(c.name, c.s, c.o) {
			text = append(text, n.Text("--pairing next"))
		}
		if got := strings.Join(text, "\n"); !matches(got, c.want) {
			t.Errorf("%s %+v: notes\n\t%s\nwant\n\t%s", c.name, c.o, got, c.want)
		}
	}
	n := Notes("ddim", s, lead)[0]
	if got := n.Text(""); !strings.HasSuffix(got, "; take 500 or 1000 steps") {
		t.Errorf("without the option: %s", got)
	}
	if got := fmt.Sprint(n); !strings.Contains(got, "Options.Pairing = PairNext") {
		t.Errorf("as a string: %s", got)
	}
}

// matches compares with a text that has "..." for any part.
func matches(got, want string) bool {
	parts := strings.Split(want, "...")
	if len(parts) == 1 {
		return got == want
	}
	rest, ok := strings.CutPrefix(got, parts[0])
	for _, part := range parts[1:] {
		i := strings.Index(rest, part)
		if !ok || i < 0 {
			return false
		}
		rest = rest[i+len(part):]
	}
	return ok
}

// A sampler that draws noise forgets where it began: the same list has a note
// without noise and none with it.
func TestNoiseForgetsTheBeginning(t *testing.T) {
	s := newSchedule(t, func(c *Config) { c.BetaSchedule = "squaredcos_cap_v2" })
	o := Options{Steps: 300, Spacing: Leading}
	if len(Notes("ddim", s, o)) != 1 {
		t.Error("no note with eta = 0")
	}
	o.Eta = 1
	if n := Notes("ddim", s, o); len(n) != 0 {
		t.Errorf("with eta = 1: %v", n)
	}
	if n := Notes("ddpm", s, Options{Steps: 300, Spacing: Leading}); len(n) != 0 {
		t.Errorf("ddpm: %v", n)
	}
}

// A pipeline's lambda_min_clipped is not noted as a gap: the scheduler begins there on purpose.
func TestNoNoteOfALambdaThatTheSchedulerClips(t *testing.T) {
	c, err := ParseConfig([]byte(`{"_class_name": "DPMSolverMultistepScheduler", "beta_schedule": "squaredcos_cap_v2", "lambda_min_clipped": -2.0}`))
	if err != nil {
		t.Fatal(err)
	}
	s, err := NewSchedule(c)
	if err != nil {
		t.Fatal(err)
	}
	if notes := Notes("dpm++2m", s, Options{Steps: 20}); len(notes) > 0 {
		t.Errorf("with the scheduler's lambda: %v", notes)
	}
	if sampler, err := New("dpm++2m", s, Options{Steps: 20}); err != nil || sampler.Timesteps()[0] > 950 {
		t.Errorf("the lambda is not taken: %v, %v", sampler, err)
	}
}
