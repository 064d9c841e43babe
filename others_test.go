package unstir

import (
	"context"
	"encoding/json"
	"errors"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"unstir/checkpoints/safetensors"
	"unstir/diffusion"
	"unstir/unet"
)

// others are the pipelines that diffusers saved, which scripts/interchange/pipelines.py made: a model, schedulers of
// many classes, and what diffusers makes with them.
const others = "testdata/pipelines"

// pipelineOf lays out a pipeline of the model in testdata with one of its schedulers.
func pipelineOf(t *testing.T, scheduler string) string {
	t.Helper()
	dir := t.TempDir()
	for _, part := range []struct{ from, to string }{{"unet", "unet"}, {scheduler, "scheduler"}} {
		if err := os.CopyFS(filepath.Join(dir, part.to), os.DirFS(filepath.Join(others, filepath.FromSlash(part.from)))); err != nil {
			t.Fatal(err)
		}
	}
	rewrite(t, filepath.Join(dir, "model_index.json"), `{"_class_name": "DDPMPipeline", "_diffusers_version": "0.42.1",
		"scheduler": ["diffusers", "Scheduler"], "unet": ["diffusers", "UNet2DModel"]}`)
	return dir
}

func rewrite(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o666); err != nil {
		t.Fatal(err)
	}
}

// edit replaces a part of a text file.
func edit(t *testing.T, path, old, replacement string) {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(text), old) {
		t.Fatalf("%s has no %s", path, old)
	}
	rewrite(t, path, strings.Replace(string(text), old, replacement, 1))
}

func mustOpen(t *testing.T, dir string) *Pipeline {
	t.Helper()
	p, err := Open(context.Background(), dir)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// tensors reads from the fixture.
func tensors(t *testing.T, name string) []float32 {
	t.Helper()
	r, err := safetensors.Open(filepath.Join(others, "fixture.safetensors"))
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	info, ok := r.Lookup(name)
	if !ok {
		t.Fatalf("the fixture has no %s", name)
	}
	x := make([]float32, info.Len())
	if err := r.ReadFloat32(name, x); err != nil {
		t.Fatal(err)
	}
	return x
}

// furthest is the largest difference over the largest wanted value.
func furthest(t *testing.T, got []float64, want []float32) float64 {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("%d values, want %d", len(got), len(want))
	}
	off, largest := 0.0, 0.0
	for i, v := range want {
		off = math.Max(off, math.Abs(got[i]-float64(v)))
		largest = math.Max(largest, math.Abs(float64(v)))
	}
	return off / largest
}

// walkBound is how far a step of a walk may be from diffusers', of the largest value after it.
const walkBound = 1e-4

// furthestStep is furthest of the step that is furthest off.
func furthestStep(t *testing.T, got []float64, want []float32, steps int) float64 {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("%d values, want %d", len(got), len(want))
	}
	off, dim := 0.0, len(want)/steps
	for k := range steps {
		off = math.Max(off, furthest(t, got[k*dim:(k+1)*dim], want[k*dim:(k+1)*dim]))
	}
	return off
}

// The walks are apart where a setting is, by much more than the bound: a setting that is not followed is seen.
func TestTheWalksTellTheSettingsApart(t *testing.T) {
	for _, pair := range [][2]string{
		{"dpm_long", "dpm_euler_final"}, {"dpm_long", "dpm_zero"}, {"dpm_heun", "dpm_heun_lower"}, {"dpm_heun_lower", "dpm_midpoint"},
		{"dpm_midpoint", "dpm_all_lambdas"}, {"ddim", "ddim_offset"},
	} {
		one, other := tensors(t, "walk."+pair[0]), tensors(t, "walk."+pair[1])
		last := make([]float64, 64)
		for i, v := range one[len(one)-64:] {
			last[i] = float64(v)
		}
		if apart := furthest(t, last, other[len(other)-64:]); apart < 10*walkBound {
			t.Errorf("%s and %s are %.1e apart", pair[0], pair[1], apart)
		}
	}
}

