package diffusion

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"math"
	"reflect"
	"slices"
	"strings"
	"testing"
)

func TestTimestepLists(t *testing.T) {
	s := newSchedule(t, nil)
	offset := newSchedule(t, func(c *Config) { c.StepsOffset = 1 })
	small := newSchedule(t, func(c *Config) { c.NumTrainTimesteps = 7 })
	for _, c := range []struct {
		name string
		s    *Schedule
		o    Options
		want []int
	}{
		{"ddpm", s, Options{Steps: 4}, []int{750, 500, 250, 0}},
		{"ddpm", s, Options{Steps: 3}, []int{666, 333, 0}},
		{"ddim", offset, Options{Steps: 4}, []int{751, 501, 251, 1}},
		{"ddim", s, Options{Steps: 4, Spacing: Trailing}, []int{999, 749, 499, 249}},
		{"ddim", s, Options{Steps: 3, Spacing: Trailing}, []int{999, 666, 332}},
		{"ddim", s, Options{Steps: 16, Spacing: Trailing}, []int{999, 937, 874, 811, 749, 687, 624, 561, 499, 437, 374, 311, 249, 187, 124, 61}},
		{"ddim", s, Options{Steps: 4, Spacing: Linspace}, []int{999, 666, 333, 0}},
		{"ddim", s, Options{Steps: 3, Spacing: Linspace}, []int{999, 500, 0}}, // 499.5 rounds to even
		{"ddim", s, Options{Steps: 5, Spacing: Quad}, []int{800, 450, 200, 50, 0}},
		{"ddim", s, Options{Steps: 10, Spacing: Quad}, []int{800, 632, 483, 355, 246, 158, 88, 39, 9, 0}},
		{"ddim-inverse", s, Options{Steps: 4}, []int{0, 250, 500, 750}},
		{"dpm++2m", s, Options{Steps: 4}, []int{800, 600, 400, 200}},
		{"dpm++2m", s, Options{Steps: 4, Spacing: Linspace}, []int{999, 749, 500, 250}},
		{"heun", s, Options{Steps: 3, Spacing: Linspace}, []int{999, 500, 500, 0, 0}},
		{"ddpm", small, Options{Steps: 7}, []int{6, 5, 4, 3, 2, 1, 0}},
		{"ddpm", small, Options{Steps: 1}, []int{0}},
		{"ddpm", s, Options{Timesteps: []int{900, 30, 4}}, []int{900, 30, 4}},
	} {
		if got := mustNew(t, c.name, c.s, c.o).Timesteps(); !slices.Equal(got, c.want) {
			t.Errorf("%s %+v: %v, want %v", c.name, c.o, got, c.want)
		}
	}
	// Trailing's halves follow numpy's rounding errors: 937.5 is just below.
	if got := mustNew(t, "ddim", s, Options{Steps: 48, Spacing: Trailing}).Timesteps(); !slices.Equal(got[:5], []int{999, 978, 957, 936, 916}) {
		t.Errorf("trailing, 48 steps: %v", got[:5])
	}
	// Any number of steps gives a falling list within range.
	for _, p := range []Spacing{Leading, Trailing, Linspace, Quad} {
		for _, steps := range []int{1, 2, 3, 7, 30, 48, 99, 333, 400, 749, 999, 1000} {
			got := mustNew(t, "ddim", s, Options{Steps: steps, Spacing: p}).Timesteps()
			if falling(got, 1000) != nil || p != Quad && len(got) != steps {
				t.Errorf("%s, %d steps: %d timesteps %v", p, steps, len(got), got)
			}
		}
	}
}

