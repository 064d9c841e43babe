// Package checkpoints saves and loads models and the state of their training.
//
// A run's directory holds them under checkpoints/, one directory a step:
//
//	checkpoints/step-00002000/
//	  model_index.json                            a diffusers DDPMPipeline ...
//	  unet/config.json
//	  unet/diffusion_pytorch_model.safetensors    ... with the EMA weights
//	  scheduler/scheduler_config.json
//	  training/model.safetensors                  the weights that are trained
//	  training/optimizer.safetensors              exp_avg.NAME and exp_avg_sq.NAME
//	  training/state.json                         State
//	  training/config.toml                        the run's whole config
//	  manifest.json                               size and SHA-256 of all of these
//
// A classifier's checkpoint has classifier/config.json and
// classifier/model.safetensors in place of the pipeline; that of one for noisy
// images has scheduler/scheduler_config.json, too.
//
// So a model's checkpoint is a pipeline that diffusers opens, and Open opens diffusers'
// pipelines. A checkpoint is written beside its final name, synced and then
// renamed, and read only while its manifest holds: one that is cut off, or in
// which a byte has changed, is refused and never taken for the newest.
package checkpoints

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"

	"unstir/checkpoints/safetensors"
	"unstir/internal/filekind"
)

// Tensor is a tensor to be saved: name, shape and a function that fills in the
// values, in the layout of files (OIHW filters, [out, in] matrices).
type Tensor = safetensors.Tensor

// Checkpoint is what Save writes. The four lists of tensors have the same names
// and shapes, those of the model's parameters.
type Checkpoint struct {
	State      State
	UNet       json.RawMessage // a UNet2DModel's config, with "_class_name"
	Scheduler  json.RawMessage // a DDPMScheduler's config, with "_class_name"; nil for a classifier that is not noisy
	Classifier json.RawMessage // a classifier's config, instead of UNet
	Config     []byte          // the run's config as TOML
	EMA        []Tensor        // the averaged weights, which are the pipeline's, or the classifier's
	Raw        []Tensor        // the weights that are trained
	ExpAvg     []Tensor        // Adam's first moments, under the parameters' names
	ExpAvgSq   []Tensor        // Adam's second moments, likewise
}

// StateVersion is the version of state.json that this package writes and reads.
const StateVersion = 1

// LRVersion is the version of the learning-rate schedule of new runs, whose cosine ends at 0 one step after the last.
// In version 0, of runs that older programs began, it is 0 at the last step itself.
const LRVersion = 1

// State is training/state.json: where a run stands, and what has to be the same
// for it to go on.
type State struct {
	Version       int     `json:"version"`              // StateVersion; Save sets it
	Program       string  `json:"program"`              // the program's version that wrote it
	Step          int     `json:"step"`                 // steps done, which is the number of the last one, counted from 1
	Steps         int     `json:"steps"`                // length of the run, which the learning-rate schedule sees
	ImagesSeen    int64   `json:"images_seen"`          // images trained on, repetitions counted
	Seed          uint64  `json:"seed"`                 // of all randomness
	BatchSize     int     `json:"batch_size"`           // images a step
	Slice         int     `json:"slice"`                // images whose gradients are computed at once; part of the bits
	OptimizerStep int     `json:"optimizer_step"`       // updates by AdamW, for its bias correction
	EMAUpdates    int     `json:"ema_updates"`          // updates of the average, for its warm-up
	Loss          float64 `json:"loss"`                 // of the last step
	TrainSeconds  float64 `json:"train_seconds"`        // spent on training so far, all starts together
	LRVersion     int     `json:"lr_version,omitempty"` // of the learning-rate schedule that the run began with; absent: 0
	NullClass     *int    `json:"null_class,omitempty"` // index of the null class, the last of the model's num_class_embeds; nil: it was trained without label dropout
	Test          *Test   `json:"test,omitempty"`       // the last test of a classifier; nil: none
	CPU           string  `json:"cpu"`                  // kernels: avx512, avx2 or generic, "direct" where convolutions were, and the version of their rounding
	Data          Data    `json:"data"`
}

