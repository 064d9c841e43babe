package metrics

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"unstir/internal/npy"
)

func sameJSON(t *testing.T, got, want *Result) {
	t.Helper()
	a, errA := json.Marshal(got)
	b, errB := json.Marshal(want)
	if errA != nil || errB != nil {
		t.Fatal(errA, errB)
	}
	if !bytes.Equal(a, b) {
		t.Errorf("%s\nwant\n%s", a, b)
	}
}

// keys are those of a JSON object, in its order, with whether each is null.
func keys(t *testing.T, r *Result) (names []string, null map[string]bool) {
	t.Helper()
	text, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	null = map[string]bool{}
	d := json.NewDecoder(bytes.NewReader(text))
	if _, err := d.Token(); err != nil {
		t.Fatal(err)
	}
	for d.More() {
		name, err := d.Token()
		if err != nil {
			t.Fatal(err)
		}
		var value json.RawMessage
		if err := d.Decode(&value); err != nil {
			t.Fatal(err)
		}
		names = append(names, name.(string))
		null[name.(string)] = string(value) == "null"
	}
	return names, null
}

var allKeys = strings.Fields(`dataset n sampler steps seed guidance settings model_step feature_net feature_net_accuracy frechet frechet_real
	frechet_noise kernel_mean kernel_std precision recall density coverage class_histogram class_entropy class_accuracy
	accuracy_score near_copies bits_per_dim bits_per_dim_stderr images_per_s`)

func TestEveryKeyIsAlwaysThere(t *testing.T) {
	x, y := normal(1, 100, 8, 0, 1), normal(2, 120, 8, 0, 1)
	classes := make([]int, 100)
	for i := range classes {
		classes[i] = i % 4
	}
	caller := strings.Fields("dataset sampler steps seed guidance settings model_step feature_net feature_net_accuracy accuracy_score bits_per_dim bits_per_dim_stderr images_per_s")
	for _, test := range []struct {
		what string
		in   Input
		null []string
	}{
		{"samples and references", Input{Samples: x, References: y}, strings.Fields("frechet_real frechet_noise class_histogram class_entropy class_accuracy near_copies")},
		{"everything", Input{Samples: x, References: y, Training: normal(3, 500, 8, 0, 1), Noise: x, Classes: classes, NumClasses: 5, Labels: make([]int, 100)}, nil},
		{"few training images", Input{Samples: x, References: y, Training: normal(3, 60, 8, 0, 1), Classes: classes, NumClasses: 5}, strings.Fields("frechet_real frechet_noise class_accuracy")},
		{"hardly any rows", Input{Samples: Features{3, 2, []float64{0, 1, 2, 3, 5, 4}}, References: Features{3, 2, []float64{0, 1, 2, 3, 5, 4}}},
			strings.Fields("frechet_real frechet_noise precision recall density coverage class_histogram class_entropy class_accuracy near_copies")},
	} {
		r, err := Evaluate(t.Context(), test.in)
		if err != nil {
			t.Fatal(test.what, err)
		}
		names, null := keys(t, r)
		if !slices.Equal(names, allKeys) {
			t.Errorf("%s: keys %v", test.what, names)
		}
		for _, k := range names {
			if want := slices.Contains(test.null, k) || slices.Contains(caller, k); null[k] != want {
				t.Errorf("%s: %s null: %t, want %t", test.what, k, null[k], want)
			}
		}
		for _, k := range []string{"frechet_real", "near_copies"} { // the reason is said
			if null[k] && !strings.Contains(strings.Join(r.Notes, "\n"), k+" is null") {
				t.Errorf("%s: %s is null without a note: %q", test.what, k, r.Notes)
			}
		}
		if strings.Contains(r.Table(), "NaN") {
			t.Error(r.Table())
		}
	}
	if Number(math.NaN()) != nil || Number(math.Inf(-1)) != nil || *Number(2) != 2 {
		t.Error("Number takes what JSON cannot hold, or refuses a number")
	}
}

