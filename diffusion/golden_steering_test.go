package diffusion

import (
	"slices"
	"testing"
)

// recorded is the noise of a fixture's tensor [steps, N, ...].
func (m *manifest) recorded(t *testing.T, name string) Noise {
	t.Helper()
	noise, shape := m.tensor(t, name)
	return func(dst []float64, image, step int) {
		copy(dst, noise[(step*shape[1]+image)*len(dst):])
	}
}

// wrapped runs a case of a sampler that is wrapped.
func (m *manifest) wrapped(t *testing.T, c goldenCase, s Sampler, given, start, what string, limit float64) {
	t.Helper()
	b := m.images(t, start)
	b.Given = m.images(t, given).X
	if err := s.Sample(t.Context(), toyModel(t, m), &b, m.recorded(t, "noise"), nil); err != nil {
		t.Fatalf("%s: %v", c["id"], err)
	}
	m.compare(t, what, need[string](t, m, c, "id")+".final_f64", b.X, limit)
}

func goldenSDEdit(t *testing.T, m *manifest) {
	for _, c := range m.Cases {
		o := Options{Steps: need[int](t, m, c, "S"), Eta: need[float64](t, m, c, "eta"), Clip: ClipNone}
		e, err := NewSDEdit(need[string](t, m, c, "sampler"), m.schedule(t, c), o, need[float64](t, m, c, "strength"))
		if err != nil {
			t.Fatal(err)
		}
		if got, want := e.Timesteps(), m.ints(t, need[string](t, m, c, "id")+".timesteps"); !slices.Equal(got, want) {
			t.Fatalf("%s: timesteps %v, want %v", c["id"], got, want)
		}
		what, limit := "final", 4e-14
		if ts := e.Timesteps(); need[string](t, m, c, "sampler") == "ddpm" && ts[len(ts)-1] > 0 {
			// Unless it ends at t = 0 the reference ends with noise, of the least variance 1e-20.
			what, limit = "final, of ddpm that ends above t = 0", 1e-9
		}
		m.wrapped(t, c, e, "x_g", "eps", what, limit)
	}
}

func goldenRePaint(t *testing.T, m *manifest) {
	known, _ := m.tensor(t, "known")
	r := RePaintOptions{}
	for _, v := range known {
		r.Fill = append(r.Fill, v == 0)
	}
	for _, c := range m.Cases {
		s := m.schedule(t, c)
		o := Options{Steps: need[int](t, m, c, "S"), Eta: need[float64](t, m, c, "eta")}
		r.JumpLength, r.Resample = need[int](t, m, c, "jump_length"), need[int](t, m, c, "resample")
		p, err := NewRePaint("ddim", s, o, r)
		if err != nil {
			t.Fatal(err)
		}
		var steps []int // the fixture's list has the steps of q too, as the timesteps that they end at
		last := s.T
		for _, ti := range m.ints(t, need[string](t, m, c, "timesteps")) {
			if ti < last {
				steps = append(steps, ti)
			}
			last = ti
		}
		if got := p.Timesteps(); !slices.Equal(got, steps) {
			t.Fatalf("%s: timesteps %v, want %v", c["id"], got, steps)
		}
		m.wrapped(t, c, p, "image", "x_T", "final", 4e-14)

		// ddpm is ddim with eta = 1 where nothing is clipped.
		if o.Eta == 1 && !need[bool](t, m, c, "clip_sample") {
			o.Eta = 0
			p, err := NewRePaint("ddpm", s, o, r)
			if err != nil {
				t.Fatal(err)
			}
			m.wrapped(t, c, p, "image", "x_T", "final", 4e-14)
		}
	}
}