// A pipeline whose scheduler is of another class samples by default as diffusers does with that scheduler: the same timesteps, the same orders, the same ends.
func TestTheSchedulersClassDecidesTheSampler(t *testing.T) {
	var manifest struct {
		Cases map[string]struct {
			Sampler string
			Steps   int
		}
	}
	text, err := os.ReadFile(filepath.Join(others, "pipelines.json"))
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, &manifest); err != nil {
		t.Fatal(err)
	}
	if len(manifest.Cases) < 10 {
		t.Fatalf("%d cases", len(manifest.Cases))
	}
	xt := tensors(t, "x_T")
	for name, c := range manifest.Cases {
		t.Run(name, func(t *testing.T) {
			p := mustOpen(t, pipelineOf(t, "taken/"+name))
			if got := p.DefaultSampler(); got != c.Sampler {
				t.Fatalf("the sampler is %s, want %s", got, c.Sampler)
			}
			if c.Steps == 0 {
				return
			}
			got := walk(t, p, SampleOptions{N: 1, Steps: c.Steps, XT: xt})[0]
			off := furthestStep(t, got, tensors(t, "walk."+name), c.Steps)
			t.Logf("off by %.1e", off)
			if off > walkBound {
				t.Errorf("the walk is %.2g off diffusers'", off)
			}
			resolved := p.Schedule.Resolve(c.Sampler, diffusion.Options{Steps: c.Steps})
			if again := walk(t, p, SampleOptions{N: 1, Sampler: c.Sampler, Settings: resolved, XT: xt})[0]; !slices.Equal(again, got) {
				t.Errorf("the settings resolved, %+v, are others", resolved)
			}
			exported := filepath.Join(t.TempDir(), "exported")
			if err := p.Export(context.Background(), exported, ExportOptions{}); err != nil {
				t.Fatal(err)
			}
			if again := walk(t, mustOpen(t, exported), SampleOptions{N: 1, Steps: c.Steps, XT: xt})[0]; !slices.Equal(again, got) {
				t.Error("exported and opened again, the pipeline samples otherwise")
			}
		})
	}
}

// What is sampled with a sampler of another name than the class's follows the same file.
func TestASamplerThatIsNamedTakesThePipelinesSettings(t *testing.T) {
	xt := tensors(t, "x_T")
	p := mustOpen(t, pipelineOf(t, "taken/dpm_heun"))
	named := walk(t, p, SampleOptions{N: 1, Sampler: "dpm++2m-heun", Steps: 5, XT: xt})[0]
	if off := furthestStep(t, named, tensors(t, "walk.dpm_heun"), 5); off > walkBound {
		t.Errorf("named, the sampler of the class is %.2g off", off)
	}
	other := walk(t, p, SampleOptions{N: 1, Sampler: "dpm++1", Steps: 5, XT: xt})[0]
	if slices.Equal(named, other) {
		t.Error("dpm++1 is dpm++2m-heun")
	}
}

func TestSchedulersThatAreNotHereAreRefusedByName(t *testing.T) {
	for name, says := range map[string][]string{
		"dpm_karras":   {"use_karras_sigmas = true", "false only"},
		"dpm_order3":   {"solver_order = 3", "2 or 1"},
		"dpm_sde":      {`algorithm_type = "sde-dpmsolver++"`, `"dpmsolver++" only`},
		"dpm_learned":  {`variance_type is "learned_range"`},
		"ddpm_learned": {`variance_type is "learned_range"`},
		"heun":         {`timestep_spacing = "linspace"`, "HeunDiscreteScheduler", `"leading"`},
		"euler":        {"EulerDiscreteScheduler", "DDIMScheduler.from_config", "DPMSolverMultistepScheduler"},
		"unipc":        {"UniPCMultistepScheduler", "DDIMScheduler.from_config"},
		"flow":         {"FlowMatchEulerDiscreteScheduler", "which is not supported: it must be one of DDPMScheduler, "},
	} {
		_, err := Open(context.Background(), pipelineOf(t, "refused/"+name))
		refused(t, name, err, says...)
	}
}

// refused checks that there is an error in one line that says all of it.
func refused(t *testing.T, name string, err error, says ...string) {
	t.Helper()
	if err == nil {
		t.Errorf("%s: not refused", name)
		return
	}
	for _, s := range append(says, "") {
		if !strings.Contains(err.Error(), s) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: %q, want one line with %q", name, err, s)
		}
	}
}

