package diffusion

import (
	"slices"
	"testing"
)

// What the options leave to the config and what is resolved from it are one sampler, whatever the config says, and
// every choice is named.
func TestResolvedOptionsMakeTheSameImages(t *testing.T) {
	for what, change := range map[string]func(*Config){
		"the defaults": nil,
		"no clipping":  func(c *Config) { c.ClipSample = false },
		"a range":      func(c *Config) { c.ClipSampleRange = 0.5 },
		"thresholding": func(c *Config) { c.Thresholding, c.SampleMaxValue = true, 1.1 },
		"fixed_large":  func(c *Config) { c.VarianceType = "fixed_large" },
		"trailing":     func(c *Config) { c.TimestepSpacing = "trailing" },
		"linspace":     func(c *Config) { c.TimestepSpacing = "linspace" },
	} {
		s := newSchedule(t, change)
		for _, name := range Names(nil) {
			o := Options{Steps: 7}
			r := s.Resolve(name, o)
			if r.Clip == "" || r.Spacing == "" || r.Pairing == "" || r.Variance.Set != (name == "ddpm") {
				t.Errorf("%s, %s: something is left open: %+v", what, name, r)
			}
			want := mustSample(t, mustNew(t, name, s, o), toy{0.9, 0.001}, initial(2, 20, 0))
			if !slices.Equal(want, mustSample(t, mustNew(t, name, s, r), toy{0.9, 0.001}, initial(2, 20, 0))) {
				t.Errorf("%s, %s: the resolved options %+v make other images", what, name, r)
			}
		}
	}
	s := newSchedule(t, nil)
	if r := s.Resolve("ddim", Options{Timesteps: []int{9, 3}, Clip: ClipNone}); r.Spacing != "" || r.Pairing != "" || r.Clip != ClipNone {
		t.Errorf("what was given is not kept: %+v", r)
	}
}

// The images of a batch may have any numbers: each is the one of that number in a batch of its own.
func TestABatchOfAnyNumbers(t *testing.T) {
	s := newSchedule(t, nil)
	d := mustNew(t, "ddpm", s, Options{Steps: 5})
	const dim = 20
	numbers := []int{9, 0, 4}
	b := &Batch{N: 3, Dim: dim, Numbers: numbers, X: make([]float64, 3*dim)}
	for k, i := range numbers {
		InitialNoise(b.X[k*dim:(k+1)*dim], 0, i)
	}
	got := mustSample(t, d, toy{0.9, 0.001}, b)
	for k, i := range numbers {
		alone := &Batch{N: 1, Dim: dim, First: i, X: make([]float64, dim)}
		InitialNoise(alone.X, 0, i)
		if !slices.Equal(got[k*dim:(k+1)*dim], mustSample(t, d, toy{0.9, 0.001}, alone)) {
			t.Errorf("image %d is another one in a batch with %v", i, numbers)
		}
	}
	if err := d.Sample(t.Context(), toy{}, &Batch{N: 2, Dim: 1, Numbers: []int{1}, X: make([]float64, 2)}, NormalNoise(0), nil); err == nil {
		t.Error("a batch of 2 images with one number was sampled")
	}
}
