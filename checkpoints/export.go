package checkpoints

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"unstir/checkpoints/safetensors"
	"unstir/internal/disk"
)

// Pipeline is what Export writes: a diffusers DDPMPipeline, or a DDIMPipeline where the scheduler is a DDIMScheduler.
type Pipeline struct {
	UNet      json.RawMessage // a UNet2DModel's config, with "_class_name"
	Scheduler json.RawMessage // a scheduler's config, with "_class_name"
	Weights   []Tensor        // of the unet
	Float16   bool            // store them in half precision
}

// Export writes a pipeline's directory: model_index.json, unet/ and scheduler/, and nothing else. It is there whole
// or not at all. A directory that exists and is not empty is an error that wraps fs.ErrExist.
func Export(ctx context.Context, dir string, p *Pipeline) error {
	if err := p.export(ctx, dir); err != nil {
		return fmt.Errorf("exporting to %s: %w", dir, err)
	}
	return nil
}

func (p *Pipeline) export(ctx context.Context, dir string) error {
	unet, _, version, err := diffusersJSON(p.UNet, classUNet)
	if err != nil {
		return fmt.Errorf("the unet's config: %w", err)
	}
	scheduler, class, _, err := diffusersJSON(p.Scheduler, "")
	if err != nil {
		return fmt.Errorf("the scheduler's config: %w", err)
	}
	if len(p.Weights) == 0 {
		return errors.New("there are no tensors")
	}
	if err := vacant(dir); err != nil {
		return err
	}
	options := safetensors.Options{}
	if p.Float16 {
		options.DType = safetensors.F16
	}
	weights := func(ctx context.Context, w io.Writer) error { return safetensors.Write(ctx, w, p.Weights, options) }

	dir = filepath.Clean(dir)
	parent := filepath.Dir(dir)
	if err := disk.MkdirAll(parent, 0o777); err != nil {
		return err
	}
	temp, err := disk.MkdirTemp(parent, hidden(filepath.Base(dir), tempSuffix)+"-")
	if err != nil {
		return err
	}
	defer disk.RemoveAll(temp) // nothing is left there after the rename
	part := filepath.Join(temp, "pipeline")
	_, err = writeFiles(ctx, part, []file{
		{fileIndex, text(modelIndex(class, version))},
		{fileScheduler, text(scheduler)},
		{fileUNet, text(unet)},
		{fileWeights, weights},
	})
	if err != nil {
		return err
	}
	if err := disk.Remove(dir); err != nil && !errors.Is(err, fs.ErrNotExist) { // an empty directory
		return err
	}
	if err := disk.Rename(part, dir); err != nil {
		return err
	}
	return disk.SyncDir(parent)
}

// vacant checks that a new directory can be made at dir.
func vacant(dir string) error {
	entries, err := os.ReadDir(dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		if _, statErr := os.Lstat(dir); statErr == nil {
			return fmt.Errorf("it is not a directory: %w", fs.ErrExist)
		}
		return err
	case len(entries) > 0:
		return fmt.Errorf("it holds %s, name a new directory: %w", entries[0].Name(), fs.ErrExist)
	}
	return nil
}
