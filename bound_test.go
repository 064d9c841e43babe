package unstir

import (
	"context"
	"errors"
	"math"
	"reflect"
	"slices"
	"strings"
	"testing"

	"unstir/data"
	"unstir/diffusion"
	"unstir/internal/rng"
	"unstir/nn/kernel"
	"unstir/unet"
)

// bounding is an evaluation of which only the bound is computed: a class-conditional model of 20 timesteps, and 60 test images of
// 8x12 in three classes.
func bounding(t *testing.T, n int, change func(*diffusion.Config)) *evaluation {
	t.Helper()
	c := testConfig()
	c.NumClassEmbeds = 3
	sc := diffusion.Defaults()
	sc.NumTrainTimesteps = 20
	if change != nil {
		change(&sc)
	}
	s, err := diffusion.NewSchedule(sc)
	if err != nil {
		t.Fatal(err)
	}
	p, err := New(testModel(t, c), s)
	if err != nil {
		t.Fatal(err)
	}
	e := &evaluation{EvaluateOptions: EvaluateOptions{Pipeline: p, BoundImages: n}}
	e.test = boundSet(t, 3)
	return e
}

func boundSet(t *testing.T, classes int) data.Dataset {
	t.Helper()
	const count, dim = 60, 8 * 12
	pixels, labels := make([]byte, count*dim), make([]int, count)
	for i := range pixels {
		pixels[i] = byte(rng.Intn(1, rng.Subset, 0, 0, uint64(i), 256))
	}
	for i := range labels {
		labels[i] = i % classes
	}
	set, err := data.NewMemory(data.Info{Name: "test", Channels: 1, Height: 8, Width: 12}, pixels, labels)
	if err != nil {
		t.Fatal(err)
	}
	return set
}

