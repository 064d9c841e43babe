package metrics

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strings"

	"unstir/internal/oneline"
)

// Result is an evaluation as its JSON has it: every key is always there, null where it does not apply. Evaluate fills in
// what it computes from features; the rest says what was evaluated, and is the caller's.
type Result struct {
	Dataset            *string  `json:"dataset"`              // whose test images the references are
	N                  int      `json:"n"`                    // samples
	Sampler            *string  `json:"sampler"`              // null: the samples were given
	Steps              *int     `json:"steps"`                // of the sampler
	Seed               *uint64  `json:"seed"`                 // of the samples
	Guidance           *float64 `json:"guidance"`             // weight of classifier-free guidance; null: there was none
	Settings           *string  `json:"settings"`             // of the sampler and of guidance, those not left to their defaults; null: there are none
	ModelStep          *int     `json:"model_step"`           // the training step that the model is from
	FeatureNet         *string  `json:"feature_net"`          // name and version
	FeatureNetAccuracy *float64 `json:"feature_net_accuracy"` // share of test images that it classifies correctly

	Frechet      *float64 `json:"frechet"`       // Fréchet distance of samples and references
	FrechetReal  *float64 `json:"frechet_real"`  // of n training images, the mean of up to 5 draws
	FrechetNoise *float64 `json:"frechet_noise"` // of uniform noise
	KernelMean   *float64 `json:"kernel_mean"`   // kernel distance: mean over subsets
	KernelStd    *float64 `json:"kernel_std"`    // and standard deviation
	Precision    *float64 `json:"precision"`     // these four: see Manifold
	Recall       *float64 `json:"recall"`
	Density      *float64 `json:"density"`
	Coverage     *float64 `json:"coverage"`

	ClassHistogram []int    `json:"class_histogram"` // samples by predicted class, in label order
	ClassEntropy   *float64 `json:"class_entropy"`   // of the histogram, in nats
	ClassAccuracy  *float64 `json:"class_accuracy"`  // share of labelled samples that are classified as their label
	AccuracyScore  *float64 `json:"accuracy_score"`  // share of real images that a classifier trained on the labelled samples classifies correctly
	NearCopies     *float64 `json:"near_copies"`     // see Copies.Share

	BitsPerDim       *float64 `json:"bits_per_dim"`        // variational bound on the code length of test images
	BitsPerDimStdErr *float64 `json:"bits_per_dim_stderr"` // its standard error over the images

	ImagesPerS *float64 `json:"images_per_s"` // sampling speed

	// References says in words what the samples were compared with; Table has a line for it unless it is empty.
	References string `json:"-"`
	// Notes are warnings, and reasons for what is null.
	Notes []string `json:"-"`
	// Copies are the samples nearest to training images; nil where NearCopies is.
	Copies *Copies `json:"-"`
}

// ParseResult reads a Result from its JSON. Keys that it does not know are passed over, and those that are missing are null. An
// error is one line.
func ParseResult(text []byte) (*Result, error) {
	var r *Result
	err := json.Unmarshal(text, &r)
	var kind *json.UnmarshalTypeError
	switch {
	case errors.As(err, &kind) && kind.Field != "":
		err = fmt.Errorf("%s cannot be a %s", kind.Field, kind.Value)
	case err == nil && r == nil:
		err = errors.New("it is null")
	}
	if err != nil {
		return nil, oneline.Error(fmt.Errorf("not the JSON of an evaluation: %w", err))
	}
	return r, nil
}

// Number is a value for a Result: nil, and null in JSON, where v is not finite.
func Number(v float64) *float64 {
	if math.IsNaN(v) || math.IsInf(v, 0) {
		return nil
	}
	return &v
}

func (r *Result) note(format string, args ...any) {
	r.Notes = append(r.Notes, fmt.Sprintf(format, args...))
}

// Table is the result for people: a line each, with what real images and noise score beside it, and the notes.
func (r *Result) Table() string {
	var b strings.Builder
	line := func(name, format string, args ...any) {
		fmt.Fprintf(&b, "%-18s %s\n", name, strings.TrimRight(fmt.Sprintf(format, args...), " "))
	}
	text := func(format string, v *float64) string {
		if v == nil {
			return "-"
		}
		return fmt.Sprintf(format, *v)
	}
	row := func(name string, format string, v *float64, beside string) {
		line(name, "%-12s %s", text(format, v), beside)
	}

	line("samples", "%s", r.what())
	if r.References != "" {
		line("references", "%s", r.References)
	}
	if r.FeatureNet != nil {
		accuracy := ""
		if r.FeatureNetAccuracy != nil {
			accuracy = fmt.Sprintf(", right about %.2f %% of the test images", 100**r.FeatureNetAccuracy)
		}
		line("features", "%s%s", *r.FeatureNet, accuracy)
	}
	b.WriteByte('\n')
	beside := fmt.Sprintf("real images %s, noise %s", text("%.4g", r.FrechetReal), text("%.4g", r.FrechetNoise))
	if r.Frechet != nil && r.FrechetReal != nil && *r.FrechetReal > 0 {
		beside += fmt.Sprintf("; %.3g times real images'", *r.Frechet / *r.FrechetReal)
	}
	row("Fréchet distance", "%.4g", r.Frechet, beside)
	row("kernel distance", "%.4g", r.KernelMean, "± "+text("%.2g", r.KernelStd)+"; the same distribution 0")
	row("precision", "%.3f", r.Precision, "samples among the references")
	row("recall", "%.3f", r.Recall, "references among the samples")
	row("density", "%.3f", r.Density, "the same distribution 1")
	row("coverage", "%.3f", r.Coverage, "references with a sample near")
	if r.ClassHistogram != nil {
		row("class entropy", "%.3f", r.ClassEntropy, fmt.Sprintf("nats; %d equal classes %.3f", len(r.ClassHistogram), math.Log(float64(len(r.ClassHistogram)))))
		line("classes", "%s", strings.Trim(fmt.Sprint(r.ClassHistogram), "[]"))
	} else {
		row("class entropy", "%.3f", r.ClassEntropy, "")
	}
	row("class accuracy", "%.3f", r.ClassAccuracy, "samples classified as their label")
	if r.AccuracyScore != nil {
		row("accuracy score", "%.3f", r.AccuracyScore, "real images that a classifier trained on the samples classifies correctly")
	}
	row("near copies", "%.3f", r.NearCopies, "test images 0.010")
	if r.BitsPerDim != nil {
		row("bits per dim", "%.4f", r.BitsPerDim, "± "+text("%.2g", r.BitsPerDimStdErr)+"; a bound on the code length of test images")
	}
	row("images/s", "%.3g", r.ImagesPerS, "")
	for _, n := range r.Notes {
		fmt.Fprintf(&b, "note: %s\n", n)
	}
	return b.String()
}

// what says what was evaluated.
func (r *Result) what() string {
	s := fmt.Sprint(r.N)
	if r.Sampler != nil {
		s += ", " + *r.Sampler
	}
	if r.Steps != nil {
		s += fmt.Sprintf(", %d steps", *r.Steps)
	}
	if r.Seed != nil {
		s += fmt.Sprintf(", seed %d", *r.Seed)
	}
	if r.Settings != nil {
		s += ", " + *r.Settings
	}
	if r.ModelStep != nil {
		s += fmt.Sprintf(", model of step %d", *r.ModelStep)
	}
	return s
}
