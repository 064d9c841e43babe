package train

import (
	"fmt"

	"unstir/checkpoints"
	"unstir/internal/rng"
	"unstir/internal/setting"
	"unstir/unet"
)

// Label dropout trains a class-conditional model to do without the class, too (Ho and Salimans, "Classifier-Free Diffusion
// Guidance", 2022, algorithm 1): the label of an image is replaced with the null class, with a probability of its own for each
// image of each step. For K classes the null class is K, whose embedding is one more than the configuration's
// num_class_embeds.

// UNet is the configuration of the model that is trained where m is the configuration's: m itself, or with label dropout m with
// the null class.
func (c Config) UNet(m unet.Config) unet.Config {
	if c.LabelDropout > 0 {
		m.NumClassEmbeds++
	}
	return m
}

// checkLabelDropout makes sure that there are classes to drop.
func (s Setup) checkLabelDropout() error {
	if s.Train.LabelDropout == 0 || s.Classifier == nil && s.Model.NumClassEmbeds > 0 {
		return nil
	}
	want := "the model has no classes to drop: set model.num_class_embeds to their number, or leave it out"
	if s.Classifier != nil {
		want = "a classifier is trained on every label: it must be 0"
	}
	return &setting.Error{Table: "train", Key: "label_dropout", Value: fmt.Sprint(s.Train.LabelDropout), Want: want}
}

// nullClass is the null class of the run's model; nil where it has none.
func (s Setup) nullClass() *int {
	if s.Train.LabelDropout == 0 {
		return nil
	}
	k := s.Model.NumClassEmbeds
	return &k
}

// sameNullClass compares the null class that a run began with and the one that it is asked to go on with.
func sameNullClass(was, now *checkpoints.State) error {
	switch {
	case was.NullClass == nil && now.NullClass == nil:
		return nil
	case was.NullClass == nil:
		return fmt.Errorf("train.label_dropout was 0 and is now above 0, for which the model needs a null class")
	case now.NullClass == nil:
		return fmt.Errorf("train.label_dropout was above 0 and is now 0, for which the model has a null class too many")
	case *was.NullClass != *now.NullClass:
		return fmt.Errorf("model.num_class_embeds was %d and is now %d", *was.NullClass, *now.NullClass)
	}
	return nil
}

// labelDropout replaces labels with the null class.
type labelDropout struct {
	seed   uint64
	p      float64 // of a label to be replaced
	null   int
	labels []int // of the batch at hand
}

// newLabelDropout is nil where no label is dropped.
func (s Setup) newLabelDropout() *labelDropout {
	if s.Train.LabelDropout == 0 {
		return nil
	}
	return &labelDropout{seed: s.Seed, p: s.Train.LabelDropout, null: *s.nullClass(), labels: make([]int, s.Train.BatchSize)}
}

// apply is the labels of a step's batch after dropout. They are valid until the next call.
func (d *labelDropout) apply(step uint64, labels []int) []int {
	if d == nil {
		return labels
	}
	for i, l := range labels {
		d.labels[i] = l
		if u := float64(rng.Uint64(d.seed, rng.LabelDropout, step, uint64(i), 0)>>11) * 0x1p-53; u < d.p {
			d.labels[i] = d.null
		}
	}
	return d.labels[:len(labels)]
}
