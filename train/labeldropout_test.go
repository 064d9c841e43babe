package train

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

	"unstir/checkpoints"
	"unstir/classifier"
	"unstir/data"
	"unstir/internal/setting"
)

// dropoutSetup trains a model of two classes with label dropout.
func dropoutSetup(t *testing.T) Setup {
	t.Helper()
	s := tinySetup(t)
	labels := make([]int, 11)
	pixels := make([]byte, 11*64)
	for i := range labels {
		labels[i] = i % 2
		s.Data.Image(i, pixels[64*i:64*(i+1)])
	}
	set, err := data.NewMemory(data.Info{Name: "bars", Channels: 1, Height: 8, Width: 8}, pixels, labels)
	if err != nil {
		t.Fatal(err)
	}
	s.Data, s.Model.NumClassEmbeds, s.Train.LabelDropout = set, 2, 0.4
	return s
}

// A label is dropped with the probability that is asked for, by a draw of its own for each image of each step; what is not
// dropped stays, and so do the loader's labels.
func TestLabelsAreDroppedAtTheirRate(t *testing.T) {
	const batch, steps, p = 50, 400, 0.15
	s := Setup{Seed: 9}
	s.Model.NumClassEmbeds, s.Train.BatchSize, s.Train.LabelDropout = 3, batch, p
	d := s.newLabelDropout()
	labels := make([]int, batch)
	for i := range labels {
		labels[i] = i % 3
	}
	given := slices.Clone(labels)
	dropped := 0
	images := make([]int, batch) // how often each image of the batch lost its label
	for step := range uint64(steps) {
		got := d.apply(step, labels)
		for i, l := range got {
			switch l {
			case 3:
				dropped++
				images[i]++
			case labels[i]:
			default:
				t.Fatalf("step %d: label %d of image %d became %d", step, labels[i], i, l)
			}
		}
		if again := slices.Clone(got); !slices.Equal(d.apply(step, labels), again) {
			t.Fatalf("step %d drops other labels when it is done again", step)
		}
		if part := d.apply(step, labels[:7]); !slices.Equal(part, got[:7]) {
			t.Fatalf("step %d drops other labels in a smaller batch", step)
		}
	}
	if !slices.Equal(labels, given) {
		t.Error("the labels of the batch were changed")
	}
	n := float64(batch * steps)
	if rate, sd := float64(dropped)/n, math.Sqrt(p*(1-p)/n); math.Abs(rate-p) > 5*sd {
		t.Errorf("%.4f of the labels were dropped, want %v +- %.4f", rate, p, 5*sd)
	}
	sd := math.Sqrt(p * (1 - p) * steps)
	for i, k := range images {
		if math.Abs(float64(k)-p*steps) > 5*sd {
			t.Errorf("image %d of the batch lost its label in %d of %d steps", i, k, steps)
		}
	}
	if (Setup{}).newLabelDropout().apply(1, labels); &(Setup{}).newLabelDropout().apply(1, labels)[0] != &labels[0] {
		t.Error("without label dropout the labels are copied")
	}
}

// The model has one class embedding more than the configuration says; its checkpoint says which is the null class, and the
// embedding is trained.
func TestTheNullClassIsOneMore(t *testing.T) {
	s := dropoutSetup(t)
	s.Preview.Every, s.Train.WeightDecay = s.Train.Steps, 0
	tr, err := New(s)
	tr = mustRun(t, tr, err)
	c, err := checkpoints.Load(context.Background(), s.Dir)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	var config struct {
		Classes int `json:"num_class_embeds"`
	}
	if err := json.Unmarshal(c.UNet, &config); err != nil {
		t.Fatal(err)
	}
	if config.Classes != 3 || c.State.NullClass == nil || *c.State.NullClass != 2 {
		t.Errorf("the model has %d class embeddings and the null class %v, want 3 and 2", config.Classes, c.State.NullClass)
	}
	first, err := New(dropoutSetup(t))
	if err != nil {
		t.Fatal(err)
	}
	first.Close()
	trained := false
	for i, p := range tr.params.List {
		if p.Name == "class_embedding.weight" { // [3, dim]
			null := 2 * p.Size / 3
			trained = !slices.Equal(tr.params.View(tr.weights, i)[null:], tr.params.View(first.weights, i)[null:])
		}
	}
	if !trained {
		t.Error("the null class's embedding is as it was at the start")
	}
	if _, err := os.Stat(filepath.Join(s.Dir, "previews", "step-00000009.png")); err != nil {
		t.Error(err)
	}

	without := dropoutSetup(t)
	without.Train.LabelDropout = 0
	tr, err = New(without)
	mustRun(t, tr, err)
	state, err := os.ReadFile(filepath.Join(tr.Saved(), "training", "state.json"))
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(state), "null_class") {
		t.Error("state.json of a run without label dropout has a null class")
	}
}

