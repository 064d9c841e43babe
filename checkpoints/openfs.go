package checkpoints

import (
	"bytes"
	"fmt"
	"io/fs"
	"path"

	"unstir/checkpoints/safetensors"
	"unstir/internal/oneline"
)

// OpenFS opens a diffusers pipeline in a file system, such as that of files embedded in a program: dir has
// model_index.json, unet/ and scheduler/, as Export writes them. The weights are read into memory. The caller closes the
// model.
func OpenFS(fsys fs.FS, dir string) (*Model, error) {
	m, err := openFS(fsys, dir)
	if err != nil {
		return nil, oneline.Error(fmt.Errorf("the embedded pipeline: %w", err))
	}
	return m, nil
}

func openFS(fsys fs.FS, dir string) (*Model, error) {
	file := func(name string) string { return path.Join(dir, name) }
	index, err := fs.ReadFile(fsys, file(fileIndex))
	if err != nil {
		return nil, err
	}
	if err := checkParts(file(fileIndex), index); err != nil {
		return nil, err
	}
	m := &Model{Dir: dir, UNetFile: file(fileUNet), SchedulerFile: file(fileScheduler)}
	if m.UNet, err = fs.ReadFile(fsys, m.UNetFile); err != nil {
		return nil, err
	}
	if err := checkConfig(m.UNetFile, m.UNet, classUNet); err != nil {
		return nil, err
	}
	if m.Scheduler, err = fs.ReadFile(fsys, m.SchedulerFile); err != nil {
		return nil, err
	}
	if err := checkConfig(m.SchedulerFile, m.Scheduler, ""); err != nil {
		return nil, err
	}
	weights, err := fs.ReadFile(fsys, file(fileWeights))
	if err != nil {
		return nil, err
	}
	m.Weights, err = safetensors.NewReader(bytes.NewReader(weights), int64(len(weights)), file(fileWeights))
	return m, err
}
