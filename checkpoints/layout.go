package checkpoints

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"unstir/internal/pyjson"
)

// The files of a checkpoint, with forward slashes as in the manifest.
const (
	fileIndex             = "model_index.json"
	fileUNet              = "unet/config.json"
	fileWeights           = "unet/" + weightsName
	fileScheduler         = "scheduler/" + schedulerName
	fileClassifier        = "classifier/config.json"
	fileClassifierWeights = "classifier/model.safetensors"
	fileRaw               = "training/model.safetensors"
	fileOptimizer         = "training/optimizer.safetensors"
	fileState             = "training/state.json"
	fileConfig            = trainingDir + "/" + ConfigName
	fileManifest          = "manifest.json"

	weightsName   = "diffusion_pytorch_model.safetensors"
	schedulerName = "scheduler_config.json"
	trainingDir   = "training"

	classUNet = "UNet2DModel" // of the only supported unet's config
)

// The files that a manifest lists, in the order of its list: those of a diffusion model's checkpoint, of a classifier's,
// and of a classifier's that reads noisy images.
var (
	modelFiles      = []string{fileIndex, fileScheduler, fileConfig, fileRaw, fileOptimizer, fileState, fileUNet, fileWeights}
	classifierFiles = []string{fileClassifier, fileClassifierWeights, fileConfig, fileRaw, fileOptimizer, fileState}
	noisyFiles      = slices.Insert(slices.Clone(classifierFiles), 2, fileScheduler)
)

// isOwn tells whether a file is one that Save writes.
func isOwn(file string) bool {
	return file == fileManifest || slices.Contains(modelFiles, file) || slices.Contains(noisyFiles, file)
}

// ExpAvg and ExpAvgSq precede a parameter's name in the optimizer's file.
const (
	ExpAvg   = "exp_avg."
	ExpAvgSq = "exp_avg_sq."
)

// ConfigName is the name of a run's resolved configuration, in the run's directory and in a checkpoint's.
const ConfigName = "config.toml"

// Dir returns the directory in which a run keeps its checkpoints.
func Dir(run string) string { return filepath.Join(run, "checkpoints") }

// StepDir returns the directory of a run's checkpoint of a step.
func StepDir(run string, step int) string { return filepath.Join(Dir(run), stepName(step)) }

// ConfigFile returns the file of the run's configuration in a checkpoint's directory.
func ConfigFile(checkpoint string) string { return in(checkpoint, fileConfig) }

// RunOf returns the directory of the run in whose directory of checkpoints one lies; "" where it lies elsewhere.
func RunOf(checkpoint string) string {
	run := filepath.Join(checkpoint, "..", "..")
	if Dir(run) != filepath.Dir(filepath.Clean(checkpoint)) {
		return ""
	}
	return run
}

const (
	stepPrefix = "step-"
	tempSuffix = ".tmp" // of a save that is under way or was interrupted
	oldSuffix  = ".old" // of a directory that is being removed
)

func stepName(step int) string { return fmt.Sprintf("%s%08d", stepPrefix, step) }

// hidden is the name of a checkpoint's directory before it is whole, or while it
// is removed; nothing takes it for a checkpoint.
func hidden(name, suffix string) string { return "." + name + suffix }

func isLeftover(name string) bool {
	return strings.HasPrefix(name, "."+stepPrefix) && (strings.HasSuffix(name, tempSuffix) || strings.HasSuffix(name, oldSuffix))
}

// listSteps returns the directories of a run's checkpoints, whole or not, by
// descending step. A run that has none gives an empty list.
func listSteps(dir string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	byStep := map[int]string{}
	var steps []int
	for _, e := range entries {
		digits, ok := strings.CutPrefix(e.Name(), stepPrefix)
		step, err := strconv.Atoi(digits)
		path := filepath.Join(dir, e.Name())
		if !ok || err != nil || step < 0 || stepName(step) != e.Name() || !isDir(path) {
			continue
		}
		steps = append(steps, step)
		byStep[step] = path
	}
	slices.Sort(steps)
	slices.Reverse(steps)
	paths := make([]string, len(steps))
	for i, s := range steps {
		paths[i] = byStep[s]
	}
	return paths, nil
}

func isDir(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.IsDir()
}

func isFile(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode().IsRegular()
}

// in joins a directory and a file's name with forward slashes.
func in(dir, file string) string { return filepath.Join(dir, filepath.FromSlash(file)) }

// classOf returns a diffusers config's "_class_name" and "_diffusers_version",
// empty where it has none.
func classOf(config json.RawMessage) (class, version string, err error) {
	var c map[string]json.RawMessage
	if err := json.Unmarshal(pyjson.Standard(config), &c); err != nil {
		return "", "", fmt.Errorf("not a JSON object: %w", err)
	}
	if c == nil {
		return "", "", errors.New("null, not a JSON object")
	}
	for key, dst := range map[string]*string{"_class_name": &class, "_diffusers_version": &version} {
		if raw, ok := c[key]; ok {
			if err := json.Unmarshal(raw, dst); err != nil {
				return "", "", fmt.Errorf("%s: %w", key, err)
			}
		}
	}
	return class, version, nil
}