// N+M steps with label dropout equal N steps, a stop and M more, bit for bit.
func TestResumeDropsTheSameLabels(t *testing.T) {
	whole := dropoutSetup(t)
	a, err := New(whole)
	mustRun(t, a, err)
	cut := dropoutSetup(t)
	cut.StopAt = 4
	b, err := New(cut)
	mustRun(t, b, err)
	cut.StopAt = 0
	c, err := Resume(context.Background(), cut, Auto)
	mustRun(t, c, err)
	sameBits(t, "weights", a.weights, c.weights)
	sameBits(t, "moving average", a.ema, c.ema)

	other := dropoutSetup(t)
	other.Train.LabelDropout = 0
	d, err := New(other)
	mustRun(t, d, err)
	if a.last.Loss == d.last.Loss {
		t.Error("label dropout changes nothing")
	}
}

// Label dropout needs classes, and a run goes on with the null class that it began with.
func TestLabelDropoutRefusals(t *testing.T) {
	for want, change := range map[string]func(*Setup){
		"train.label_dropout is 0.4; the model has no classes to drop": func(s *Setup) { s.Model.NumClassEmbeds = 0 },
		"train.label_dropout is 0.4; a classifier":                     func(s *Setup) { s.Classifier = &classifier.Config{Channels: []int{8}, Features: 8} },
		"train.label_dropout is 1; it must be in [0, 1)":               func(s *Setup) { s.Train.LabelDropout = 1 },
		"label_dropout is -0.1; it must be in [0, 1)":                  func(s *Setup) { s.Train.LabelDropout = -0.1 },
		"label_dropout is NaN; it must be in [0, 1)":                   func(s *Setup) { s.Train.LabelDropout = math.NaN() },
	} {
		s := dropoutSetup(t)
		change(&s)
		tr, err := New(s)
		if err == nil {
			tr.Close()
		}
		var key *setting.Error
		if err == nil || !strings.Contains(err.Error(), want) || !errors.As(err, &key) || key.Key != "label_dropout" {
			t.Errorf("error %v, want one with %q", err, want)
		}
	}

	begun := func(dropout float64) Setup {
		s := dropoutSetup(t)
		s.StopAt, s.Train.LabelDropout = 2, dropout
		tr, err := New(s)
		mustRun(t, tr, err)
		s.StopAt = 0
		return s
	}
	with, without := begun(0.4), begun(0)
	for want, s := range map[string]Setup{
		"train.label_dropout was above 0 and is now 0": func() Setup { s := with; s.Train.LabelDropout = 0; return s }(),
		"train.label_dropout was 0 and is now above 0": func() Setup { s := without; s.Train.LabelDropout = 0.4; return s }(),
		"model.num_class_embeds was 2 and is now 3":    func() Setup { s := with; s.Model.NumClassEmbeds = 3; return s }(),
	} {
		tr, err := Resume(context.Background(), s, Auto)
		if err == nil {
			tr.Close()
		}
		if !errors.Is(err, ErrChanged) || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want one with %q", err, want)
		}
	}
	with.Train.LabelDropout = 0.2 // another rate of the same model
	tr, err := Resume(context.Background(), with, Auto)
	mustRun(t, tr, err)
}
