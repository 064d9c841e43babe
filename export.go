package unstir

import (
	"context"
	"fmt"

	"unstir/checkpoints"
)

// ExportOptions say how a pipeline is written.
type ExportOptions struct {
	Float16 bool // store the weights in half precision: half the bytes, three significant digits
}

// Export writes the pipeline as a directory that diffusers' DDPMPipeline and UNet2DModel open, and Open too: the
// model in the weights that the pipeline has, and the scheduler's configuration, without anything of the training.
// The directory must not exist yet, or be empty; it is there whole or not at all.
func (p *Pipeline) Export(ctx context.Context, dir string, o ExportOptions) error {
	model, err := p.model.Config.JSON()
	if err != nil {
		return fmt.Errorf("unstir: export: %w", err)
	}
	scheduler, err := p.Schedule.Config.JSON()
	if err != nil {
		return fmt.Errorf("unstir: export: %w", err)
	}
	var tensors []checkpoints.Tensor
	for _, t := range p.model.Tensors() {
		tensors = append(tensors, checkpoints.Tensor(t))
	}
	part := &checkpoints.Pipeline{UNet: model, Scheduler: scheduler, Weights: tensors, Float16: o.Float16}
	if err := checkpoints.Export(ctx, dir, part); err != nil {
		return fmt.Errorf("unstir: %w", err)
	}
	return nil
}
