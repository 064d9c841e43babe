package unstir

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"image"
	"math"
	"slices"
	"strings"
	"time"

	"unstir/data"
	"unstir/diffusion"
	"unstir/featurenet"
	"unstir/internal/images"
	"unstir/internal/rng"
	"unstir/metrics"
)

// EvaluateOptions say what is evaluated, and by what. Pipeline or Samples must be given; the zero value of every other field
// means its default.
type EvaluateOptions struct {
	Pipeline *Pipeline     // whose images are evaluated
	Sample   SampleOptions // how it makes them; N is 2000 by default, and the labels are all classes in turn

	Samples *Samples // images in [-1, 1] that are evaluated instead of new ones
	Labels  []int    // [N] classes that the given Samples were made for

	// Data is the dataset whose images the samples are compared with; by default what the pipeline was trained on. Where
	// its Dir does not have them, the cache is looked in.
	Data data.Config
	// Open says how Evaluate may get at these images. Training images are never downloaded.
	Open data.Options
	// Net makes the features; by default the program's own network for the dataset, which MNIST and Fashion-MNIST have.
	Net *featurenet.Net

	// AccuracyScore asks for the classification accuracy score, which takes minutes: a classifier is trained on the labelled
	// samples and tested on real images.
	AccuracyScore bool

	// BoundImages is the number of test images for the variational bound, in bits per dimension; 0: it is not computed. The
	// model is asked about each at every timestep. Sample.Seed chooses the images and their noise, Sample.Settings.Clip and
	// Variance have the meaning that they have for ddpm. A class-conditional model is given the images' labels.
	BoundImages int

	// Progress, if not nil, hears how far a part of the work is: "features", in images, "bits per dimension", in timesteps of
	// images, or "accuracy score", in training steps. Sample.OnStep hears of the sampling.
	Progress func(what string, done, total int)
}

// Evaluation is what Evaluate found: the result, whose JSON it has, and the images that it is about.
type Evaluation struct {
	*metrics.Result
	Samples  *Samples     `json:"-"`
	Training data.Dataset `json:"-"` // the training images; nil: there were none to compare with
	Bound    *Bound       `json:"-"` // nil: it was not asked for, or there were no test images
}

// InputError is Evaluate's error where what is to be evaluated cannot be: images of another size than the feature network's,
// values that are not in [-1, 1], no more samples than features, or a dataset without a network.
type InputError struct {
	Reason string // what is wrong, and what would be right
}

func (e *InputError) Error() string { return "unstir: evaluate: " + e.Reason }

func inputError(format string, args ...any) error { return &InputError{fmt.Sprintf(format, args...)} }

// defaultEvaluated is the number of samples that are evaluated when none is given.
const defaultEvaluated = 2000

// maxValue is the largest value of a sample: rounding may lead a little beyond 1.
const maxValue = 1.001

// Evaluate compares a pipeline's samples, or given ones, with the test images of a dataset: see package metrics for what is
// computed. Every image is measured as a picture of 8 bits a value, so that samples that were written as PNG files have the
// result of those that were not. The references are
//   - for "mnist" and "mnist-10k", the features of MNIST's test images that come with the program's network;
//   - for "folder", what data.holdout keeps apart, or without it the training images themselves, which a note says;
//   - else the dataset's test split, from Open.Dir, Data.Dir, the cache or the network, in this order.
//
// The training images are looked for in the same places, but not on the network; for "mnist", the 10,000 images that are part
// of the program stand in. Without them, what needs them is null. The same options give the same result on any number of
// threads. The error is an *InputError where the options cannot be; it stops when ctx is done.
func Evaluate(ctx context.Context, o EvaluateOptions) (*Evaluation, error) {
	e := &evaluation{EvaluateOptions: o}
	for _, step := range []func(context.Context) error{e.choose, e.check, e.openImages, e.openBound, e.sample} {
		if err := step(ctx); err != nil {
			return nil, err
		}
	}
	bound, err := e.computeBound(ctx)
	if err != nil {
		return nil, fmt.Errorf("unstir: evaluate: %w", err)
	}
	in, err := e.measure(ctx)
	if err != nil {
		return nil, fmt.Errorf("unstir: evaluate: %w", err)
	}
	r, err := metrics.Evaluate(ctx, in)
	switch {
	case ctx.Err() != nil:
		return nil, ctx.Err()
	case err != nil: // about the input
		return nil, inputError("%v", err)
	}
	if o.AccuracyScore {
		if r.AccuracyScore, err = e.accuracyScore(ctx); err != nil {
			return nil, fmt.Errorf("unstir: evaluate: accuracy score: %w", err)
		}
	}
	bound.describe(r)
	e.describe(r)
	return &Evaluation{r, e.Samples, e.training, bound}, nil
}