func TestImpossibleOptionsAreRefused(t *testing.T) {
	nan := math.NaN()
	s := newSchedule(t, nil)
	for _, c := range []struct {
		name string
		o    Options
		says string
	}{
		{"euler", Options{Steps: 10}, "ddpm, ddim, ddim-inverse"},
		{"ddpm", Options{}, "steps = 0 is not possible: it must be 1 to num_train_timesteps = 1000"},
		{"ddim", Options{Steps: 1001}, "steps = 1001"},
		{"ddim", Options{Steps: -1}, "steps = -1"},
		{"ddim", Options{Steps: 10, Eta: 1.5}, "eta = 1.5"},
		{"ddim", Options{Steps: 10, Eta: nan}, "eta = NaN"},
		{"ddim", Options{Steps: 10, Eta: 0.5, SigmaHat: true}, "exclude"},
		{"ddpm", Options{Steps: 10, Eta: 0.5}, "only ddim"},
		{"heun", Options{Steps: 10, SigmaHat: true}, "only ddim"},
		{"ddim", Options{Steps: 10, Variance: VarianceBeta}, "only ddpm"},
		{"ddpm", Options{Steps: 10, Variance: Variance{true, 2}}, "variance = 2"},
		{"ddim", Options{Steps: 10, FinalSigmaMin: true}, "only dpm++1, dpm++2m, dpm++2m-heun"},
		{"ddim", Options{Steps: 10, Spacing: "even"}, "leading, trailing"},
		{"ddim", Options{Steps: 10, Clip: "hard"}, "static, dynamic"},
		{"ddim", Options{Timesteps: []int{}}, "empty"},
		{"ddim", Options{Timesteps: []int{1000, 0}}, "1000"},
		{"ddim", Options{Timesteps: []int{900, 900}}, "900 900"},
		{"ddim", Options{Timesteps: []int{900, -1}}, "900 -1"},
		{"ddim", Options{Timesteps: []int{900}, Steps: 3}, "steps = 3"},
		{"ddim", Options{Timesteps: []int{900}, Spacing: Leading}, "exclude"},
		{"dpm++2m", Options{Steps: 1000}, "fewer steps"},
		{"dpm++2m", Options{Steps: 10, LambdaMin: &nan}, "not a number"},
	} {
		if _, err := New(c.name, s, c.o); err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s %+v: %v, want an error that says %q", c.name, c.o, err, c.says)
		}
	}
	offset := newSchedule(t, func(c *Config) { c.StepsOffset = 500 })
	if _, err := New("ddim", offset, Options{Steps: 1000}); err == nil || !strings.Contains(err.Error(), "steps_offset 500") {
		t.Errorf("timesteps beyond T: %v", err)
	}
	x0 := newSchedule(t, func(c *Config) { c.PredictionType = SampleX0 })
	if _, err := New("ddim-inverse", x0, Options{Steps: 10}); err == nil || !strings.Contains(err.Error(), "set_alpha_to_one") {
		t.Errorf("inverting a model of x_0: %v", err)
	}
}

// The lists of trailing and linspace are numpy's for many S and T, less the
// t = -1 that its arange appends for some S.
func TestTimestepListsAreNumpys(t *testing.T) {
	h := sha256.New()
	for steps := 1; steps <= 1000; steps++ {
		if steps > 100 && steps != 333 && steps != 400 && steps < 999 {
			continue
		}
		for _, T := range []int{1000, 4000, 77} {
			if steps > T {
				continue
			}
			s := newSchedule(t, func(c *Config) { c.NumTrainTimesteps = T })
			for _, p := range []Spacing{Trailing, Linspace} {
				for _, ti := range mustNew(t, "ddim", s, Options{Steps: steps, Spacing: p}).Timesteps() {
					binary.Write(h, binary.LittleEndian, int64(ti))
				}
			}
		}
	}
	const numpy = "c1132f0565e7f82c684f3f4fe55de916497a224ae1af136770e27a83a890b9a1"
	if got := hex.EncodeToString(h.Sum(nil)); got != numpy {
		t.Errorf("SHA-256 of the lists is %s, numpy's %s", got, numpy)
	}
}

// What the options leave unset comes from the config.
func TestConfigGivesTheDefaults(t *testing.T) {
	clips := func(change func(*Config), o Options) clipper { return newSchedule(t, change).clipper(o) }
	dynamic := func(c *Config) { c.Thresholding, c.SampleMaxValue, c.ThresholdingRatio = true, 4, 0.9 }
	for _, c := range []struct {
		got, want clipper
	}{
		{clips(nil, Options{}), clipper{ClipStatic, 1, 0.995}},
		{clips(func(c *Config) { c.ClipSampleRange = 3 }, Options{}), clipper{ClipStatic, 3, 0.995}},
		{clips(func(c *Config) { c.ClipSample = false }, Options{}), clipper{ClipNone, 1, 0.995}},
		{clips(dynamic, Options{}), clipper{ClipDynamic, 4, 0.9}},
		{clips(dynamic, Options{Clip: ClipNone}), clipper{ClipNone, 1, 0.9}},
		{clips(nil, Options{Clip: ClipDynamic}), clipper{ClipDynamic, math.Inf(1), 0.995}},
	} {
		if c.got != c.want {
			t.Errorf("clipping %+v, want %+v", c.got, c.want)
		}
	}
	for kind, f := range map[string]float64{"fixed_small": 0, "fixed_small_log": 0, "fixed_large": 1, "fixed_large_log": 1} {
		s := newSchedule(t, func(c *Config) { c.VarianceType = kind })
		if got := s.variance(Options{}); got != f {
			t.Errorf("%s is variance %v, want %v", kind, got, f)
		}
		if got := s.variance(Options{Variance: Variance{true, 0.3}}); got != 0.3 {
			t.Errorf("%s goes before the options", kind)
		}
	}
	trailing := newSchedule(t, func(c *Config) { c.TimestepSpacing = "trailing" })
	if ts := mustNew(t, "ddpm", trailing, Options{Steps: 2}).Timesteps(); ts[0] != 999 {
		t.Errorf("timestep_spacing trailing begins at %d", ts[0])
	}
}

