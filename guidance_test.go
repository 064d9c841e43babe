package unstir

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"testing"

	"unstir/diffusion"
	"unstir/nn/kernel"
)

func guidablePipeline(t *testing.T) *Pipeline {
	t.Helper()
	p, err := guidable()
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// turns are n labels, the two classes of shades in turn.
func turns(n int) []int {
	labels := make([]int, n)
	for i := range labels {
		labels[i] = i % 2
	}
	return labels
}

// A weight of 1 gives the bits of sampling without guidance, for any model and by the same predictor; a weight of 0 those of the
// null class, whatever the labels.
func TestWeightsOneAndZero(t *testing.T) {
	p := guidablePipeline(t)
	null, _ := p.NullClass()
	for _, sampler := range []string{"ddpm", "ddim", "dpm++2m", "heun"} {
		o := SampleOptions{N: 5, Batch: 3, Sampler: sampler, Steps: 6, Seed: 4, Labels: turns(5)}
		plain := mustSample(t, p, o).Data
		o.Guidance = &diffusion.Guidance{Weight: 1, Rescale: 0.5}
		if !slices.Equal(mustSample(t, p, o).Data, plain) {
			t.Errorf("%s: weight 1 is not the model without guidance", sampler)
		}
		o.Guidance = &diffusion.Guidance{Weight: 0}
		free := mustSample(t, p, o).Data
		if slices.Equal(free, plain) {
			t.Errorf("%s: weight 0 draws what the labels say", sampler)
		}
		o.Guidance, o.Labels = nil, slices.Repeat([]int{null}, 5)
		if !slices.Equal(mustSample(t, p, o).Data, free) {
			t.Errorf("%s: weight 0 is not the null class", sampler)
		}
	}
	without := trainedPipeline(t)
	o := SampleOptions{N: 2, Sampler: "ddim", Steps: 3, Labels: turns(2)}
	plain := mustSample(t, without, o).Data
	o.Guidance = &diffusion.Guidance{Weight: 1}
	if !slices.Equal(mustSample(t, without, o).Data, plain) {
		t.Error("weight 1 of a model without a null class is not the model without guidance")
	}
}

// Guidance evaluates the model on both conditions in one batch, of twice the images, and where it does not act on the images alone.
func TestGuidanceEvaluatesBothInOneBatch(t *testing.T) {
	p := guidablePipeline(t)
	timesteps := []int{999, 500, 0}
	for _, c := range []struct {
		g                *diffusion.Guidance
		batch            int
		wantOne, wantTwo int // images of the predictors; 0: none
	}{
		{nil, 0, 16, 0},
		{&diffusion.Guidance{Weight: 1}, 0, 16, 0},
		{&diffusion.Guidance{Weight: 0}, 0, 16, 0},
		{&diffusion.Guidance{Weight: 2}, 0, 0, 16},
		{&diffusion.Guidance{Weight: 2}, 5, 0, 10},
		{&diffusion.Guidance{Weight: 2, Interval: &diffusion.Interval{Low: 100, High: 999}}, 5, 5, 10},
		{&diffusion.Guidance{Weight: 2, Interval: &diffusion.Interval{Low: 600, High: 900}}, 5, 5, 0},
		{&diffusion.Guidance{Weight: 0, Rescale: 1}, 1, 0, 2},
	} {
		e, err := p.evaluator(SampleOptions{N: 40, Batch: c.batch, Guidance: c.g}, timesteps, 0)
		if err != nil {
			t.Fatal(err)
		}
		one, two := 0, 0
		if e.one != nil {
			one = e.one.Batch()
		}
		if e.both != nil {
			two = e.both.Batch()
		}
		if one != c.wantOne || two != c.wantTwo {
			t.Errorf("%+v, batch %d: predictors of %d and %d images, want %d and %d", c.g, c.batch, one, two, c.wantOne, c.wantTwo)
		}
		p.free(e)
	}
}

// A guided run is the loop that the paper writes: DDIM on what one prediction by the class and one by the null class give.
func TestGuidedRunIsThePapersLoop(t *testing.T) {
	p := guidablePipeline(t)
	const n, steps, dim = 3, 10, 64
	g := &diffusion.Guidance{Weight: 2.5, Rescale: 0.7, Interval: &diffusion.Interval{Low: 100, High: 700}, KeepEps: true}
	labels := []int{1, 0, 1}
	null := []int{2, 2, 2}
	x := make([]float64, n*dim)
	for i := range n {
		for j, v := range p.InitialNoise(6, i) {
			x[i*dim+j] = float64(v)
		}
	}
	for k := range steps {
		ti := (steps - 1 - k) * 100
		x32 := make([]float32, len(x))
		for j, v := range x {
			x32[j] = float32(v)
		}
		ts := []int{ti, ti, ti}
		cond, err := p.Predict(t.Context(), x32, ts, labels)
		if err != nil {
			t.Fatal(err)
		}
		free, err := p.Predict(t.Context(), x32, ts, null)
		if err != nil {
			t.Fatal(err)
		}
		a, prev := p.Schedule.AlphaBar[ti], 1.0
		if ti >= 100 {
			prev = p.Schedule.AlphaBar[ti-100]
		}
		for i := range n {
			eps := make([]float64, dim)
			var sc, scc, sg, sgg float64
			for j := range eps {
				c, f := float64(cond[i*dim+j]), float64(free[i*dim+j])
				eps[j] = c
				if ti >= 100 && ti <= 700 {
					eps[j] = f + 2.5*(c-f)
				}
				sc, scc, sg, sgg = sc+c, scc+c*c, sg+eps[j], sgg+eps[j]*eps[j]
			}
			ratio := math.Sqrt((scc - sc*sc/dim) / (sgg - sg*sg/dim))
			for j, e := range eps {
				if ti >= 100 && ti <= 700 {
					e = 0.7*e*ratio + 0.3*e
				}
				at := &x[i*dim+j]
				x0 := max(-1, min(1, (*at-math.Sqrt(1-a)*e)/math.Sqrt(a)))
				*at = math.Sqrt(prev)*x0 + math.Sqrt(1-prev)*e
			}
		}
	}
	got := mustSample(t, p, SampleOptions{N: n, Sampler: "ddim", Steps: steps, Seed: 6, Labels: labels, Guidance: g}).Data
	for j, v := range got {
		if d := math.Abs(float64(v) - x[j]); !(d < 1e-5) {
			t.Fatalf("value %d is %v, and %v by hand", j, v, x[j])
		}
	}
}

// Guided images have the same bits in any batch and on any number of threads.
func TestGuidedImagesDoNotDependOnTheBatch(t *testing.T) {
	p := guidablePipeline(t)
	o := SampleOptions{
		N: 7, Sampler: "ddpm", Steps: 5, Seed: 8, Labels: turns(7),
		Guidance: &diffusion.Guidance{Weight: 3, Rescale: 0.3, Interval: &diffusion.Interval{Low: 300, High: 999}},
	}
	want := mustSample(t, p, o).Data
	defer kernel.SetThreads(kernel.Threads())
	for _, c := range []struct{ batch, threads int }{{1, 1}, {3, 2}, {7, 3}} {
		kernel.SetThreads(c.threads)
		o.Batch = c.batch
		if !slices.Equal(mustSample(t, p, o).Data, want) {
			t.Errorf("batches of %d on %d threads have other bits", c.batch, c.threads)
		}
	}
	some := o
	some.N, some.Numbers, some.Labels = 2, []int{5, 2}, []int{1, 0}
	got := mustSampleEach(t, p, some)
	for i, x := range got {
		sameImage(t, fmt.Sprintf("image %d", i), x, want[i*64:(i+1)*64])
	}
}

// Guidance is a model's, and so goes with what a sampler does with given images: weight 1 has their bits without it.
func TestGuidanceOfGivenImages(t *testing.T) {
	p := guidablePipeline(t)
	given, _ := trainImages(t, 2)
	mask := make([]bool, 64)
	for i := range mask {
		mask[i] = i%8 < 3
	}
	for name, o := range map[string]SampleOptions{
		"edit":    {Edit: &Edit{Images: given, Strength: 0.6}},
		"inpaint": {Inpaint: &Inpaint{Images: given, Mask: mask}},
		"no step": {Edit: &Edit{Images: given}},
	} {
		o.N, o.Sampler, o.Steps, o.Labels = 3, "ddim", 8, turns(3)
		with := func(weight float64, batch int) []float32 {
			o.Guidance, o.Batch = &diffusion.Guidance{Weight: weight}, batch
			return mustSample(t, p, o).Data
		}
		plain := mustSample(t, p, o).Data
		if !slices.Equal(with(1, 2), plain) {
			t.Errorf("%s: weight 1 is not the run without guidance", name)
		}
		guided := with(3, 2)
		if slices.Equal(guided, plain) != (name == "no step") {
			t.Errorf("%s: guidance changes the images: %t", name, !slices.Equal(guided, plain))
		}
		if !slices.Equal(with(3, 1), guided) {
			t.Errorf("%s: the bits depend on the batch", name)
		}
	}
}

// Guidance does what it is for: the larger the weight, the further apart are the two classes of images.
func TestGuidanceDrivesClassesApart(t *testing.T) {
	p := guidablePipeline(t)
	const n = 12
	apart := func(w float64) float64 {
		s := mustSample(t, p, SampleOptions{N: n, Sampler: "ddim", Steps: 20, Seed: 5, Labels: turns(n), Guidance: &diffusion.Guidance{Weight: w}})
		d := 0.0
		for i := range n {
			for _, v := range s.part(i) {
				d += float64(v) * float64(2*(i%2)-1) / (n * 32)
			}
		}
		return d
	}
	w0, w1, w3, w5 := apart(0), apart(1), apart(3), apart(5)
	t.Logf("the means of the classes are %.2f apart with weight 0, %.2f with 1, %.2f with 3, %.2f with 5", w0, w1, w3, w5)
	if !(math.Abs(w0) < w1 && 3*w1 < w3 && w3 < w5) {
		t.Error("they do not grow apart")
	}
}

// An image that is encoded with guidance comes back by the guided run.
func TestGuidedEncodingReturnsTheImage(t *testing.T) {
	p := guidablePipeline(t)
	x, labels := trainImages(t, 4)
	g := &diffusion.Guidance{Weight: 1.5}
	e, err := p.Encode(t.Context(), x, EncodeOptions{Steps: 20, Labels: labels, Guidance: g})
	if err != nil {
		t.Fatal(err)
	}
	back := func(g *diffusion.Guidance) float64 {
		rms, _ := rmsOf(mustSample(t, p, SampleOptions{
			N: 4, Sampler: "ddim", Steps: 20, XT: e.Data, Labels: labels, Guidance: g, Settings: diffusion.Options{Clip: diffusion.ClipNone},
		}).Data, x)
		return rms
	}
	if with, without := back(g), back(nil); !(with < 2/255.0 && without > 5*with) {
		t.Errorf("the image comes back %.3g off with guidance, and %.3g off without", with, without)
	}
}

// What cannot be guided says why, and what would be right.
func TestModelsThatCannotBeGuided(t *testing.T) {
	c := testConfig()
	plain := testPipeline(t, c)
	c.NumClassEmbeds = 3
	pipeline := testPipeline(t, c)
	c.NumClassEmbeds = 1
	single := testPipeline(t, c)
	two := &diffusion.Guidance{Weight: 2}
	check := func(what string, err error, want string) {
		t.Helper()
		var g *diffusion.GuidanceError
		if !errors.As(err, &g) || err.Error() != "unstir: "+want {
			t.Errorf("%s: error %v, want %s", what, err, want)
		}
	}
	check("no classes", plain.CheckGuidance(two),
		"guidance 2: the model is not class-conditional, and there is no class to guide it to: train one with model.num_class_embeds and train.label_dropout")
	check("trained without", trainedPipeline(t).CheckGuidance(two),
		"guidance 2: the model was not trained to do without the class: train one with train.label_dropout, such as 0.1")
	check("pipeline", pipeline.CheckGuidance(two), "guidance 2: the model does not say which of its class embeddings is the null class")
	check("weight", guidablePipeline(t).CheckGuidance(&diffusion.Guidance{Weight: -2}), "guidance -2: it must be a number from 0 on, such as 2")
	check("weight of any model", plain.CheckGuidance(&diffusion.Guidance{Weight: math.NaN()}), "guidance NaN: it must be a number from 0 on, such as 2")
	check("interval", guidablePipeline(t).CheckGuidance(&diffusion.Guidance{Weight: 1, Interval: &diffusion.Interval{Low: 0, High: 1000}}),
		"guidance-interval 0,1000: the timesteps that the model was trained on are 0 to 999")
	_, err := pipeline.Sample(t.Context(), SampleOptions{N: 1, Labels: []int{0}, Guidance: two})
	check("sampling", err, "guidance 2: the model does not say which of its class embeddings is the null class")
	null := func(p *Pipeline, label int) error { _, err := p.WithNullClass(label); return err }
	check("no classes", null(plain, 0), "null-class 0: the model is not class-conditional")
	check("one class", null(single, 0), "null-class 0: the model has no class beside it")
	check("beyond", null(pipeline, 3), "null-class 3: the model's class embeddings are 0 to 2")
	check("negative", null(pipeline, -1), "null-class -1: the model's class embeddings are 0 to 2")
	check("trained without", null(trainedPipeline(t), 1), "null-class 1: the model was trained without one, as train.label_dropout was 0")
	check("another", null(guidablePipeline(t), 1), "null-class 1: this model's is 2, and need not be given")
	if p, err := guidablePipeline(t).WithNullClass(2); err != nil || p != guidablePipeline(t) {
		t.Errorf("the model's own null class: %v", err)
	}
	if err := plain.CheckGuidance(&diffusion.Guidance{Weight: 1}); err != nil {
		t.Errorf("weight 1 of an unconditional model: %v", err)
	}
}

// Guided runs of ddim take eps from the clipped x_0, unless they are told to keep it.
func TestGuidedDDIMTakesEpsFromTheClippedImage(t *testing.T) {
	p := guidablePipeline(t)
	for _, c := range []struct {
		sampler  string
		guidance diffusion.Guidance
		rederive bool
	}{
		{"ddim", diffusion.Guidance{Weight: 2}, true},
		{"ddim", diffusion.Guidance{Weight: 2, KeepEps: true}, false},
		{"ddim", diffusion.Guidance{Weight: 1}, false},
		{"ddim", diffusion.Guidance{Weight: 0.5}, false},
		{"ddpm", diffusion.Guidance{Weight: 2}, false},
		{"heun", diffusion.Guidance{Weight: 2}, false},
	} {
		o := SampleOptions{N: 1, Sampler: c.sampler, Steps: 10, Labels: []int{1}, Guidance: &c.guidance}
		if _, settings := p.settings(o); settings.RederiveEps != c.rederive {
			t.Errorf("%s, %+v: RederiveEps is %t", c.sampler, c.guidance, settings.RederiveEps)
		}
		got, want := mustSample(t, p, o), o
		kept := c.guidance
		kept.KeepEps, want.Guidance, want.Settings.RederiveEps = true, &kept, c.rederive
		if !slices.Equal(got.Data, mustSample(t, p, want).Data) {
			t.Errorf("%s, %+v: the images are not those of RederiveEps = %t", c.sampler, c.guidance, c.rederive)
		}
	}
}

// Guidance needs the memory of two predictions for each image, which is foreseen.
func TestMemoryOfGuidance(t *testing.T) {
	p := guidablePipeline(t)
	t.Setenv("UNSTIR_MEMORY", "30000000")
	fits := func(g *diffusion.Guidance) int {
		var short *MemoryError
		_, err := p.Sample(context.Background(), SampleOptions{N: 5000, Batch: 5000, Sampler: "ddim", Steps: 2, Labels: turns(5000), Guidance: g})
		if !errors.As(err, &short) {
			t.Fatalf("error %v, want a *MemoryError", err)
		}
		return short.Fits
	}
	plain, guided := fits(nil), fits(&diffusion.Guidance{Weight: 2})
	partly := fits(&diffusion.Guidance{Weight: 2, Interval: &diffusion.Interval{Low: 0, High: 400}})
	if !(partly < guided && guided < plain && guided > plain/3) {
		t.Errorf("%d images fit without guidance, %d with it, %d with it in an interval", plain, guided, partly)
	}
}
