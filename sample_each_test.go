package unstir

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"unstir/diffusion"
)

// mustSampleEach collects what SampleEach hands on, by number.
func mustSampleEach(t *testing.T, p *Pipeline, o SampleOptions) map[int][]float32 {
	t.Helper()
	got := map[int][]float32{}
	err := p.SampleEach(t.Context(), o, func(i int, s *Samples) error {
		if c, h, w := p.Shape(); s.N != 1 || s.C != c || s.H != h || s.W != w || len(s.Data) != c*h*w {
			t.Fatalf("image %d is %d images of %dx%dx%d", i, s.N, s.C, s.H, s.W)
		}
		got[i] = s.Data
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return got
}

// Images are handed on as soon as their batch is done: before the next one is begun, and without an end in sight.
func TestImagesAreHandedOnBatchByBatch(t *testing.T) {
	p := testPipeline(t, testConfig())
	seen, enough := 0, errors.New("seen enough")
	o := SampleOptions{N: 1 << 40, Batch: 3, Sampler: "ddim", Steps: 2, First: 5}
	o.OnStep = func(s SampleStep) error {
		if s.First != seen {
			t.Errorf("the batch from image %d on is begun where %d are handed on", s.First, seen)
		}
		return nil
	}
	err := p.SampleEach(t.Context(), o, func(i int, _ *Samples) error {
		if i != 5+seen {
			t.Errorf("image %d comes as the %dth from image 5 on", i, seen)
		}
		if seen++; seen == 8 {
			return enough
		}
		return nil
	})
	if !errors.Is(err, enough) || !strings.Contains(err.Error(), "image 12") || seen != 8 {
		t.Errorf("%d images and error %v, want 8 and the callback's", seen, err)
	}
}

// A cancelled call has handed on every image of the batches before the one under way.
func TestACancelledCallHasHandedOnWhatWasDone(t *testing.T) {
	p := testPipeline(t, testConfig())
	ctx, cancel := context.WithCancel(t.Context())
	seen := 0
	o := SampleOptions{N: 9, Batch: 2, Sampler: "ddim", Steps: 3, OnStep: func(s SampleStep) error {
		if s.First == 4 && s.Index == 1 {
			cancel()
		}
		return nil
	}}
	err := p.SampleEach(ctx, o, func(int, *Samples) error { seen++; return nil })
	if !errors.Is(err, context.Canceled) || seen != 4 {
		t.Errorf("%d images and error %v, want 4 and context.Canceled", seen, err)
	}
}

// Any choice of images, in any order, has the bits that they have in the whole set: with noise in the steps, with
// labels and from an x_T too.
func TestNumbersPickImages(t *testing.T) {
	c := testConfig()
	c.NumClassEmbeds = 3
	p := testPipeline(t, c)
	all := SampleOptions{N: 12, Sampler: "ddpm", Steps: 3, Seed: 4, Batch: 5}
	for i := range all.N {
		all.Labels = append(all.Labels, i%3)
	}
	fromFile := all
	for i := range all.N * 96 {
		fromFile.XT = append(fromFile.XT, float32(i%17)/8-1)
	}
	numbers := []int{7, 2, 11, 3}
	for name, all := range map[string]SampleOptions{"seed": all, "x_T": fromFile} {
		want := mustSample(t, p, all).Data
		some := all
		some.N, some.Numbers, some.Labels, some.XT, some.Batch = len(numbers), numbers, nil, nil, 3
		for _, i := range numbers {
			some.Labels = append(some.Labels, all.Labels[i])
			if all.XT != nil {
				some.XT = append(some.XT, all.XT[i*96:(i+1)*96]...)
			}
		}
		got := mustSampleEach(t, p, some)
		if len(got) != len(numbers) {
			t.Errorf("%s: %d images, want %d", name, len(got), len(numbers))
		}
		for i, x := range got {
			sameImage(t, fmt.Sprintf("%s: image %d", name, i), x, want[i*96:(i+1)*96])
		}
	}
}

func TestNumbersThatCannotBeAreRefused(t *testing.T) {
	p := testPipeline(t, testConfig())
	for want, o := range map[string]SampleOptions{
		"1 numbers for 2 images":            {N: 2, Numbers: []int{3}},
		"from image 4 on":                   {N: 1, Numbers: []int{3}, First: 4},
		"image -3; a number must not be ne": {N: 2, Numbers: []int{3, -3}},
		"a batch of 99999999 images":        {N: 1 << 40, Batch: 99999999},
		"sample -1 images":                  {N: -1},
	} {
		err := p.SampleEach(t.Context(), o, func(int, *Samples) error { return errors.New("an image was made") })
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want one with %q", err, want)
		}
	}
}

// The hash is the model's, wherever it lies, and changes with the weights and with either configuration.
func TestHashIsTheModels(t *testing.T) {
	const dir = "unet/testdata/unet_tiny"
	hash := func(dir string) string {
		p, err := Open(t.Context(), dir)
		if err != nil {
			t.Fatal(err)
		}
		h, err := p.Hash()
		if err != nil {
			t.Fatal(err)
		}
		return h
	}
	want := hash(dir)
	if len(want) != 64 || hash(dir) != want {
		t.Errorf("the hash is %q, then %q", want, hash(dir))
	}
	changed := func(name string, change func([]byte) []byte) string {
		copied := filepath.Join(t.TempDir(), "copied")
		if err := os.CopyFS(copied, os.DirFS(dir)); err != nil {
			t.Fatal(err)
		}
		data, err := os.ReadFile(filepath.Join(copied, name))
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(copied, name), change(data), 0o666); err != nil {
			t.Fatal(err)
		}
		return hash(copied)
	}
	if changed("unet/config.json", func(b []byte) []byte { return b }) != want {
		t.Error("a copy of the model has another hash")
	}
	for name, change := range map[string]func([]byte) []byte{
		"unet/diffusion_pytorch_model.safetensors": func(b []byte) []byte { b[len(b)-1] ^= 1; return b },
		"unet/config.json": func(b []byte) []byte {
			return []byte(strings.Replace(string(b), "{", `{"norm_eps": 1e-3,`, 1))
		},
		"scheduler/scheduler_config.json": func([]byte) []byte { return []byte(`{"num_train_timesteps": 100}`) },
	} {
		if changed(name, change) == want {
			t.Errorf("another %s does not change the hash", name)
		}
	}

	a, b := testPipeline(t, testConfig()), testPipeline(t, testConfig())
	ha, err := a.Hash()
	if err != nil {
		t.Fatal(err)
	}
	if hb, err := b.Hash(); err != nil || ha != hb || ha == want {
		t.Errorf("models that are not from files: %q and %q, %v", ha, hb, err)
	}
	c := diffusion.Defaults()
	c.BetaEnd = 0.03
	if b.Schedule, err = diffusion.NewSchedule(c); err != nil {
		t.Fatal(err)
	}
	if hb, _ := b.Hash(); hb == ha {
		t.Error("another schedule does not change the hash")
	}
}

// Prepare finds what SampleEach would stumble on, and leaves what its batches need for it.
func TestPrepareFindsWhatIsWrong(t *testing.T) {
	p := testPipeline(t, testConfig())
	o := SampleOptions{N: 1 << 40, Batch: 2, Sampler: "ddim", Steps: 2}
	if err := p.Prepare(o); err != nil {
		t.Fatal(err)
	}
	if len(p.idle) != 1 || p.idle[0].Batch() != 2 {
		t.Errorf("%d predictors are there, want one for 2 images", len(p.idle))
	}
	o.Sampler = "plms"
	if err := p.Prepare(o); err == nil || !strings.Contains(err.Error(), "plms") {
		t.Errorf("error %v, want one that names the sampler", err)
	}
	t.Setenv("UNSTIR_MEMORY", "100000")
	var short *MemoryError
	o.Sampler, o.Batch = "ddim", 64
	if err := p.Prepare(o); !errors.As(err, &short) || short.Batch != 64 {
		t.Errorf("error %v, want a *MemoryError", err)
	}
}
