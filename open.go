package unstir

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"unstir/checkpoints"
	"unstir/checkpoints/safetensors"
	"unstir/diffusion"
	"unstir/internal/oneline"
	"unstir/unet"
)

// Source says where a pipeline came from.
type Source struct {
	Dir     string                // of the checkpoint or the pipeline; "demo" for Demo's
	Weights string                // the file of the weights, or the index of its shards
	Raw     bool                  // the weights as trained, not their moving average
	State   *checkpoints.State    // of the training of a checkpoint, or of Demo; nil for other pipelines
	Skipped []checkpoints.Skipped // newer checkpoints of the run that are damaged
}

// OpenOption changes what Open reads.
type OpenOption func(*openOptions)

type openOptions struct{ raw bool }

// WithRawWeights takes the weights as they were trained instead of their moving average. Only a checkpoint of a
// training run has both.
func WithRawWeights() OpenOption { return func(o *openOptions) { o.raw = true } }

// ErrClassifier is wrapped by Open's error where there is a classifier and no diffusion model.
var ErrClassifier = errors.New("it is a classifier, which tells the classes of images, and no diffusion model: it has nothing to sample or to predict noise with")

// Open reads a model: a run's directory (its newest whole checkpoint), a checkpoint, or a directory of a diffusers
// pipeline of a UNet2DModel and a supported scheduler, or of a UNet2DModel alone. Every file of a checkpoint is checked
// against its manifest. A weight that is not finite is an error that names its tensor.
func Open(ctx context.Context, dir string, options ...OpenOption) (*Pipeline, error) {
	var o openOptions
	for _, f := range options {
		f(&o)
	}
	c, err := checkpoints.Open(ctx, dir)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	if c.Classifier != nil {
		return nil, fmt.Errorf("unstir: %s: %w", c.Dir, ErrClassifier)
	}
	weights := c.Weights
	if o.raw {
		if weights = c.Raw; weights == nil {
			return nil, fmt.Errorf("unstir: %s has one set of weights only: raw weights are kept in checkpoints of training runs", c.Dir)
		}
	}
	return newPipeline(c, weights, o.raw)
}

// newPipeline is the pipeline of an opened model with one of its sets of weights.
func newPipeline(c *checkpoints.Model, weights *safetensors.Reader, raw bool) (*Pipeline, error) {
	config, err := unet.ParseConfig(c.UNet)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", c.UNetFile, err)
	}
	if in, out := config.InChannels, config.OutChannels; out == 2*in {
		return nil, fmt.Errorf("unstir: %s: %w", c.Dir, learnedVariance(in, out))
	}
	if err := checkNullClass(c.State, config); err != nil {
		return nil, fmt.Errorf("unstir: %s: %w", c.Dir, err)
	}
	model, err := readModel(config, weights)
	if err != nil {
		return nil, oneline.Error(fmt.Errorf("unstir: %s: %w", c.Dir, err))
	}
	scheduler := diffusion.Defaults()
	if c.Scheduler != nil {
		if scheduler, err = diffusion.ParseConfig(c.Scheduler); err != nil {
			return nil, fmt.Errorf("%s: %w", c.SchedulerFile, err)
		}
	}
	schedule, err := diffusion.NewSchedule(scheduler)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", c.SchedulerFile, err)
	}
	p, err := New(model, schedule)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", c.UNetFile, err)
	}
	p.Source = Source{Dir: c.Dir, Weights: weights.Name(), Raw: raw, State: c.State, Skipped: c.Skipped}
	p.configs = [][]byte{c.UNet, c.Scheduler}
	if c.State != nil {
		p.null = c.State.NullClass
	}
	return p, nil
}

// checkNullClass makes sure that the null class of a checkpoint, if it has one, is the last of the model's class embeddings.
func checkNullClass(st *checkpoints.State, c unet.Config) error {
	if st != nil && st.NullClass != nil && *st.NullClass != c.NumClassEmbeds-1 {
		return fmt.Errorf("the null class of the training's state is %d, and must be the last of the model's num_class_embeds = %d", *st.NullClass, c.NumClassEmbeds)
	}
	return nil
}

// readModel reads every parameter of a UNet.
func readModel(c unet.Config, r *safetensors.Reader) (m *unet.Model, err error) {
	err = readWeights(r, unet.OlderName,
		func(check func(name string, shape []int) error) error { return unet.Check(c, check) },
		func(read func(name string, shape []int, dst []float32) error) error {
			m, err = unet.Load(c, read)
			return err
		})
	return m, err
}

// readWeights reads every parameter of a model, and refuses a file that holds others too, or values that cannot be
// weights. Names and shapes are compared with the file's by check before load allocates memory, since a configuration may
// declare any size. A parameter may have an older name in the file.
func readWeights(r *safetensors.Reader, older func(name string) (string, bool), check func(func(name string, shape []int) error) error,
	load func(read func(name string, shape []int, dst []float32) error) error) error {
	names := map[string]string{} // in the file, by the model's name
	used := map[string]bool{}
	err := check(func(name string, shape []int) error {
		there := name
		info, ok := r.Lookup(there)
		if !ok {
			if there, ok = older(name); ok {
				info, ok = r.Lookup(there)
			}
		}
		if !ok {
			return errors.New("it is not in " + r.Name())
		}
		if got := trimOnes(info.Shape, shape); !slices.Equal(got, shape) {
			return fmt.Errorf("its shape in %s is %v; this model's is %v", r.Name(), info.Shape, shape)
		}
		names[name], used[there] = there, true
		return nil
	})
	if err != nil {
		return err
	}
	for _, name := range r.Names() {
		if !used[name] {
			return fmt.Errorf("%s has a tensor %.80q that this model does not have", r.Name(), name)
		}
	}
	zero := true
	err = load(func(name string, _ []int, dst []float32) error {
		if err := r.ReadFloat32(names[name], dst); err != nil {
			return err
		}
		for i, v := range dst {
			if v-v != 0 {
				return fmt.Errorf("its value %d in %s is %v: the model is damaged, or its training went wrong", i, r.Name(), v)
			}
			zero = zero && v == 0
		}
		return nil
	})
	if err == nil && zero {
		return fmt.Errorf("every value in %s is 0: the download or the copy was cut off; get the file again", r.Name())
	}
	return err
}

// trimOnes drops the trailing dimensions of size 1 that older files have on attention's matrices.
func trimOnes(shape, want []int) []int {
	for len(shape) > len(want) && shape[len(shape)-1] == 1 {
		shape = shape[:len(shape)-1]
	}
	return shape
}