func TestOptionParsers(t *testing.T) {
	for in, want := range map[string]Variance{
		"posterior": {true, 0}, "beta": {true, 1}, "0.3": {true, 0.3}, "0": {true, 0}, "1": {true, 1},
	} {
		got, err := ParseVariance(in)
		if err != nil || got != want {
			t.Errorf("ParseVariance(%q) = %v, %v", in, got, err)
		}
		if again, err := ParseVariance(got.String()); err != nil || again != want {
			t.Errorf("%q does not survive String: %q", in, got.String())
		}
	}
	if eta, hat, err := ParseEta("0.5"); eta != 0.5 || hat || err != nil {
		t.Error(eta, hat, err)
	}
	if eta, hat, err := ParseEta("hat"); eta != 0 || !hat || err != nil {
		t.Error(eta, hat, err)
	}
	for _, p := range []Spacing{Leading, Trailing, Linspace, Quad} {
		if got, err := ParseSpacing(string(p)); got != p || err != nil {
			t.Error(got, err)
		}
	}
	for _, p := range []Clip{ClipNone, ClipStatic, ClipDynamic} {
		if got, err := ParseClip(string(p)); got != p || err != nil {
			t.Error(got, err)
		}
	}
	for _, bad := range []string{"", "1.5", "-0.1", "NaN", "small"} {
		if _, err := ParseVariance(bad); err == nil || !strings.Contains(err.Error(), "posterior, beta") {
			t.Errorf("ParseVariance(%q): %v", bad, err)
		}
		if _, _, err := ParseEta(bad); err == nil || !strings.Contains(err.Error(), "0 to 1, or hat") {
			t.Errorf("ParseEta(%q): %v", bad, err)
		}
		if _, err := ParseClip(bad); err == nil || !strings.Contains(err.Error(), "static, dynamic, none") {
			t.Errorf("ParseClip(%q): %v", bad, err)
		}
		if _, err := ParseSpacing(bad); err == nil || !strings.Contains(err.Error(), "leading, trailing, linspace, quad") {
			t.Errorf("ParseSpacing(%q): %v", bad, err)
		}
	}
}

// Each option but the number of steps shows in String, and none where all are left to their defaults.
func TestOptionsInWords(t *testing.T) {
	if s := (Options{Steps: 10}).String(); s != "" {
		t.Errorf("the defaults are %q", s)
	}
	lambda := -5.1
	all := Options{
		Steps: 3, Timesteps: []int{9, 5, 0}, Spacing: Trailing, Pairing: PairNext, Clip: ClipNone, Eta: 0.5, SigmaHat: true, RederiveEps: true,
		Variance: VarianceBeta, Refine: 2, FinalSigmaMin: true, LambdaMin: &lambda,
	}
	v, seen := reflect.ValueOf(all), map[string]string{}
	for i := range v.NumField() {
		name := v.Type().Field(i).Name
		if v.Field(i).IsZero() {
			t.Errorf("the test does not set %s", name)
		}
		if name == "Steps" {
			continue
		}
		var one Options
		reflect.ValueOf(&one).Elem().Field(i).Set(v.Field(i))
		s := one.String()
		if other, ok := seen[s]; ok || s == "" || !strings.Contains(all.String(), s) {
			t.Errorf("%s is %q, as is %q, and all are %q", name, s, other, all)
		}
		seen[s] = name
	}
	g := Guidance{Weight: 2, Rescale: 0.7, Interval: &Interval{400, 800}, KeepEps: true}
	if want := "guidance 2, guidance rescale 0.7, guidance interval 400,800, eps of the guided x_0 before clipping"; g.String() != want {
		t.Errorf("%q, want %q", g, want)
	}
}