// evaluation is a call of Evaluate.
type evaluation struct {
	EvaluateOptions
	references     metrics.Features // that come with the network; N 0: there are none
	test, training data.Dataset     // nil: none
	bound          *diffusion.Bound
	boundTest      data.Dataset  // whose images the bound is of
	boundImages    []int32       // their numbers; nil: none
	took           time.Duration // of sampling; 0: the samples were given
	notes          []string
}

func (e *evaluation) note(format string, args ...any) {
	e.notes = append(e.notes, fmt.Sprintf(format, args...))
}

func (e *evaluation) progress(what string, done, total int) {
	if e.Progress != nil {
		e.Progress(what, done, total)
	}
}

// choose settles the dataset and the network.
func (e *evaluation) choose(ctx context.Context) (err error) {
	if e.Pipeline == nil && e.Samples == nil {
		return inputError("there is nothing to evaluate: neither a pipeline nor samples")
	}
	if e.Data.Dataset == "" {
		if e.Pipeline == nil || e.Pipeline.Source.State == nil {
			return inputError("name the dataset to compare with, in Data.Dataset: nothing says what the model was trained on")
		}
		d := e.Pipeline.Source.State.Data
		e.Data = data.Config{Dataset: d.Name, Size: data.Size{H: d.Height, W: d.Width}, Channels: d.Channels, Holdout: d.Holdout}
	}
	if err := e.Data.Validate(); err != nil {
		return fmt.Errorf("unstir: evaluate: %w", err)
	}
	if e.Net != nil {
		return nil
	}
	if !featurenet.HasEmbedded(e.Data.Dataset) {
		return inputError("the program has no feature network for %s: give a classifier, such as a configuration with [classifier] trains", e.Data.Dataset)
	}
	e.Net, err = featurenet.Embedded(ctx, e.Data.Dataset)
	return err
}

// check finds what is wrong with the samples, or with those that are to be made.
func (e *evaluation) check(context.Context) (err error) {
	net := e.Net.Config()
	n := cmp.Or(e.Sample.N, defaultEvaluated)
	var c, h, w int
	if s := e.Samples; s != nil {
		n, c, h, w = s.N, s.C, s.H, s.W
	} else {
		p := e.Pipeline
		if _, h, _ = p.Shape(); h == 0 {
			if p, err = p.ForSize(net.Height, net.Width); err != nil {
				return err
			}
			e.Pipeline = p
		}
		c, h, w = p.Shape()
	}
	if c != net.InChannels || h != net.Height || w != net.Width {
		return inputError("images of %dx%dx%d, and the feature network %s reads %dx%dx%d: give a classifier that was trained on such images",
			c, h, w, e.Net.Name, net.InChannels, net.Height, net.Width)
	}
	if n <= net.Features {
		return inputError("%d samples for %d features: there must be more samples than features, and hundreds for a result that says something", n, net.Features)
	}
	if e.Samples != nil {
		return e.checkGiven()
	}
	e.Sample.N = n
	if every := e.Pipeline.Labels(); len(every) > 0 && e.Sample.Labels == nil {
		e.Sample.Labels = make([]int, n)
		for i := range e.Sample.Labels {
			e.Sample.Labels[i] = every[i%len(every)]
		}
	}
	if err := e.Pipeline.checkSample(e.Sample); err != nil {
		return err
	}
	_, err = e.Pipeline.NewSampler(e.Sample)
	return err
}

// checkGiven checks samples that are given, and their labels.
func (e *evaluation) checkGiven() error {
	s := e.Samples
	dim := s.C * s.H * s.W
	if len(s.Data) != s.N*dim {
		return inputError("%d values for %d images of %dx%dx%d; there must be %d", len(s.Data), s.N, s.C, s.H, s.W, s.N*dim)
	}
	for i, v := range s.Data {
		if !(math.Abs(float64(v)) <= maxValue) { // NaN too
			return inputError("sample %d has a value %v: values must be in [-1, 1]", i/dim, v)
		}
	}
	if e.Labels != nil && len(e.Labels) != s.N {
		return inputError("%d labels for %d samples", len(e.Labels), s.N)
	}
	for i, l := range e.Labels {
		if classes := e.Net.Config().Classes; l < 0 || l >= classes {
			return inputError("label %d of sample %d: the classes of the feature network are 0 to %d", l, i, classes-1)
		}
	}
	return nil
}

