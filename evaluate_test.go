package unstir

import (
	"context"
	"encoding/json"
	"errors"
	"math"
	"reflect"
	"strings"
	"testing"

	"unstir/classifier"
	"unstir/data"
	"unstir/diffusion"
	"unstir/featurenet"
	"unstir/nn/kernel"
	"unstir/unet"
)

// offline finds no dataset but those in the program.
func offline(t *testing.T) data.Options { return data.Options{Offline: true, CacheDir: t.TempDir()} }

// drawer is a class-conditional model that was never trained and is of no size.
func drawer(t *testing.T) *Pipeline {
	t.Helper()
	c := testConfig()
	c.SampleSize, c.NumClassEmbeds = unet.Size{}, 10
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

// A model of digits is evaluated with nothing but the program; what real digits score is far below what it scores.
func TestEvaluateNeedsNoData(t *testing.T) {
	if testing.Short() {
		t.Skip("it measures 10,000 images")
	}
	defer kernel.SetThreads(kernel.Threads())
	o := EvaluateOptions{
		Pipeline: drawer(t), Sample: SampleOptions{N: 70, Sampler: "ddim", Steps: 2, Seed: 3},
		Data: data.Config{Dataset: data.MNIST10K}, Open: offline(t),
	}
	last := map[string]int{}
	o.Progress = func(what string, done, total int) {
		if done <= last[what] || done > total {
			t.Errorf("%s: %d of %d after %d", what, done, total, last[what])
		}
		last[what] = done
	}
	e, err := Evaluate(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	if last["features"] != 2*70+10000 || len(last) != 1 {
		t.Errorf("progress %v", last)
	}
	r := e.Result
	if *r.Dataset != data.MNIST10K || r.N != 70 || *r.Sampler != "ddim" || *r.Steps != 2 || *r.Seed != 3 || r.ModelStep != nil || *r.FeatureNetAccuracy < 0.994 ||
		!strings.HasPrefix(*r.FeatureNet, "mnist-classifier ") || len(r.ClassHistogram) != 10 || *r.ImagesPerS <= 0 || r.AccuracyScore != nil || r.References != "mnist's test images" {
		t.Errorf("%s", r.Table())
	}
	if !(*r.Frechet > 10**r.FrechetReal && *r.FrechetNoise > 10**r.FrechetReal && *r.Recall < 0.1 && *r.ClassAccuracy < 0.5) {
		t.Errorf("%s", r.Table())
	}
	if whole, err := json.Marshal(e); err != nil || !strings.HasPrefix(string(whole), `{"dataset":"mnist-10k","n":70,`) {
		t.Errorf("%s, %v", whole, err)
	}
	m, err := e.Pairs(5)
	if err != nil || m.Bounds().Dx() <= m.Bounds().Dy() {
		t.Errorf("a picture of %v, %v", m, err)
	}
	// The same samples, given, on one thread.
	kernel.SetThreads(1)
	labels := make([]int, 70)
	for i := range labels {
		labels[i] = i % 10
	}
	again, err := Evaluate(t.Context(), EvaluateOptions{Samples: e.Samples, Labels: labels, Data: o.Data, Open: o.Open})
	if err != nil {
		t.Fatal(err)
	}
	want := *r
	want.Sampler, want.Steps, want.Seed, want.ImagesPerS = nil, nil, nil, nil
	if !reflect.DeepEqual(again.Result, &want) {
		t.Errorf("given the samples the result is\n%s\nand not\n%s", again.Table(), want.Table())
	}
}

// Samples that cannot be compared are an InputError, before anything is computed.
func TestEvaluateWrongInput(t *testing.T) {
	digits := func(n int, value float32) *Samples {
		s := &Samples{N: n, C: 1, H: 28, W: 28, Data: make([]float32, n*784)}
		s.Data[len(s.Data)-1] = value
		return s
	}
	mnist := data.Config{Dataset: data.MNIST10K}
	small, err := drawer(t).ForSize(8, 8)
	if err != nil {
		t.Fatal(err)
	}
	for want, o := range map[string]EvaluateOptions{
		"there is nothing to evaluate":               {Data: mnist},
		"name the dataset to compare with":           {Samples: digits(70, 0)},
		"nothing says what the model was trained on": {Pipeline: drawer(t)},
		"the program has no feature network for":     {Samples: digits(70, 0), Data: data.Config{Dataset: data.CIFAR10}},
		"64 samples for 64 features":                 {Samples: digits(64, 0), Data: mnist},
		"sample 69 has a value NaN":                  {Samples: digits(70, float32(math.NaN())), Data: mnist},
		"sample 69 has a value 1.0011":               {Samples: digits(70, 1.0011), Data: mnist},
		"7840 values for 70 images of 1x28x28":       {Samples: &Samples{N: 70, C: 1, H: 28, W: 28, Data: make([]float32, 7840)}, Data: mnist},
		"images of 3x28x28, and the feature network": {Samples: &Samples{N: 70, C: 3, H: 28, W: 28}, Data: mnist},
		"images of 1x8x8, and the feature network":   {Pipeline: small, Data: mnist},
		"3 labels for 70 samples":                    {Samples: digits(70, 0), Labels: []int{1, 2, 3}, Data: mnist},
		"label 10 of sample 0: the classes":          {Samples: digits(70, 0), Labels: append([]int{10}, make([]int, 69)...), Data: mnist},
	} {
		o.Open = offline(t)
		_, err := Evaluate(t.Context(), o)
		var input *InputError
		if !errors.As(err, &input) || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want an InputError with %q", err, want)
		}
	}
	// Training images of another size are none.
	mnist.Size = data.Size{H: 14, W: 14}
	noisy := digits(70, 0)
	for i := range noisy.Data {
		noisy.Data[i] = float32(math.Sin(float64(i * i)))
	}
	e, err := Evaluate(t.Context(), EvaluateOptions{Samples: noisy, Data: mnist, Open: offline(t)})
	if err != nil {
		t.Fatal(err)
	}
	if e.FrechetReal != nil || !strings.HasPrefix(e.Notes[0], "there are no training images: the images of mnist-10k are 1x14x14, and the feature network ") {
		t.Errorf("%q", e.Notes)
	}
	if _, err := e.Pairs(3); err == nil {
		t.Error("pairs with no training images")
	}
	mnist.Size = data.Size{}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Evaluate(ctx, EvaluateOptions{Samples: digits(70, 0), Data: mnist, Open: offline(t)}); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
}

// The accuracy score is that of a classifier that has seen the samples only: of real digits it is high, and with labels that say
// nothing it is that of chance.
func TestAccuracyScore(t *testing.T) {
	if testing.Short() {
		t.Skip("it trains classifiers")
	}
	set, err := data.Open(t.Context(), data.Config{Dataset: data.MNIST10K, Size: data.Size{H: 8, W: 8}}, data.Options{})
	if err != nil {
		t.Fatal(err)
	}
	const n = 500
	s := &Samples{N: n, C: 1, H: 8, W: 8, Data: make([]float32, n*64)}
	read, labels := featurenet.FromDataset(set), make([]int, n)
	for i := range n {
		read.Read(i, s.Data[i*64:(i+1)*64])
		labels[i] = set.Label(i)
	}
	c := classifier.Config{Channels: []int{8, 16}, Features: 16, InChannels: 1, Height: 8, Width: 8, Classes: 10}
	params, err := classifier.Layout(c)
	if err != nil {
		t.Fatal(err)
	}
	untrained, err := classifier.FromFlat(c, params, make([]float32, params.Len())) // only its architecture matters
	if err != nil {
		t.Fatal(err)
	}
	net, err := featurenet.New(t.Context(), "small", untrained, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	e := &evaluation{EvaluateOptions: EvaluateOptions{Samples: s, Labels: labels, Net: net, Data: data.Config{Dataset: data.MNIST10K, Size: data.Size{H: 8, W: 8}}, Open: offline(t)}, training: set}
	score, err := e.accuracyScore(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if *score < 0.8 || len(e.notes) != 1 || !strings.HasPrefix(e.notes[0], "accuracy_score is of the training images, as there are no test images: ") {
		t.Errorf("accuracy score %.3f, notes %q", *score, e.notes)
	}
	e.Labels = nil
	if score, err := e.accuracyScore(t.Context()); score != nil || err != nil || e.notes[1] != "accuracy_score is null: it needs labelled samples" {
		t.Errorf("without labels: %v, %v, %q", score, err, e.notes)
	}
	e.Labels, e.training = labels, nil
	if score, err := e.accuracyScore(t.Context()); score != nil || err != nil || !strings.HasPrefix(e.notes[2], "accuracy_score is null: there are no real images: ") {
		t.Errorf("without real images: %v, %v, %q", score, err, e.notes)
	}
	ctx, cancel := context.WithCancel(t.Context())
	e.training = set
	e.Progress = func(string, int, int) { cancel() }
	if _, err := e.accuracyScore(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("cut short: %v", err)
	}
}
