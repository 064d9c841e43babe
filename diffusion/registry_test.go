package diffusion

import (
	"context"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// still is a sampler that leaves what it is given as it is.
type still struct{ steps int }

func (s still) Timesteps() []int { return make([]int, s.steps) }

func (s still) Sample(_ context.Context, _ Model, b *Batch, _ Noise, _ func(Step) error) error {
	return nil
}

// A sampler is its file and its place in the registry: all that there is to know of it, and the class of schedulers that
// samples with it, come from there.
func TestASamplerIsItsPlaceInTheRegistry(t *testing.T) {
	defer func(before []*spec) { registry = before }(registry)
	registry = append(slices.Clone(registry), &spec{
		Info: Info{Name: "still", Noisy: true, Eta: true},
		make: func(_ *Schedule, o Options) (Sampler, error) { return still{o.Steps}, nil },
		resolve: func(_ *Schedule, o Options) Options {
			o.Clip = ClipDynamic
			return o
		},
		class: &scheduler{
			name: "StillScheduler", sampler: func(Class) string { return "still" }, omits: []string{"variance_type"},
			defaults: func(c *Config) { c.NumTrainTimesteps = 40 },
		},
		extra: 3,
	})
	c, err := ParseConfig([]byte(`{"_class_name": "StillScheduler"}`))
	if err != nil {
		t.Fatal(err)
	}
	text, err := c.JSON()
	if err != nil || !strings.Contains(string(text), "StillScheduler") || strings.Contains(string(text), "variance_type") {
		t.Errorf("written again it is %s, %v", text, err)
	}
	s, err := NewSchedule(c)
	if err != nil {
		t.Fatal(err)
	}
	name := c.Class.Sampler()
	info, ok := Find(name)
	if name != "still" || !ok || !info.Noisy || !slices.Contains(Names(func(i Info) bool { return i.Noisy }), name) {
		t.Errorf("the class's sampler is %q: %+v", name, info)
	}
	if n := s.DefaultSteps(name); n != 37 {
		t.Errorf("%d steps by default, want 40 less its own 3", n)
	}
	sampler, err := New(name, s, Options{Steps: 5, Eta: 0.5})
	if err != nil || len(sampler.Timesteps()) != 5 {
		t.Errorf("%v, %v", sampler, err)
	}
	for wrong, o := range map[string]Options{"only ddpm takes": {Steps: 5, Variance: VarianceBeta}, "steps": {Steps: 41}} {
		if _, err := New(name, s, o); err == nil || !strings.Contains(err.Error(), wrong) {
			t.Errorf("%+v: %v", o, err)
		}
	}
	if _, err := New("heun", s, Options{Steps: 5, Eta: 0.5}); err == nil || !strings.Contains(err.Error(), "only ddim, still takes") {
		t.Errorf("eta of heun: %v", err)
	}
	if o := s.Resolve(name, Options{Steps: 5}); o.Clip != ClipDynamic || o.Spacing != Leading {
		t.Errorf("resolved: %+v", o)
	}
	if notes := Notes(name, s, Options{Steps: 5}); len(notes) != 0 {
		t.Errorf("notes of a sampler without a walk: %v", notes)
	}
	d := Draw{N: 2, Dim: 3, Numbers: []int{4, 9}, Seed: 1}
	images, err := d.Sample(t.Context(), sampler, nil)
	if err != nil {
		t.Fatal(err)
	}
	x := make([]float64, 3)
	InitialNoise(x, 1, 9)
	for j, v := range x {
		if want := float32(max(-1, min(1, v))); images[3+j] != want {
			t.Errorf("number %d of image 9 is %v, not %v", j, images[3+j], want)
		}
	}
}

// No other code decides by a sampler's name: what is different about one stands in its spec.
func TestSamplersAreNamedInTheirOwnFilesOnly(t *testing.T) {
	may := map[string][]string{ // what a file is about, or its default
		"encode.go": {"ddim", "ddim-inverse"}, "interpolate.go": {"ddim"}, "train/config.go": {"ddim"},
		"cmd/diffusion/encode.go": {"ddim", "ddim-inverse"}, "cmd/diffusion/interpolate.go": {"ddim", "ddim-inverse"},
		"cmd/diffusion/demo.go": {"ddim"},
	}
	own := []string{"diffusion/ddpm.go", "diffusion/ddim.go", "diffusion/ddim_inverse.go", "diffusion/dpmsolver.go", "diffusion/heun.go"}
	seen := 0
	err := filepath.WalkDir("..", func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && (d.Name() == "scripts" || d.Name() == "testdata" || strings.HasPrefix(d.Name(), "_")):
			return filepath.SkipDir
		case !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go"):
			return nil
		}
		name, err := filepath.Rel("..", path)
		if err != nil {
			return err
		}
		name = filepath.ToSlash(name)
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, 0)
		if err != nil {
			return err
		}
		ast.Inspect(file, func(n ast.Node) bool {
			lit, ok := n.(*ast.BasicLit)
			if !ok || lit.Kind != token.STRING {
				return true
			}
			text, err := strconv.Unquote(lit.Value)
			if _, sampler := Find(text); err == nil && sampler {
				seen++
				if !slices.Contains(own, name) && !slices.Contains(may[name], text) {
					t.Errorf("%s names the sampler %s", name, text)
				}
			}
			return true
		})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if seen < len(registry) {
		t.Errorf("%d names of samplers were found in all", seen)
	}
}
