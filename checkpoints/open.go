package checkpoints

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"unstir/checkpoints/safetensors"
	"unstir/internal/filekind"
	"unstir/internal/oneline"
	"unstir/internal/pyjson"
)

// Model is an opened checkpoint, diffusers pipeline or bare unet. The configs
// are read; tensors are read when asked for. The caller closes it.
type Model struct {
	Dir        string              // of the checkpoint, the pipeline or the unet
	Skipped    []Skipped           // newer checkpoints of the run that do not hold
	UNet       json.RawMessage     // unet/config.json
	Scheduler  json.RawMessage     // scheduler/scheduler_config.json; nil: there is none
	Classifier json.RawMessage     // classifier/config.json; where it is not nil, this is a classifier, and UNet is nil
	Weights    *safetensors.Reader // of the unet or the classifier; in a checkpoint, the EMA weights

	UNetFile, SchedulerFile, ClassifierFile string // where the configs were read

	// Only in a checkpoint; State is nil elsewhere.
	State     *State
	Config    []byte              // training/config.toml
	Raw       *safetensors.Reader // the weights that are trained
	Optimizer *safetensors.Reader // names with ExpAvg and ExpAvgSq before them
}

// Open opens what a user may name: a run's directory (its newest checkpoint that
// holds), a checkpoint (every file of which is checked against its manifest), a
// diffusers pipeline, a unet's own directory, or the directory of a model in the
// cache of Hugging Face's hub. The error wraps fs.ErrNotExist where there is
// nothing at path, and ErrNone where there is a directory without any model; a
// model that is damaged is neither.
func Open(ctx context.Context, path string) (*Model, error) {
	m, err := open(ctx, path)
	return m, oneline.Error(err)
}

func open(ctx context.Context, path string) (*Model, error) {
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%s: no such directory (%s): %w", path, wanted, fs.ErrNotExist)
	}
	if err != nil {
		return nil, err
	}
	if !info.IsDir() {
		return nil, fmt.Errorf("%s is a file; name the directory (%s)", path, wanted)
	}
	steps, err := listSteps(path) // path may be RUN/checkpoints itself
	if err != nil {
		return nil, err
	}
	switch {
	case isFile(filepath.Join(path, fileManifest)) || isDir(filepath.Join(path, trainingDir)):
		return openCheckpoint(ctx, path)
	case isDir(Dir(path)):
		return openNewest(ctx, Dir(path))
	case len(steps) > 0:
		return openNewest(ctx, path)
	case isFile(filepath.Join(path, fileIndex)) || isDir(filepath.Join(path, "unet")):
		return openPipeline(path)
	case isFile(filepath.Join(path, "config.json")):
		return openFlat(path)
	case isHubCache(path):
		snapshot, err := hubSnapshot(path)
		if err != nil {
			return nil, err
		}
		return Open(ctx, snapshot)
	}
	for _, name := range []string{fileIndex, "config.json", fileManifest} {
		if err := filekind.CheckLink(filepath.Join(path, name)); err != nil {
			return nil, err
		}
	}
	hint := hubModels(path)
	if run, err := NewestRun(path); err == nil {
		hint = "; it holds runs, the newest is " + run
	}
	return nil, fmt.Errorf("%s is not a model, %w: it has none of checkpoints%c, manifest.json, model_index.json, unet%c and config.json (%s%s)",
		path, ErrNone, filepath.Separator, filepath.Separator, wanted, hint)
}

const wanted = "wanted: a run, a checkpoint, a diffusers pipeline or a unet's directory"

// Load opens a checkpoint to go on from: a run's newest one that holds, or the
// one named. Models without a training state are refused.
func Load(ctx context.Context, path string) (*Model, error) {
	m, err := Open(ctx, path)
	if err != nil {
		return nil, err
	}
	if m.State == nil {
		m.Close()
		return nil, fmt.Errorf("%s holds a model, but no training state (%s): it can be sampled, not trained on", path, fileState)
	}
	return m, nil
}

// Close closes the model's files.
func (m *Model) Close() error {
	var err error
	for _, r := range []*safetensors.Reader{m.Weights, m.Raw, m.Optimizer} {
		if r != nil {
			err = errors.Join(err, r.Close())
		}
	}
	return err
}

func openNewest(ctx context.Context, parent string) (*Model, error) {
	dir, skipped, err := latest(ctx, parent)
	if err != nil {
		return nil, err
	}
	m, err := openVerified(dir)
	if err != nil {
		return nil, err
	}
	m.Skipped = skipped
	return m, nil
}

func openCheckpoint(ctx context.Context, dir string) (*Model, error) {
	if err := Verify(ctx, dir); err != nil {
		return nil, err
	}
	return openVerified(dir)
}

func openVerified(dir string) (*Model, error) {
	openParts := openPipeline
	if isClassifier(dir) {
		openParts = openClassifier
	}
	m, err := openParts(dir)
	if err != nil {
		return nil, err
	}
	if err := m.openTraining(); err != nil {
		m.Close()
		return nil, err
	}
	return m, nil
}

