package unstir

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"sync"
	"testing"

	"unstir/diffusion"
	"unstir/internal/rng"
	"unstir/nn/kernel"
	"unstir/unet"
)

// testConfig is a small model with all that bits could depend on: two levels, attention, 3x3 and 1x1 convolutions.
func testConfig() unet.Config {
	c := unet.Defaults()
	c.SampleSize = unet.Size{H: 8, W: 12}
	c.InChannels, c.OutChannels = 1, 1
	c.BlockOutChannels = []int{8, 16}
	c.DownBlockTypes = []string{"DownBlock2D", "AttnDownBlock2D"}
	c.UpBlockTypes = []string{"AttnUpBlock2D", "UpBlock2D"}
	c.LayersPerBlock, c.NormNumGroups, c.AttentionHeadDim = 1, 4, 4
	return c
}

// testModel has random weights everywhere: a new model's last convolution is zero.
func testModel(t testing.TB, c unet.Config) *unet.Model {
	t.Helper()
	tensor := uint64(0)
	m, err := unet.Load(c, func(name string, shape []int, dst []float32) error {
		rng.Normal(dst, 7, rng.Weights, tensor, 0)
		tensor++
		fanIn := 1
		for _, d := range shape[1:] {
			fanIn *= d
		}
		for i := range dst {
			dst[i] *= float32(0.7 / math.Sqrt(float64(fanIn)))
			if len(shape) == 1 {
				dst[i] *= 0.2
				if strings.HasSuffix(name, ".weight") {
					dst[i]++
				}
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func testPipeline(t testing.TB, c unet.Config) *Pipeline {
	t.Helper()
	s, err := diffusion.NewSchedule(diffusion.Defaults())
	if err != nil {
		t.Fatal(err)
	}
	p, err := New(testModel(t, c), s)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func mustSample(t *testing.T, p *Pipeline, o SampleOptions) *Samples {
	t.Helper()
	s, err := p.Sample(context.Background(), o)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func sameImage(t *testing.T, what string, got, want []float32) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("%s: %d values, want %d", what, len(got), len(want))
	}
	for i := range got {
		if math.Float32bits(got[i]) != math.Float32bits(want[i]) {
			t.Fatalf("%s: value %d is %v, want %v", what, i, got[i], want[i])
		}
	}
}

// walk samples and returns x after every step, image by image: [N, steps, C H W]. It shows more than the samples,
// many of whose values are clamped.
func walk(t *testing.T, p *Pipeline, o SampleOptions) [][]float64 {
	t.Helper()
	images := make([][]float64, o.N)
	o.OnStep = func(s SampleStep) error {
		dim := len(s.X) / s.N
		for i := range s.N {
			images[s.First+i] = append(images[s.First+i], s.X[i*dim:(i+1)*dim]...)
		}
		return nil
	}
	mustSample(t, p, o)
	return images
}

// An image is a function of the seed and its number: alone, in batches of any size, at any place in them and on any
// number of threads its whole walk has the same bits.
func TestImageDoesNotDependOnTheBatch(t *testing.T) {
	p := testPipeline(t, testConfig())
	threads := kernel.Threads()
	defer kernel.SetThreads(threads)
	samplers := []string{"ddpm", "ddim", "dpm++2m"}
	if kernel.ThisCPU().Level == kernel.Generic {
		samplers = samplers[:1] // plain Go is slow
	}
	for _, sampler := range samplers {
		t.Run(sampler, func(t *testing.T) {
			base := SampleOptions{N: 64, Sampler: sampler, Steps: 4, Seed: 11, Batch: 64}
			all := walk(t, p, base)
			same := func(what string, got, want []float64) {
				t.Helper()
				if !slices.Equal(got, want) {
					t.Errorf("%s: the walk has other bits", what)
				}
			}
			threes := base
			threes.Batch = 3
			for i, x := range walk(t, p, threes) {
				same(fmt.Sprintf("image %d in a batch of 3", i), x, all[i])
			}
			for n := 1; n <= 3; n++ {
				kernel.SetThreads(n)
				for i, x := range walk(t, p, base) {
					same(fmt.Sprintf("image %d on %d threads", i, n), x, all[i])
				}
				for _, i := range []int{0, 1, 17, 63} {
					o := base
					o.N, o.First, o.Batch = 1, i, 0
					same(fmt.Sprintf("image %d alone on %d threads", i, n), walk(t, p, o)[0], all[i])
				}
			}
			if slices.Equal(all[0], all[1]) {
				t.Error("images 0 and 1 are the same: the seed's noise is not used")
			}
		})
	}
}

// Several clients of one pipeline get what each would get alone.
func TestSamplingAtOnce(t *testing.T) {
	p := testPipeline(t, testConfig())
	const clients = 6
	options := func(i int) SampleOptions {
		return SampleOptions{N: 1 + i%3, Sampler: []string{"ddpm", "ddim"}[i%2], Steps: 3, Seed: uint64(i), Batch: 2}
	}
	want := make([]*Samples, clients)
	for i := range want {
		want[i] = mustSample(t, p, options(i))
	}
	got := make([]*Samples, clients)
	errs := make([]error, clients)
	var wg sync.WaitGroup
	for i := range clients {
		wg.Go(func() { got[i], errs[i] = p.Sample(context.Background(), options(i)) })
	}
	wg.Wait()
	for i := range clients {
		if errs[i] != nil {
			t.Fatal(errs[i])
		}
		sameImage(t, fmt.Sprintf("client %d", i), got[i].Data, want[i].Data)
	}
}

// Sampling stops between two updates, and before the first, when its context is done.
func TestSampleStopsOnItsContext(t *testing.T) {
	p := testPipeline(t, testConfig())
	ctx, cancel := context.WithCancel(context.Background())
	steps := 0
	_, err := p.Sample(ctx, SampleOptions{N: 2, Steps: 50, OnStep: func(SampleStep) error {
		if steps++; steps == 3 {
			cancel()
		}
		return nil
	}})
	if !errors.Is(err, context.Canceled) || steps != 3 {
		t.Errorf("%d steps and error %v, want 3 and context.Canceled", steps, err)
	}
	if _, err := p.Sample(ctx, SampleOptions{N: 1}); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v, want context.Canceled", err)
	}
	if _, err := p.Predict(ctx, make([]float32, 96), []int{0}, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v, want context.Canceled", err)
	}
	stop := errors.New("seen enough")
	if _, err := p.Sample(context.Background(), SampleOptions{N: 1, OnStep: func(SampleStep) error { return stop }}); !errors.Is(err, stop) {
		t.Errorf("error %v, want the observer's", err)
	}
}

// What cannot be is refused, and the error says what is wrong.
func TestSampleRefuses(t *testing.T) {
	plain := testPipeline(t, testConfig())
	c := testConfig()
	c.NumClassEmbeds = 3
	classes := testPipeline(t, c)
	for _, x := range []struct {
		name string
		p    *Pipeline
		o    SampleOptions
		want string
	}{
		{"no images", plain, SampleOptions{}, "sample 0 images"},
		{"negative batch", plain, SampleOptions{N: 1, Batch: -1}, "a batch of -1 images"},
		{"short x_T", plain, SampleOptions{N: 2, XT: make([]float32, 96)}, "x_T has 96 values; 2 images of 1x8x12 have 192"},
		{"unknown sampler", plain, SampleOptions{N: 1, Sampler: "plms"}, `unknown sampler "plms"`},
		{"too many steps", plain, SampleOptions{N: 1, Steps: 1001}, "it must be 1 to num_train_timesteps = 1000"},
		{"eta without ddim", plain, SampleOptions{N: 1, Settings: diffusion.Options{Eta: 1}}, "only ddim takes it"},
		{"labels without classes", plain, SampleOptions{N: 1, Labels: []int{0}}, "not class-conditional"},
		{"no labels", classes, SampleOptions{N: 1}, "give each image a label from 0 to 2"},
		{"too few labels", classes, SampleOptions{N: 2, Labels: []int{0}}, "1 labels for 2 images"},
		{"unknown class", classes, SampleOptions{N: 1, Labels: []int{3}}, "the classes are 0 to 2"},
	} {
		t.Run(x.name, func(t *testing.T) {
			if _, err := x.p.Sample(context.Background(), x.o); err == nil || !strings.Contains(err.Error(), x.want) {
				t.Errorf("error %v, want one with %q", err, x.want)
			}
		})
	}
	if _, err := plain.Predict(context.Background(), make([]float32, 96), []int{1000}, nil); err == nil || !strings.Contains(err.Error(), "0 to 999") {
		t.Errorf("error %v, want one that names the timesteps", err)
	}
	if _, err := plain.Predict(context.Background(), make([]float32, 95), []int{1}, nil); err == nil {
		t.Error("a cut image is predicted from")
	}
}

// Samples lie in [-1, 1] also where the sampler does not clip; the x_T of an inversion is left as it is.
func TestSamplesAreClamped(t *testing.T) {
	p := testPipeline(t, testConfig())
	largest := func(x []float32) float64 {
		m := 0.0
		for _, v := range x {
			m = math.Max(m, math.Abs(float64(v)))
		}
		return m
	}
	beyond := 0.0
	s := mustSample(t, p, SampleOptions{N: 2, Sampler: "ddim", Steps: 5, Settings: diffusion.Options{Clip: diffusion.ClipNone},
		OnStep: func(s SampleStep) error {
			for _, v := range s.X {
				beyond = math.Max(beyond, math.Abs(v))
			}
			return nil
		}})
	if beyond <= 1 {
		t.Fatal("nothing was to be clamped: the test shows nothing")
	}
	if m := largest(s.Data); m > 1 {
		t.Errorf("a sample's value is %g", m)
	}
	e, err := p.Encode(context.Background(), s.Data, EncodeOptions{Steps: 5})
	if err != nil {
		t.Fatal(err)
	}
	if m := largest(e.Data); m <= 1 {
		t.Errorf("the largest value of x_T is %g: it was clamped", m)
	}
}
