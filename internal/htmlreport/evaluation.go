package htmlreport

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strconv"

	"unstir/internal/oneline"
)

// Evaluation is what an evaluation of a model's samples found. What does not apply is nil.
type Evaluation struct {
	Dataset     *string  `json:"dataset"`
	N           *int     `json:"n"`
	Sampler     *string  `json:"sampler"`
	Steps       *int     `json:"steps"`
	Seed        *uint64  `json:"seed"`
	ModelStep   *int     `json:"model_step"`
	FeatureNet  *string  `json:"feature_net"`
	NetAccuracy *float64 `json:"feature_net_accuracy"`

	Frechet      *float64  `json:"frechet"`
	FrechetReal  *float64  `json:"frechet_real"`
	FrechetNoise *float64  `json:"frechet_noise"`
	KernelMean   *float64  `json:"kernel_mean"`
	KernelStd    *float64  `json:"kernel_std"`
	Precision    *float64  `json:"precision"`
	Recall       *float64  `json:"recall"`
	Density      *float64  `json:"density"`
	Coverage     *float64  `json:"coverage"`
	Histogram    []float64 `json:"class_histogram"`
	Entropy      *float64  `json:"class_entropy"`
	Accuracy     *float64  `json:"class_accuracy"`
	Score        *float64  `json:"accuracy_score"`
	NearCopies   *float64  `json:"near_copies"`
	BitsPerDim   *float64  `json:"bits_per_dim"`
	BitsStdErr   *float64  `json:"bits_per_dim_stderr"`
	Speed        *float64  `json:"images_per_s"`
}

// ParseEvaluation reads an evaluation from JSON. Keys that it does not know are passed over. An error is one line.
func ParseEvaluation(text []byte) (*Evaluation, error) {
	var e *Evaluation
	err := json.Unmarshal(text, &e)
	var kind *json.UnmarshalTypeError
	switch {
	case errors.As(err, &kind) && kind.Field != "":
		err = fmt.Errorf("%s cannot be a %s", kind.Field, kind.Value)
	case err == nil && e == nil:
		err = errors.New("it is null")
	}
	if err != nil {
		return nil, oneline.Error(fmt.Errorf("not the JSON of an evaluation: %w", err))
	}
	return e, nil
}

// measure is a row of the table of an evaluation.
type measure struct{ Name, Value, Beside, Means string }

// measures are the rows of what there is.
func (e *Evaluation) measures() (list []measure) {
	add := func(v *float64, m measure) {
		if v != nil {
			if m.Value == "" {
				m.Value = Number(*v)
			}
			list = append(list, m)
		}
	}
	beside := ""
	if e.FrechetReal != nil {
		beside = "real images " + Number(*e.FrechetReal)
		if e.FrechetNoise != nil {
			beside += ", noise " + Number(*e.FrechetNoise)
		}
		if e.Frechet != nil && *e.FrechetReal > 0 {
			beside += fmt.Sprintf("; %s times that of real images", strconv.FormatFloat(*e.Frechet / *e.FrechetReal, 'f', 1, 64))
		}
	}
	add(e.Frechet, measure{Name: "Fréchet distance", Beside: beside, Means: "distance between the distributions of features; lower is better"})
	kernel := measure{Name: "Kernel distance", Means: "the same by a kernel, without a bias; about 0 for real images"}
	if e.KernelMean != nil && e.KernelStd != nil {
		kernel.Value = Number(*e.KernelMean) + " ± " + Number(*e.KernelStd)
	}
	add(e.KernelMean, kernel)
	add(e.Precision, measure{Name: "Precision", Means: "share of samples that lie among real images"})
	add(e.Recall, measure{Name: "Recall", Means: "share of real images that lie among samples"})
	add(e.Density, measure{Name: "Density", Means: "how densely samples lie where real images do; about 1 for real images"})
	add(e.Coverage, measure{Name: "Coverage", Means: "share of real images that have a sample nearby"})
	entropy := measure{Name: "Class entropy", Means: "evenness of the classes that a classifier sees in the samples, in nats"}
	if k := len(e.Histogram); k > 1 {
		entropy.Beside = fmt.Sprintf("%s for %d even classes", Number(math.Log(float64(k))), k)
	}
	add(e.Entropy, entropy)
	accuracy := measure{Name: "Class accuracy", Means: "share of samples that a classifier reads as the class that was asked for"}
	if e.NetAccuracy != nil {
		accuracy.Beside = fmt.Sprintf("%s for real test images", Number(*e.NetAccuracy))
	}
	add(e.Accuracy, accuracy)
	add(e.Score, measure{Name: "Accuracy score", Means: "share of real images told by a classifier that was trained on the samples"})
	add(e.NearCopies, measure{Name: "Near copies", Beside: "0.01 for unseen real images", Means: "share of samples as near to a training image as the nearest 1 % of unseen real images"})
	bits := measure{Name: "Bits per dimension", Means: "variational bound on the code length of test images; lower is better"}
	if e.BitsPerDim != nil && e.BitsStdErr != nil {
		bits.Value = Number(*e.BitsPerDim) + " ± " + Number(*e.BitsStdErr)
	}
	add(e.BitsPerDim, bits)
	add(e.Speed, measure{Name: "Images a second", Means: "sampling and features together"})
	return list
}

// how says how the samples were made and compared, in the order of the keys.
func (e *Evaluation) how() (list []Fact) {
	add := func(label string, has bool, value func() string) {
		if has {
			list = append(list, Fact{label, value()})
		}
	}
	add("Samples", e.N != nil, func() string { return Number(float64(*e.N)) })
	add("Dataset", e.Dataset != nil, func() string { return *e.Dataset })
	add("Sampler", e.Sampler != nil, func() string {
		if e.Steps != nil {
			return fmt.Sprintf("%s, %s steps", *e.Sampler, Number(float64(*e.Steps)))
		}
		return *e.Sampler
	})
	add("Seed", e.Seed != nil, func() string { return strconv.FormatUint(*e.Seed, 10) })
	add("Model of step", e.ModelStep != nil, func() string { return Number(float64(*e.ModelStep)) })
	add("Features", e.FeatureNet != nil, func() string { return *e.FeatureNet })
	return list
}

// bar is a class of the histogram.
type bar struct {
	Name    string
	Count   string
	Percent float64 // of the largest
}

// maxBars is how many classes the histogram shows.
const maxBars = 100

func (e *Evaluation) bars(classes []string) (list []bar) {
	most := 0.0
	for _, n := range e.Histogram {
		most = max(most, n)
	}
	for i, n := range e.Histogram[:min(len(e.Histogram), maxBars)] {
		name := strconv.Itoa(i)
		if i < len(classes) {
			name = classes[i]
		}
		list = append(list, bar{short(name), Number(n), 100 * max(0, n) / max(most, 1e-300)})
	}
	return list
}

// short is a name of which a long one is cut.
func short(name string) string {
	const most = 60
	if r := []rune(clean(name)); len(r) > most {
		return string(r[:most-3]) + "..."
	}
	return clean(name)
}
