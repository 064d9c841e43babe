package unstir

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"unstir/data"
	"unstir/diffusion"
	"unstir/train"
	"unstir/unet"
)

// shades are images of 8x8 pixels with a block of 4x4 somewhere: bright on dark, class 0, or dark on bright, class 1.
func shades() (data.Dataset, error) {
	const n, size = 24, 8
	pixels := make([]byte, n*size*size)
	labels := make([]int, n)
	for i := range n {
		labels[i] = i % 2
		x0, y0 := i/2%4, i/8*2
		for y := range size {
			for x := range size {
				bright := x >= x0 && x < x0+4 && y >= y0 && y < y0+4
				if bright != (labels[i] == 1) {
					pixels[(i*size+y)*size+x] = 255
				}
			}
		}
	}
	info := data.Info{Name: "shades", Channels: 1, Height: size, Width: size, Classes: []string{"dark", "bright"}}
	return data.NewMemory(info, pixels, labels)
}

// trained is a class-conditional model of shades, as training leaves it in a run's directory; guidable is one that was trained
// with label dropout. Each is made once.
var (
	trained  = sync.OnceValues(func() (*Pipeline, error) { return openShades(0) })
	guidable = sync.OnceValues(func() (*Pipeline, error) { return openShades(0.2) })
)

func openShades(labelDropout float64) (*Pipeline, error) {
	dir, err := os.MkdirTemp("", "unstir-test-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	run := filepath.Join(dir, "shades")
	if err := trainShades(run, labelDropout); err != nil {
		return nil, err
	}
	return Open(context.Background(), run)
}

func trainShades(run string, labelDropout float64) error {
	set, err := shades()
	if err != nil {
		return err
	}
	tc, ema, ckpt, preview := train.Defaults()
	tc.Steps, tc.BatchSize, tc.Slice, tc.LR, tc.WarmupSteps, tc.LRSchedule = 160, 12, 12, 6e-3, 10, "cosine"
	tc.LabelDropout = labelDropout
	ema.Decay, ckpt.Every, preview.Every = 0.98, 0, 0
	tr, err := train.New(train.Setup{
		Seed: 3, Data: set, Model: classConfig(), Scheduler: diffusion.Defaults(),
		Train: tc, EMA: ema, Checkpoint: ckpt, Preview: preview, Dir: run, ConfigTOML: []byte("name = \"shades\"\n"), Version: "test",
	})
	if err != nil {
		return err
	}
	return tr.Run(context.Background())
}

// classConfig is a class-conditional model of images of 8x8 pixels that uses the time embedding as scale and shift.
func classConfig() unet.Config {
	c := testConfig()
	c.SampleSize = unet.Size{H: 8, W: 8}
	c.BlockOutChannels = []int{8, 16}
	c.NumClassEmbeds, c.ResnetTimeScaleShift = 2, "scale_shift"
	return c
}

func trainedPipeline(t *testing.T) *Pipeline {
	t.Helper()
	p, err := trained()
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// A label goes from the dataset through training into the model, and from Sample's options to the images: a model of
// dark and bright images draws the one that the label says.
func TestLabelsReachTheImages(t *testing.T) {
	p := trainedPipeline(t)
	const n = 12
	labels := make([]int, n)
	for i := range labels {
		labels[i] = i / (n / 2)
	}
	s := mustSample(t, p, SampleOptions{N: n, Sampler: "ddim", Steps: 20, Seed: 5, Labels: labels, Batch: 5})
	for i := range n {
		sum := 0.0
		for _, v := range s.part(i) {
			sum += float64(v)
		}
		if mean := sum / 64; (mean > 0) != (labels[i] == 1) {
			t.Errorf("image %d of class %s: the mean of its pixels is %.2f", i, []string{"dark", "bright"}[labels[i]], mean)
		}
	}
}

// part is image i of the samples.
func (s *Samples) part(i int) []float32 {
	dim := s.C * s.H * s.W
	return s.Data[i*dim : (i+1)*dim]
}

// Class names are not needed, but a model may not have fewer classes than the data.
func TestTooFewClasses(t *testing.T) {
	set, err := shades()
	if err != nil {
		t.Fatal(err)
	}
	c := classConfig()
	c.NumClassEmbeds = 1
	tc, ema, ckpt, preview := train.Defaults()
	tc.Steps = 1
	_, err = train.New(train.Setup{
		Data: set, Model: c, Scheduler: diffusion.Defaults(), Train: tc, EMA: ema, Checkpoint: ckpt, Preview: preview,
		Dir: filepath.Join(t.TempDir(), "run"),
	})
	want := "num_class_embeds is 1, but shades has 2 classes"
	if err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("error %v, want one with %q", err, want)
	}
}