func (m *Model) openTraining() (err error) {
	if m.State, err = readState(in(m.Dir, fileState)); err != nil {
		return err
	}
	if m.Config, err = readSmall(in(m.Dir, fileConfig)); err != nil {
		return err
	}
	if m.Raw, err = safetensors.Open(in(m.Dir, fileRaw)); err != nil {
		return err
	}
	m.Optimizer, err = safetensors.Open(in(m.Dir, fileOptimizer))
	return err
}

// isClassifier tells a classifier's checkpoint from a diffusion model's.
func isClassifier(dir string) bool { return isFile(in(dir, fileClassifier)) }

// openClassifier opens the classifier of a checkpoint.
func openClassifier(dir string) (*Model, error) {
	m := &Model{Dir: dir, ClassifierFile: in(dir, fileClassifier), SchedulerFile: in(dir, fileScheduler)}
	var err error
	if m.Classifier, err = readSmall(m.ClassifierFile); err != nil {
		return nil, err
	}
	if m.Scheduler, err = readConfig(m.SchedulerFile, ""); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	m.Weights, err = safetensors.Open(in(dir, fileClassifierWeights))
	return m, err
}

// openPipeline opens a directory with unet/ and scheduler/. Old pipelines have
// both parts' files in the directory itself.
func openPipeline(dir string) (*Model, error) {
	hasIndex := isFile(filepath.Join(dir, fileIndex))
	if hasIndex {
		if err := checkIndex(filepath.Join(dir, fileIndex)); err != nil {
			return nil, err
		}
	}
	unet := filepath.Join(dir, "unet")
	if !isDir(unet) {
		return openFlat(dir)
	}
	m := &Model{Dir: dir, SchedulerFile: in(dir, fileScheduler)}
	var err error
	m.Scheduler, err = readConfig(m.SchedulerFile, "")
	if errors.Is(err, fs.ErrNotExist) {
		if hasIndex {
			return nil, fmt.Errorf("pipeline %s has no %s", dir, fileScheduler)
		}
	} else if err != nil {
		return nil, err
	}
	return m.openUNet(unet)
}

// openFlat opens a directory that holds a unet's files, perhaps with a
// scheduler's config beside them.
func openFlat(dir string) (*Model, error) {
	m := &Model{Dir: dir, SchedulerFile: filepath.Join(dir, schedulerName)}
	var err error
	m.Scheduler, err = readConfig(m.SchedulerFile, "")
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	return m.openUNet(dir)
}

// openUNet adds the unet, which is the last part to be opened.
func (m *Model) openUNet(dir string) (*Model, error) {
	var err error
	m.UNetFile = filepath.Join(dir, "config.json")
	if m.UNet, err = readConfig(m.UNetFile, classUNet); err != nil {
		return nil, fmt.Errorf("the unet's config: %w", err)
	}
	path, err := findWeights(dir)
	if err != nil {
		return nil, err
	}
	if m.Weights, err = safetensors.Open(path); err != nil {
		return nil, err
	}
	return m, nil
}

// readConfig reads a diffusers config; wantClass "" is any class.
func readConfig(path, wantClass string) (json.RawMessage, error) {
	config, err := readSmall(path)
	if err != nil {
		return nil, err
	}
	return config, checkConfig(path, config, wantClass)
}

// checkConfig checks that a file's contents are a diffusers config; wantClass "" is any class.
func checkConfig(path string, config []byte, wantClass string) error {
	class, _, err := classOf(config)
	if message := filekind.ErrorBody(config); err == nil && message != "" {
		err = errors.New("not a config")
	}
	if err != nil {
		return fmt.Errorf("%s: %w", path, explain(err, config))
	}
	if wantClass != "" && class != "" && class != wantClass {
		return fmt.Errorf("%s: it describes a %s; only %s is supported", path, class, wantClass)
	}
	return nil
}

// checkIndex refuses pipelines that are more than a UNet2DModel and a scheduler,
// such as those that diffuse latents.
func checkIndex(path string) error {
	text, err := readSmall(path)
	if err != nil {
		return err
	}
	return checkParts(path, text)
}

// checkParts is checkIndex of the file's contents.
func checkParts(path string, text []byte) error {
	var parts map[string]json.RawMessage
	err := json.Unmarshal(pyjson.Standard(text), &parts)
	if message := filekind.ErrorBody(text); err == nil && message != "" {
		err = errors.New("not a pipeline's index")
	}
	if err != nil {
		return fmt.Errorf("%s: %w", path, explain(err, text))
	}
	var found []string
	for name, raw := range parts {
		var part []*string // library, class; nulls: left out
		if json.Unmarshal(raw, &part) != nil || len(part) != 2 || part[1] == nil {
			continue
		}
		switch {
		case name == "unet" && *part[1] == classUNet, name == "scheduler":
		default:
			found = append(found, fmt.Sprintf("%s: %s", name, *part[1]))
		}
	}
	if len(found) > 0 {
		slices.Sort(found)
		return fmt.Errorf("%s: only pipelines of a UNet2DModel and a scheduler are supported, this one has %s", path, strings.Join(found, ", "))
	}
	return nil
}