// Whatever sample_size says, the model takes images of any size that its levels halve evenly, as diffusers' does.
func TestImagesOfAnotherSizeThanTheModelWasSavedWith(t *testing.T) {
	x, want := tensors(t, "size.x"), tensors(t, "size.out")
	for _, saved := range []string{"8", "null", "[16, 4]", "33", "0"} {
		dir := pipelineOf(t, "taken/ddim")
		edit(t, filepath.Join(dir, "unet", "config.json"), `"sample_size": 8`, `"sample_size": `+saved)
		p, err := mustOpen(t, dir).ForSize(20, 12)
		if err != nil {
			t.Fatal(err)
		}
		out, err := p.Predict(context.Background(), x, []int{500, 3}, nil)
		if err != nil {
			t.Fatal(err)
		}
		wide := make([]float64, len(out))
		for i, v := range out {
			wide[i] = float64(v)
		}
		if off := furthest(t, wide, want); off > 5e-5 {
			t.Errorf("sample_size %s: 20x12 is %.2g off diffusers", saved, off)
		}
		s := mustSample(t, p, SampleOptions{N: 1, Steps: 2})
		if s.H != 20 || s.W != 12 || len(s.Data) != 240 {
			t.Errorf("sample_size %s: sampled %dx%d", saved, s.H, s.W)
		}
		if x := p.InitialNoise(3, 0); len(x) != 240 {
			t.Errorf("sample_size %s: x_T has %d values", saved, len(x))
		}
	}
}

// A pipeline for another size shares the model, and leaves the pipeline it came from as it was.
func TestForSizeSharesTheModel(t *testing.T) {
	p := testPipeline(t, testConfig())
	before := mustSample(t, p, SampleOptions{N: 1, Steps: 2})
	q, err := p.ForSize(4, 6)
	if err != nil {
		t.Fatal(err)
	}
	if q.Model() != p.Model() || q.Schedule != p.Schedule {
		t.Error("the model or the schedule is another")
	}
	small := mustSample(t, q, SampleOptions{N: 1, Steps: 2})
	if small.H != 4 || small.W != 6 {
		t.Errorf("sampled %dx%d", small.H, small.W)
	}
	sameImage(t, "after another size", mustSample(t, p, SampleOptions{N: 1, Steps: 2}).Data, before.Data)
	back, err := q.ForSize(8, 12)
	if err != nil {
		t.Fatal(err)
	}
	sameImage(t, "back at the first size", mustSample(t, back, SampleOptions{N: 1, Steps: 2}).Data, before.Data)
	for _, size := range [][2]int{{0, 12}, {8, 0}, {-8, 12}, {7, 12}, {1 << 20, 1 << 20}, {math.MaxInt &^ 1, math.MaxInt &^ 1}, {2, 1 << 26}} {
		if _, err := p.ForSize(size[0], size[1]); err == nil || !strings.Contains(err.Error(), "images of ") {
			t.Errorf("%v: %v", size, err)
		}
	}
}

// Without a size nothing is sampled, and never an image of 0x0.
func TestAModelWithoutASizeAsksForOne(t *testing.T) {
	ctx := context.Background()
	for _, c := range []struct {
		size unet.Size
		says string
	}{{unet.Size{}, "sample_size is null"}, {unet.Size{H: 7, W: 12}, "images of 7x12 do not fit"}, {unet.Size{H: 1 << 40, W: 2}, "at most 67108864 pixels"}} {
		config := testConfig()
		config.SampleSize = c.size
		p := testPipeline(t, config)
		if ch, h, w := p.Shape(); ch != 1 || h != 0 || w != 0 {
			t.Errorf("%v: the shape is %d, %d, %d", c.size, ch, h, w)
		}
		errs := map[string]error{}
		_, errs["sample"] = p.Sample(ctx, SampleOptions{N: 1})
		_, errs["predict"] = p.Predict(ctx, nil, nil, nil)
		_, errs["encode"] = p.Encode(ctx, make([]float32, 96), EncodeOptions{})
		_, errs["interpolate"] = p.Interpolate(ctx, nil, nil, 2, SampleOptions{})
		_, errs["score"] = p.Score(ctx, nil, []int{1}, nil)
		for name, err := range errs {
			if !errors.Is(err, ErrNoSize) {
				t.Errorf("%s: %v, want ErrNoSize", name, err)
			}
			refused(t, name, err, c.says, "ForSize")
		}
	}
}