func mustBound(t *testing.T, e *evaluation) *Bound {
	t.Helper()
	if err := e.openBound(t.Context()); err != nil {
		t.Fatal(err)
	}
	b, err := e.computeBound(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// The bound is what Predict leads to, one image and timestep at a time, by another form of the divergence's formula: the squared error in
// eps with the weight beta^2 / (2 sigma^2 alpha (1 - alphaBar)) (Ho et al. 2020, eq. 12).
func TestBoundIsTheWeightedErrorOfPredict(t *testing.T) {
	for _, variance := range []string{"fixed_small", "fixed_large"} {
		e := bounding(t, 5, func(c *diffusion.Config) { c.VarianceType, c.ClipSample = variance, false })
		e.Sample.Seed = 9
		b := mustBound(t, e)
		s, dim := e.Pipeline.Schedule, 8*12
		want := make([]float64, s.T)
		for _, i := range e.boundImages {
			pixels, wide := make([]byte, dim), make([]float64, dim)
			e.test.Image(int(i), pixels)
			for ti := 1; ti < s.T; ti++ {
				x, eps := make([]float32, dim), make([]float32, dim)
				diffusion.BoundNoise(9)(wide, int(i), ti)
				for j, v := range pixels {
					eps[j] = float32(wide[j])
					x[j] = float32(math.Sqrt(s.AlphaBar[ti])*float64(data.Value(v)) + math.Sqrt(1-s.AlphaBar[ti])*wide[j])
				}
				out, err := e.Pipeline.Predict(t.Context(), x, []int{ti}, []int{int(i) % 3})
				if err != nil {
					t.Fatal(err)
				}
				beta, sigma2 := s.Beta[ti], s.BetaTilde[ti]
				if variance == "fixed_large" {
					sigma2 = beta
				}
				off := 0.0
				for j, v := range out {
					d := float64(v) - float64(eps[j])
					off += d * d
				}
				r := s.BetaTilde[ti] / sigma2
				nats := (r-1-math.Log(r))/2 + beta*beta/(2*sigma2*(1-beta)*(1-s.AlphaBar[ti]))*off/float64(dim)
				want[ti] += nats / math.Ln2 / float64(len(e.boundImages))
			}
		}
		for ti := 1; ti < s.T; ti++ {
			if math.Abs(b.Terms[ti]/want[ti]-1) > 1e-5 {
				t.Errorf("%s: term %d is %v, want %v", variance, ti, b.Terms[ti], want[ti])
			}
		}
		sum := b.Prior
		for _, v := range b.Terms {
			sum += v
		}
		if math.Abs(sum/b.Total-1) > 1e-12 || !(b.StdErr > 0) || b.Images != 5 {
			t.Errorf("%s: the parts add up to %v of %+v", variance, sum, b)
		}
	}
}

// The bound depends on the seed, the model and the labels, and not on threads and batches.
func TestBoundIsTheSameOnAnyThreads(t *testing.T) {
	defer kernel.SetThreads(kernel.Threads())
	kernel.SetThreads(1)
	e := bounding(t, 7, nil)
	last := 0
	e.Progress = func(what string, done, total int) {
		if what != "bits per dimension" || done <= last || total != 7*20 {
			t.Errorf("%s: %d of %d after %d", what, done, total, last)
		}
		last = done
	}
	want := mustBound(t, e)
	if last != 7*20 {
		t.Errorf("progress ends at %d", last)
	}
	kernel.SetThreads(3)
	for _, batch := range []int{1, 3, 32} {
		e := bounding(t, 7, nil)
		e.Sample.Batch = batch
		if got := mustBound(t, e); !reflect.DeepEqual(got, want) {
			t.Errorf("batch %d: %v, want %v", batch, got.Total, want.Total)
		}
	}
	first := e.boundImages
	if e := bounding(t, 4, nil); mustBound(t, e) == nil || !slices.Equal(e.boundImages, first[:4]) {
		t.Errorf("4 images are %v, 7 are %v", e.boundImages, first)
	}
	for what, change := range map[string]func(*evaluation){
		"seed":     func(e *evaluation) { e.Sample.Seed = 1 },
		"variance": func(e *evaluation) { e.Sample.Settings.Variance = diffusion.VarianceBeta },
		"clip":     func(e *evaluation) { e.Sample.Settings.Clip = diffusion.ClipNone },
		"labels":   func(e *evaluation) { e.test = boundSet(t, 2) },
	} {
		e := bounding(t, 7, nil)
		change(e)
		if got := mustBound(t, e); got.Total == want.Total {
			t.Errorf("another %s has the same bound", what)
		}
	}
	if one := mustBound(t, bounding(t, 1, nil)); !math.IsNaN(one.StdErr) {
		t.Errorf("the standard error of one image is %v", one.StdErr)
	}
}

// What cannot have a bound is an InputError; where there are no test images a note says so.
func TestBoundOfWrongInput(t *testing.T) {
	small, err := data.NewMemory(data.Info{Name: "small", Channels: 1, Height: 8, Width: 8}, make([]byte, 64*9), make([]int, 9))
	if err != nil {
		t.Fatal(err)
	}
	unlabelled, err := data.NewMemory(data.Info{Name: "plain", Channels: 1, Height: 8, Width: 12}, make([]byte, 96*9), nil)
	if err != nil {
		t.Fatal(err)
	}
	for want, change := range map[string]func(*evaluation){
		"bits per dimension are those of a model":                     func(e *evaluation) { e.Pipeline = nil },
		"bits per dimension of -1 images":                             func(e *evaluation) { e.BoundImages = -1 },
		"bits per dimension of 61 images: test has 60 test images":    func(e *evaluation) { e.BoundImages = 61 },
		"the images of small are 1x8x8, and the model's 1x8x12":       func(e *evaluation) { e.test = small },
		"is not one of the 3 classes":                                 func(e *evaluation) { e.test = boundSet(t, 4) },
		"the label of test image":                                     func(e *evaluation) { e.test = unlabelled },
		"variational bound: the schedule has one timestep":            func(e *evaluation) { e.Pipeline.Schedule = oneStep(t) },
		"variational bound: variance = 3 is not possible: it must be": func(e *evaluation) { e.Sample.Settings.Variance = diffusion.Variance{Set: true, F: 3} },
	} {
		e := bounding(t, 9, nil)
		change(e)
		var input *InputError
		if err := e.openBound(t.Context()); !errors.As(err, &input) || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want an InputError with %q", err, want)
		}
	}
	e := bounding(t, 5, nil)
	e.test, e.Data, e.Open = nil, data.Config{Dataset: data.MNIST}, offline(t)
	if b := mustBound(t, e); b != nil || len(e.notes) != 1 || !strings.HasPrefix(e.notes[0], "bits_per_dim is null: there are no test images: ") {
		t.Errorf("%v, notes %q", b, e.notes)
	}
	ctx, cancel := context.WithCancel(t.Context())
	e = bounding(t, 5, nil)
	e.Progress = func(string, int, int) { cancel() }
	if err := e.openBound(ctx); err != nil {
		t.Fatal(err)
	}
	if _, err := e.computeBound(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("cut short: %v", err)
	}
}

func oneStep(t *testing.T) *diffusion.Schedule {
	t.Helper()
	c := diffusion.Defaults()
	c.NumTrainTimesteps = 1
	s, err := diffusion.NewSchedule(c)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// A model of no size of its own takes that of the images.
func TestBoundOfAModelOfNoSize(t *testing.T) {
	e := bounding(t, 3, nil)
	c := e.Pipeline.Model().Config
	want := mustBound(t, e)
	c.SampleSize = unet.Size{}
	p, err := New(testModel(t, c), e.Pipeline.Schedule)
	if err != nil {
		t.Fatal(err)
	}
	e = bounding(t, 3, nil)
	e.Pipeline = p
	if got := mustBound(t, e); !reflect.DeepEqual(got, want) {
		t.Errorf("the bound is %v, want %v", got.Total, want.Total)
	}
}

// The plot has a line for the terms and one for their sum; terms of 0 are left out of the former.
func TestPlotOfABound(t *testing.T) {
	m, err := (&Bound{Total: 2, Terms: []float64{1, 0.5, 0, 0.25}}).Plot()
	if err != nil {
		t.Fatal(err)
	}
	var lines [2]int // pixels of the lines on the left and on the right
	for y := range m.Bounds().Dy() {
		for x := range m.Bounds().Dx() {
			if r, g, b, _ := m.At(x, y).RGBA(); r>>8 == 20 && g>>8 == 60 && b>>8 == 140 {
				lines[2*x/m.Bounds().Dx()]++
			}
		}
	}
	if lines[0] < 100 || lines[1] < 100 {
		t.Errorf("a picture of %v, with %v pixels of its lines", m.Bounds(), lines)
	}
	if _, err := (&Bound{Terms: []float64{1, 0, 0}}).Plot(); err == nil {
		t.Error("a plot of a single point")
	}
}
