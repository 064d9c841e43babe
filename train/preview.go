package train

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"unstir/diffusion"
	"unstir/internal/images"
	"unstir/unet"
)

// preview samples a grid of images from the moving average, always from the same noise, so that the previews of a
// run show one set of images coming into being. Classes, where the model has them, take turns, each in a column of its own.
func (t *Trainer) preview(ctx context.Context) (string, error) {
	n := t.Preview.Images
	model, err := unet.FromFlat(t.Train.UNet(t.Model), t.params, t.ema)
	if err != nil {
		return "", err
	}
	sampler, err := diffusion.New(t.Preview.Sampler, t.schedule, diffusion.Options{Steps: t.Preview.Steps})
	if err != nil {
		return "", err
	}
	p, err := unet.NewPredictor(model, min(n, t.Slice()), t.info.Height, t.info.Width)
	if err != nil {
		return "", err
	}
	k := t.Model.NumClassEmbeds
	if k > 0 {
		if named := len(t.info.Classes); named > 0 {
			k = min(k, named)
		}
		labels := make([]int, n)
		for i := range labels {
			labels[i] = i % k
		}
		if err := p.SetLabels(labels); err != nil {
			return "", err
		}
	}
	d := diffusion.Draw{N: n, Dim: t.info.Channels * t.info.Height * t.info.Width, Seed: t.Seed, StepSeed: t.Seed}
	data, err := d.Sample(ctx, sampler, p.Float64())
	if err != nil {
		return "", err
	}
	list, err := images.FromNCHW(data, n, t.info.Channels, t.info.Height, t.info.Width)
	if err != nil {
		return "", err
	}
	grid, err := images.Grid(list, images.GridOptions{Period: k, Padding: 2, Scale: scaleFor(t.info.Height)})
	if err != nil {
		return "", err
	}
	path := t.previewPath()
	return path, images.WritePNG(path, grid, []images.Text{
		{Key: "Software", Value: "unstir " + t.Version},
		{Key: "step", Value: strconv.Itoa(t.step)},
		{Key: "weights", Value: "ema"},
		{Key: "sampler", Value: fmt.Sprintf("%s, %d steps", t.Preview.Sampler, t.Preview.Steps)},
		{Key: "seed", Value: strconv.FormatUint(t.Seed, 10)},
		{Key: "data", Value: t.info.Name},
	})
}

// notePreviews says what the previews of the run will show of their number of steps.
func (t *Trainer) notePreviews() {
	if t.Preview.Every == 0 {
		return
	}
	for _, n := range diffusion.Notes(t.Preview.Sampler, t.schedule, diffusion.Options{Steps: t.Preview.Steps}) {
		t.note("note: preview.steps = %d: %s", t.Preview.Steps, n.Text(""))
	}
}

// previewPath is the file of the current step's preview.
func (t *Trainer) previewPath() string {
	return filepath.Join(t.Dir, previewDir, previewName(t.step))
}

func previewName(step int) string { return fmt.Sprintf("step-%08d.png", step) }

// PreviewFile is a preview that a run has made.
type PreviewFile struct {
	Step int
	Path string
}

// Previews lists the previews in a run's directory, by step.
func Previews(run string) (list []PreviewFile, err error) {
	files, err := os.ReadDir(filepath.Join(run, previewDir))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("train: list the previews: %w", err)
	}
	for _, f := range files {
		digits, isStep := strings.CutPrefix(strings.TrimSuffix(f.Name(), ".png"), "step-")
		if n, err := strconv.Atoi(digits); isStep && err == nil && n >= 1 && f.Name() == previewName(n) {
			list = append(list, PreviewFile{n, filepath.Join(run, previewDir, f.Name())})
		}
	}
	slices.SortFunc(list, func(a, b PreviewFile) int { return a.Step - b.Step })
	return list, nil
}

// scaleFor enlarges small images so that a person sees them.
func scaleFor(height int) int { return max(1, 64/max(height, 1)) }