// Test is how a classifier's moving average did on the test split.
type Test struct {
	Step     int     `json:"step"`     // after which it was tested
	Images   int     `json:"images"`   // of the test split
	Accuracy float64 `json:"accuracy"` // share of the images whose class it told
}

// Data says what a run was trained on.
type Data struct {
	Name     string `json:"name"`     // mnist, cifar10, folder ...
	Source   string `json:"source"`   // where it came from
	Hash     string `json:"hash"`     // of the images in their order
	Count    int    `json:"count"`    // images
	Channels int    `json:"channels"` // 1 or 3
	Height   int    `json:"height"`   // pixels
	Width    int    `json:"width"`
	Flip     bool   `json:"flip"` // whether images are mirrored at random

	Holdout float64  `json:"holdout,omitempty"` // share of a folder's pictures that was kept out of training
	Classes []string `json:"classes,omitempty"` // the labels' names, in label order; nil: no labels, no names, or an older program
}

func (s *State) validate() error {
	switch {
	case s.Version != StateVersion:
		return fmt.Errorf("version %d is not known, only %d: it was written by another version of the program", s.Version, StateVersion)
	case s.Step < 0 || s.Steps < 0 || s.ImagesSeen < 0 || s.OptimizerStep < 0 || s.EMAUpdates < 0:
		return errors.New("a count is negative")
	case s.BatchSize < 1 || s.Slice < 1:
		return fmt.Errorf("batch_size %d and slice %d have to be 1 or more", s.BatchSize, s.Slice)
	case s.LRVersion < 0 || s.LRVersion > LRVersion:
		return fmt.Errorf("lr_version %d is not known, only 0 to %d: it was written by another version of the program", s.LRVersion, LRVersion)
	case s.NullClass != nil && *s.NullClass < 1:
		return fmt.Errorf("null_class %d has to be 1 or more, the number of the classes", *s.NullClass)
	case math.IsNaN(s.Loss) || math.IsInf(s.Loss, 0) || math.IsNaN(s.TrainSeconds) || math.IsInf(s.TrainSeconds, 0):
		return fmt.Errorf("loss %g and train_seconds %g have to be finite", s.Loss, s.TrainSeconds)
	}
	return nil
}

func readState(path string) (*State, error) {
	text, err := filekind.ReadFile(path, maxState)
	if err != nil {
		return nil, err
	}
	return ParseState(text, path)
}

// ParseState reads the text of a state.json. Errors call it name.
func ParseState(text []byte, name string) (*State, error) {
	// The version first: another one may have other fields.
	var v struct{ Version int }
	if err := json.Unmarshal(text, &v); err != nil {
		return nil, fmt.Errorf("%s: %w", name, explain(err, text))
	}
	s := &State{Version: v.Version}
	if v.Version == StateVersion {
		if err := decodeStrictly(text, s); err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
	}
	if err := s.validate(); err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return s, nil
}

// decodeStrictly refuses unknown fields and anything after the value.
func decodeStrictly(text []byte, v any) error {
	dec := json.NewDecoder(bytes.NewReader(text))
	dec.DisallowUnknownFields()
	if err := dec.Decode(v); err != nil {
		return err
	}
	if _, err := dec.Token(); err != io.EOF {
		return errors.New("there is more after the JSON value")
	}
	return nil
}

// explain is the error of reading a JSON file, or what the file is instead.
func explain(err error, text []byte) error {
	return filekind.Explain(err, text[:min(len(text), filekind.HeadSize)], int64(len(text)), filekind.JSON)
}

// Limits of the JSON and TOML files, in bytes. They are a few KB, but a state.json lists the classes, of which there
// may be tens of thousands.
const (
	maxSmall    = 1 << 20
	maxState    = 2 << 20
	maxManifest = 1 << 16 // of eight files
)

// readSmall reads a file that is not tensors.
func readSmall(path string) ([]byte, error) { return filekind.ReadFile(path, maxSmall) }