// Evaluate computes what the functions that it is made of do.
func TestEvaluateIsItsParts(t *testing.T) {
	ctx := t.Context()
	samples, references := normal(1, 300, 8, 0.2, 1), normal(1, 400, 8, 0, 1)
	training, noise := normal(1, 1600, 8, 0, 1), normal(4, 300, 8, 5, 1)
	classes := []int{0, 0, 0, 1, 1, 1, 1, 1, 1, 1}
	labels := []int{0, 0, 1, 1, 1, 1, 1, 1, 1, 1}
	var allClasses, allLabels []int
	for range 30 {
		allClasses, allLabels = append(allClasses, classes...), append(allLabels, labels...)
	}
	r, err := Evaluate(ctx, Input{Samples: samples, References: references, Training: training, Noise: noise,
		Classes: allClasses, NumClasses: 3, Labels: allLabels, Seed: 3})
	if err != nil {
		t.Fatal(err)
	}
	want := func(what string, got *float64, value float64, err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		if got == nil || *got != value {
			t.Errorf("%s is %v, want %v", what, got, value)
		}
	}
	v, err := Frechet(samples, references)
	want("frechet", r.Frechet, v, err)
	v, err = Frechet(noise, references)
	want("frechet_noise", r.FrechetNoise, v, err)
	v, _, err = frechetReal(ctx, training, references, 300, 3)
	want("frechet_real", r.FrechetReal, v, err)
	mean, std, err := Kernel(ctx, samples, references, 3)
	want("kernel_mean", r.KernelMean, mean, err)
	want("kernel_std", r.KernelStd, std, err)
	c, err := NearCopies(ctx, samples, references, training)
	want("near_copies", r.NearCopies, c.Share, err)
	want("class_entropy", r.ClassEntropy, -(0.3*math.Log(0.3) + 0.7*math.Log(0.7)), nil)
	want("class_accuracy", r.ClassAccuracy, 0.9, nil)
	if !slices.Equal(r.ClassHistogram, []int{90, 210, 0}) {
		t.Errorf("histogram %v", r.ClassHistogram)
	}
	m, err := CompareManifolds(ctx, samples, references.random(300, 3, referenceSubset), 5)
	want("precision", r.Precision, m.Precision, err)
	want("recall", r.Recall, m.Recall, err)
	want("density", r.Density, m.Density, err)
	want("coverage", r.Coverage, m.Coverage, err)

	all, err := Frechet(training, references)
	if err != nil {
		t.Fatal(err)
	}
	few := fmt.Sprintf("300 samples are few: as many real images have a Fréchet distance of %.3g, all 1600 of them %.3g", *r.FrechetReal, all)
	if !strings.Contains(strings.Join(r.Notes, "\n"), few) || all >= *r.FrechetReal {
		t.Errorf("notes %q, want %q", r.Notes, few)
	}
	r, err = Evaluate(ctx, Input{Samples: normal(1, SmallN, 2, 0, 1), References: normal(2, SmallN, 2, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(strings.Join(r.Notes, "\n"), "few") {
		t.Errorf("%d samples are called few: %q", SmallN, r.Notes)
	}
}

// Of more rows than ManifoldRows a random choice is compared.
func TestLargeSetsAreChosenFrom(t *testing.T) {
	f := normal(1, 50, 2, 0, 1)
	a, b := f.random(20, 1, sampleSubset), f.random(20, 2, sampleSubset)
	if a.N != 20 || slices.Equal(a.Data, b.Data) || slices.Equal(a.Data, f.Data[:40]) {
		t.Error("a choice of 20 rows is not random")
	}
}

func TestEvaluateRefusesWhatDoesNotFit(t *testing.T) {
	x := normal(1, 20, 3, 0, 1)
	for says, in := range map[string]Input{
		"samples: 3 rows of 3 features: the covariance needs at least 4":         {Samples: x.part(0, 3), References: x},
		"references: 2 rows of 3 features: the covariance needs at least 4":      {Samples: x, References: x.part(0, 2)},
		"training images: 3 rows of 3 features: the covariance needs at least 4": {Samples: x, References: x, Training: x.part(0, 3)},
		"the samples have 3 features, the noise images 2":                        {Samples: x, References: x, Noise: normal(1, 20, 2, 0, 1)},
		"samples: 0 numbers for shape [0, 0]":                                    {References: x},
		"19 predicted classes for 20 samples":                                    {Samples: x, References: x, Classes: make([]int, 19), NumClasses: 1},
		"0 classes: there must be at least 1":                                    {Samples: x, References: x, Classes: make([]int, 20)},
		"no predicted classes to compare them with":                              {Samples: x, References: x, Labels: make([]int, 20)},
		"19 labels for 20 samples":                                               {Samples: x, References: x, Classes: make([]int, 20), NumClasses: 1, Labels: make([]int, 19)},
	} {
		if _, err := Evaluate(t.Context(), in); err == nil || !strings.Contains(err.Error(), says) || !strings.HasPrefix(err.Error(), "metrics: ") {
			t.Errorf("error %v, want %q", err, says)
		}
	}
}

// Better samples score better in everything.
func TestOrder(t *testing.T) {
	all := normal(1, 800, 8, 0, 1)
	references, real := all.part(0, 400), all.part(400, 800)
	var before *Result
	for _, by := range []float64{0, 0.3, 1, 5} {
		r, err := Evaluate(t.Context(), Input{Samples: moved(real, by), References: references})
		if err != nil {
			t.Fatal(err)
		}
		if before != nil && (*r.Frechet <= *before.Frechet || *r.KernelMean <= *before.KernelMean || *r.Precision > *before.Precision || *r.Recall > *before.Recall || *r.Density >= *before.Density || *r.Coverage > *before.Coverage) {
			t.Errorf("moved by %v:\n%safter\n%s", by, r.Table(), before.Table())
		}
		before = r
	}
}

func TestTable(t *testing.T) {
	text := func(s string) *string { return &s }
	number := func(n int) *int { return &n }
	seed := uint64(1)
	r := &Result{
		Dataset: text("mnist"), N: 2000, Sampler: text("ddim"), Steps: number(50), Seed: &seed, Guidance: Number(1.5), Settings: text("eta 1, guidance 1.5"), ModelStep: number(8000),
		FeatureNet: text("mnist-classifier 1"), FeatureNetAccuracy: Number(0.9951),
		Frechet: Number(1.9), FrechetReal: Number(0.4), FrechetNoise: Number(142.3), KernelMean: Number(0.00123), KernelStd: Number(0.0004),
		Precision: Number(0.9), Recall: Number(0.8), Density: Number(1.02), Coverage: Number(0.93),
		ClassHistogram: []int{900, 1100}, ClassEntropy: Number(0.688), AccuracyScore: Number(0.9), NearCopies: Number(0.0085), ImagesPerS: Number(31.4),
		BitsPerDim: Number(1.91234), BitsPerDimStdErr: Number(0.0251), References: "mnist's test images", Notes: []string{"class_accuracy is null"},
	}
	const want = `samples            2000, ddim, 50 steps, seed 1, eta 1, guidance 1.5, model of step 8000
references         mnist's test images
features           mnist-classifier 1, right about 99.51 % of the test images

Fréchet distance   1.9          real images 0.4, noise 142.3; 4.75 times real images'
kernel distance    0.00123      ± 0.0004; the same distribution 0
precision          0.900        samples among the references
recall             0.800        references among the samples
density            1.020        the same distribution 1
coverage           0.930        references with a sample near
class entropy      0.688        nats; 2 equal classes 0.693
classes            900 1100
class accuracy     -            samples classified as their label
accuracy score     0.900        real images that a classifier trained on the samples classifies correctly
near copies        0.009        test images 0.010
bits per dim       1.9123       ± 0.025; a bound on the code length of test images
images/s           31.4
note: class_accuracy is null
`
	if got := r.Table(); got != want {
		t.Errorf("%s\nwant\n%s", got, want)
	}
}

// A result read from its JSON is the one that was written.
func TestResultComesBack(t *testing.T) {
	r, err := Evaluate(t.Context(), Input{Samples: normal(1, 50, 3, 0, 1), References: normal(2, 50, 3, 0, 1), Classes: make([]int, 50), NumClasses: 2})
	if err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	back, err := ParseResult(text)
	if err != nil {
		t.Fatal(err)
	}
	sameJSON(t, back, r)
	for text, want := range map[string]string{
		`{"frechet": "<b>"}`: "not the JSON of an evaluation: frechet cannot be a string", "null": "not the JSON of an evaluation: it is null",
		`{"class_histogram": [1.5]}`: "not the JSON of an evaluation: class_histogram cannot be a number 1.5",
	} {
		if _, err := ParseResult([]byte(text)); err == nil || err.Error() != want {
			t.Errorf("%s: error %v, want %s", text, err, want)
		}
	}
}

func TestFeaturesFiles(t *testing.T) {
	path := filepath.Join(t.TempDir(), "f.npy")
	want := normal(1, 5, 3, 0, 1)
	if err := want.WriteFile(path); err != nil {
		t.Fatal(err)
	}
	got, err := ReadFeatures(path)
	if err != nil || got.N != 5 || got.D != 3 || !slices.Equal(got.Data, want.Data) {
		t.Errorf("%v, %v; want %v", got, err, want)
	}
	if err := npy.WriteFile(path, npy.Array[float32]{Shape: []int{2, 1}, Data: []float32{0.1, 2}}); err != nil {
		t.Fatal(err)
	}
	if got, err = ReadFeatures(path); err != nil || !slices.Equal(got.Data, []float64{float64(float32(0.1)), 2}) {
		t.Errorf("float32: %v, %v", got, err)
	}
	if err := npy.WriteFile(path, npy.Array[float64]{Shape: []int{2}, Data: []float64{1, 2}}); err != nil {
		t.Fatal(err)
	}
	if _, err = ReadFeatures(path); err == nil || !strings.Contains(err.Error(), "shape (2,), want (*, *)") {
		t.Errorf("one dimension: %v", err)
	}
	if err := (Features{2, 2, nil}).WriteFile(path); err == nil {
		t.Error("features without numbers are written")
	}
}