// openImages opens what the samples are compared with.
func (e *evaluation) openImages(ctx context.Context) (err error) {
	var with bool
	if e.references, with, err = e.Net.References(); err != nil {
		return err
	}
	if e.Data.Dataset == data.Folder && e.Data.Holdout == 0 {
		if e.test, err = e.open(ctx, data.Train, false); err != nil {
			return err
		}
		e.note("the references are all pictures of the folder, which a model of it was trained on: it looks better than it is; data.holdout = 0.1 in training keeps some apart")
		return nil
	}
	if !with {
		if e.test, err = e.open(ctx, data.Test, false); err != nil {
			return err
		}
	}
	if e.training, err = e.open(ctx, data.Train, true); err != nil {
		if ctx.Err() != nil || e.Open.Dir != "" {
			return err
		}
		reason := err.Error()
		var unfit *InputError
		if errors.As(err, &unfit) {
			reason = unfit.Reason
		}
		e.note("there are no training images: %s", reason)
		return nil
	}
	if p := e.Pipeline; p != nil && p.Source.State != nil {
		if was, is := p.Source.State.Data, e.training.Info(); was.Hash != is.Hash {
			e.note("the training images are %d of %s, and not the %d of %s that the model was trained on: near_copies finds copies of the former only",
				is.Count, is.Name, was.Count, was.Name)
		}
	}
	return nil
}

// open opens a split whose images have the network's size. Where a directory that was remembered does not have it, the cache
// may.
func (e *evaluation) open(ctx context.Context, split data.Split, offline bool) (data.Dataset, error) {
	c, o := e.Data, e.Open
	o.Split = split
	o.Offline = o.Offline || offline
	if split == data.Test && c.Dataset == data.MNIST10K { // which has MNIST's
		c.Dataset = data.MNIST
	}
	d, err := data.Open(ctx, c, o)
	if err != nil && ctx.Err() == nil && o.Dir == "" && c.Dir != "" && c.Dataset != data.Folder {
		c.Dir = ""
		if elsewhere, err := data.Open(ctx, c, o); err == nil {
			return e.fitting(elsewhere)
		}
	}
	if err != nil {
		return nil, err
	}
	return e.fitting(d)
}

func (e *evaluation) fitting(d data.Dataset) (data.Dataset, error) {
	net, info := e.Net.Config(), d.Info()
	if info.Channels != net.InChannels || info.Height != net.Height || info.Width != net.Width {
		return nil, inputError("the images of %s are %dx%dx%d, and the feature network %s reads %dx%dx%d", info.Name,
			info.Channels, info.Height, info.Width, e.Net.Name, net.InChannels, net.Height, net.Width)
	}
	return d, nil
}

// sample makes the samples, unless they are given.
func (e *evaluation) sample(ctx context.Context) (err error) {
	if e.Samples != nil {
		return nil
	}
	start := time.Now()
	e.Samples, err = e.Pipeline.Sample(ctx, e.Sample)
	e.took = time.Since(start)
	e.Labels = e.Sample.Labels
	e.dropLabels()
	return err
}

// dropLabels drops labels of other classes than the network's.
func (e *evaluation) dropLabels() {
	names, known := e.Pipeline.Classes(), e.Net.Classes
	differ := names != nil && known != nil && !slices.Equal(names, known)
	if e.Labels != nil && (differ || slices.Max(e.Labels) >= e.Net.Config().Classes) {
		e.Labels = nil
		e.note("class_accuracy is null: the model's classes are not those of the feature network")
	}
}