// A model that predicts a variance is refused when it is opened; one that sees more than x_t predicts and does not
// sample.
func TestModelsThatPredictOtherThanTheySee(t *testing.T) {
	dir := pipelineOf(t, "taken/ddpm")
	edit(t, filepath.Join(dir, "unet", "config.json"), `"out_channels": 1`, `"out_channels": 2`)
	_, err := Open(context.Background(), dir)
	refused(t, "2 out for 1", err, "1 channels in and 2 out", "variance_type learned or learned_range")

	s, err := diffusion.NewSchedule(diffusion.Defaults())
	if err != nil {
		t.Fatal(err)
	}
	c := testConfig()
	c.InChannels, c.OutChannels = 3, 6
	_, err = New(testModel(t, c), s)
	refused(t, "6 out for 3", err, "3 channels in and 6 out")

	c.InChannels, c.OutChannels = 2, 1
	p := testPipeline(t, c)
	out, err := p.Predict(context.Background(), make([]float32, 2*96), []int{3}, nil)
	if err != nil || len(out) != 96 {
		t.Errorf("%d values, %v", len(out), err)
	}
	_, err = p.Sample(context.Background(), SampleOptions{N: 1, Steps: 1})
	refused(t, "a conditioned model", err, "2 channels and predicts 1")
	_, err = p.Encode(context.Background(), make([]float32, 2*96), EncodeOptions{})
	refused(t, "a conditioned model", err, "2 channels and predicts 1")
}

// Weights that are none are refused when the model is opened, by the tensor's name.
func TestWeightsThatAreNoneAreRefused(t *testing.T) {
	type change = func(name string, shape []int, values []float32) []int
	for name, c := range map[string]struct {
		change change
		says   []string
	}{
		"NaN": {func(name string, shape []int, v []float32) []int {
			if name == "conv_in.bias" {
				v[2] = float32(math.NaN())
			}
			return shape
		}, []string{`"conv_in.bias"`, "value 2", "NaN"}},
		"infinite": {func(name string, shape []int, v []float32) []int {
			if name == "time_embedding.linear_1.weight" {
				v[0] = float32(math.Inf(-1))
			}
			return shape
		}, []string{`"time_embedding.linear_1.weight"`, "-Inf"}},
		"all zero": {func(_ string, shape []int, v []float32) []int { clear(v); return shape }, []string{"every value", "is 0", "cut off"}},
		"without values": {func(name string, shape []int, _ []float32) []int {
			if name == "conv_out.bias" {
				return []int{0}
			}
			return shape
		}, []string{`"conv_out.bias"`, "its shape in", "[0]", "[1]"}},
		"another shape": {func(name string, shape []int, _ []float32) []int {
			if name == "conv_out.weight" {
				return []int{2, shape[1], shape[2], shape[3]}
			}
			return shape
		}, []string{`"conv_out.weight"`, "its shape in"}},
	} {
		dir := pipelineOf(t, "taken/ddpm")
		path := filepath.Join(dir, "unet", "diffusion_pytorch_model.safetensors")
		rewriteWeights(t, path, c.change)
		_, err := Open(context.Background(), dir)
		refused(t, name, err, append(c.says, filepath.Base(path))...)
	}
}

// rewriteWeights writes the tensors of a file again, changed.
func rewriteWeights(t *testing.T, path string, change func(string, []int, []float32) []int) {
	t.Helper()
	r, err := safetensors.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	var list []safetensors.Tensor
	for _, name := range r.Names() {
		info, _ := r.Lookup(name)
		values := make([]float32, info.Len())
		if err := r.ReadFloat32(name, values); err != nil {
			t.Fatal(err)
		}
		shape := change(name, info.Shape, values)
		list = append(list, safetensors.Tensor{Name: name, Shape: shape, Fill: func(dst []float32) { copy(dst, values) }})
	}
	r.Close()
	if err := safetensors.WriteFile(context.Background(), path, list, safetensors.Options{}); err != nil {
		t.Fatal(err)
	}
}

// A configuration that describes a huge model beside small weights is refused by them, before there is room for it.
func TestAConfigurationAlonePromisesNothing(t *testing.T) {
	dir := pipelineOf(t, "taken/ddpm")
	config := filepath.Join(dir, "unet", "config.json")
	text, err := os.ReadFile(config)
	if err != nil {
		t.Fatal(err)
	}
	var c map[string]any
	if err := json.Unmarshal(text, &c); err != nil {
		t.Fatal(err)
	}
	c["block_out_channels"] = []int{1 << 16, 1 << 16}
	if text, err = json.Marshal(c); err != nil {
		t.Fatal(err)
	}
	rewrite(t, config, string(text))
	_, err = Open(context.Background(), dir)
	refused(t, "2^36 weights", err, "its shape in", "65536")
}