// measure makes the features of everything.
func (e *evaluation) measure(ctx context.Context) (in metrics.Input, err error) {
	n := e.Samples.N
	noise := featurenet.Images{N: n, Read: func(i int, x []float32) {
		rng.Uniform32(x, 0, rng.UniformImage, uint64(i), 0)
		for j, v := range x {
			x[j] = data.Value(byte(256 * v))
		}
	}}
	total, done := 2*n, 0
	for _, d := range []data.Dataset{e.test, e.training} {
		if d != nil {
			total += d.Info().Count
		}
	}
	var classes []int
	measure := func(im featurenet.Images) (f metrics.Features) {
		if err == nil {
			f, classes, err = e.Net.Measure(ctx, im, func(images int) {
				e.progress("features", done+images, total)
			})
			done += im.N
		}
		return f
	}
	in.Samples = measure(e.Samples.asPictures())
	in.Classes, in.NumClasses, in.Labels = classes, e.Net.Config().Classes, e.Labels
	in.Noise = measure(noise)
	if in.References = e.references; e.test != nil {
		in.References = measure(featurenet.FromDataset(e.test))
	}
	if e.training != nil {
		in.Training = measure(featurenet.FromDataset(e.training))
	}
	return in, err
}

// asPictures are the samples as a picture has them, in 8 bits a value.
func (s *Samples) asPictures() featurenet.Images {
	dim := s.C * s.H * s.W
	pixels := make([]byte, dim)
	return featurenet.Images{N: s.N, Read: func(i int, x []float32) {
		images.ToBytes(pixels, s.Data[i*dim:(i+1)*dim])
		for j, v := range pixels {
			x[j] = data.Value(v)
		}
	}}
}

// describe adds what was evaluated to what was found.
func (e *evaluation) describe(r *metrics.Result) {
	r.Notes = append(e.notes, r.Notes...)
	r.Dataset, r.FeatureNet, r.FeatureNetAccuracy = &e.Data.Dataset, &e.Net.Name, e.Net.Accuracy
	r.References = e.describeReferences()
	p := e.Pipeline
	if p == nil {
		return
	}
	if st := p.Source.State; st != nil {
		r.ModelStep = &st.Step
	}
	if e.took == 0 {
		return
	}
	name, settings := p.settings(e.Sample)
	steps := cmp.Or(settings.Steps, len(settings.Timesteps))
	r.Sampler, r.Steps, r.Seed = &name, &steps, &e.Sample.Seed
	var set []string
	if s := e.Sample.Settings.String(); s != "" {
		set = append(set, s)
	}
	if g := e.Sample.Guidance; g != nil && !g.Idle() {
		r.Guidance = &g.Weight
		set = append(set, g.String())
	}
	if s := strings.Join(set, ", "); s != "" {
		r.Settings = &s
	}
	r.ImagesPerS = metrics.Number(float64(e.Samples.N) / e.took.Seconds())
}

// describeReferences says in words what the samples were compared with.
func (e *evaluation) describeReferences() string {
	name := e.Data.Dataset
	switch {
	case e.test != nil && e.test.Info().Split != data.Test:
		return "all pictures of the folder, training images among them"
	case name == data.MNIST10K: // which has no test images of its own
		name = data.MNIST
	}
	return name + "'s test images"
}

// Pairs is a picture of the n samples that are nearest to a training image, or of all where they are fewer, beside the
// training images that they are nearest to. Without training images it is an error.
func (e *Evaluation) Pairs(n int) (image.Image, error) {
	if e.Copies == nil || e.Training == nil {
		return nil, errors.New("unstir: there were no training images that a sample could be near to")
	}
	nearest := e.Copies.Nearest[:min(max(n, 1), len(e.Copies.Nearest))]
	info, dim := e.Training.Info(), e.Samples.C*e.Samples.H*e.Samples.W
	panels := []images.Panel{{Label: "samples"}, {Label: "nearest training images"}}
	for k := range panels {
		var list []image.Image
		pixels, x := make([]byte, dim), make([]float32, dim)
		for _, p := range nearest {
			copy(x, e.Samples.Data[p.Sample*dim:(p.Sample+1)*dim])
			if k == 1 {
				e.Training.Image(p.Training, pixels)
				for j, v := range pixels {
					x[j] = data.Value(v)
				}
			}
			m, err := images.FromNCHW(x, 1, info.Channels, info.Height, info.Width)
			if err != nil {
				return nil, fmt.Errorf("unstir: %w", err)
			}
			list = append(list, m...)
		}
		grid, err := images.Grid(list, images.GridOptions{Padding: 2, Scale: max(1, 64/info.Height)})
		if err != nil {
			return nil, fmt.Errorf("unstir: %w", err)
		}
		panels[k].Image = grid
	}
	return images.Panels(panels, images.PanelOptions{Padding: 8, Background: 255})
}
