package main

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"unstir"
	"unstir/checkpoints"
	"unstir/configs"
	"unstir/data"
	"unstir/diffusion"
	"unstir/internal/npy"
	"unstir/internal/samples"
	"unstir/metrics"
)

type evalFlags struct {
	sampleFlags
	samples, labels, dataDir, json, pairs, classifier string
	features, references, training                    string
	bpdPlot                                           string
	sets                                              []string
	score                                             bool
	bpd                                               int
}

func newEval() *cobra.Command {
	var f evalFlags
	c := &cobra.Command{
		Use:   "eval",
		Short: "Measure how near samples are to real images",
		Long: `Measure how near a model's samples are to the test images of its dataset: Fréchet and kernel distance, precision, recall,
density, coverage, the classes that a classifier sees, and near copies of training images. docs/evaluation.md says what each
is. The samples are made as sample makes them, or given: a .npy file [N, C, H, W] in [-1, 1], or a directory of pictures.
Features come from the classifiers of MNIST and Fashion-MNIST that are part of the program, or from one of yours. MNIST's
test images need not be there, as the program has their features. The last result of a run's model stays in RUN/eval.json.`,
		Example: `  diffusion eval --demo --n 1000 --steps 50
  diffusion eval --model runs/quickstart --sampler ddim
  diffusion eval --model runs/quickstart --sampler ddim --n 5000 --json - --pairs nearest.png
  diffusion eval --samples many --set data.dataset=mnist --data-dir ~/datasets
  diffusion eval --model runs/cifar10 --sampler ddim --classifier runs/cifar10-classifier
  diffusion eval --features samples.npy --reference-features test.npy`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return runEval(c, f) },
	}
	p := c.Flags()
	f.addFlags(p)
	p.IntVar(&f.n, "n", 2000, "number of samples; of given ones the first (default all)")
	p.StringVar(&f.label, "label", "", labelHelp+"; repeated over the images (default all)")
	p.StringVar(&f.samples, "samples", "", "given samples: a .npy `FILE` [N, C, H, W] in [-1, 1], or a directory of pictures")
	p.StringVar(&f.labels, "labels", "", "classes of the given samples: a .npy `FILE` of int64 [N] (default: those of the directory's samples.json)")
	p.StringArrayVar(&f.sets, "set", nil, "the dataset to compare with, as in data.dataset=mnist: `KEY=VALUE` of [data], repeatable (default: the model's)")
	p.StringVar(&f.dataDir, "data-dir", "", "`DIR` with the dataset's files, or with a directory of its name that has them")
	p.StringVar(&f.classifier, "classifier", "", "`DIR` of a classifier's run or checkpoint that makes the features (default: the program's, of MNIST and Fashion-MNIST)")
	p.StringVar(&f.features, "features", "", "features of samples by a network of yours, in place of images: a .npy `FILE` [n, d]")
	p.StringVar(&f.references, "reference-features", "", "with --features: those of test images, a .npy `FILE` [m, d]")
	p.StringVar(&f.training, "training-features", "", "with --features: those of training images, a .npy `FILE` [k, d]; may be left out")
	p.BoolVar(&f.score, "accuracy-score", false, "also train a classifier on the labelled samples and test it on real images, which takes minutes")
	p.IntVar(&f.bpd, "bpd", 0, "also compute the variational bound of `N` test images in bits per dimension, such as of 256, at every timestep, which takes minutes")
	p.StringVar(&f.bpdPlot, "bpd-plot", "", "with --bpd: plot the bound's terms by timestep to a .png `FILE`")
	p.StringVar(&f.json, "json", "", "also write the result as JSON to a `FILE`; - for standard output, and no table")
	p.StringVar(&f.pairs, "pairs", "", "write the samples nearest to training images, beside these, to a .png `FILE`")
	return c
}

// checkEval finds what is wrong with the flags by themselves, and lists the sampler to run: none where the model says which.
func (f evalFlags) checkEval(c *cobra.Command) ([]string, error) {
	given := c.Flags().Changed
	for _, file := range []struct{ flag, path string }{{"json", f.json}, {"pairs", f.pairs}, {"bpd-plot", f.bpdPlot}} {
		switch {
		case !given(file.flag) || file.flag == "json" && file.path == "-":
			continue
		case file.path == "":
			return nil, usagef("--%s is empty: name a file", file.flag)
		case isDir(file.path):
			return nil, usagef("--%s %s: it is a directory", file.flag, file.path)
		case file.flag != "json" && !strings.EqualFold(filepath.Ext(file.path), ".png"):
			return nil, usagef("--%s %s: the name must end in .png", file.flag, file.path)
		}
		if err := checkFile("--"+file.flag, file.path); err != nil {
			return nil, usage(err)
		}
	}
	for _, s := range f.sets {
		if !strings.HasPrefix(s, "data.") {
			return nil, usagef("--set %s: only keys of [data] have a meaning here, such as data.dataset=mnist", s)
		}
	}
	if f.features != "" {
		return nil, f.checkFeatures(c)
	}
	switch {
	case f.bpd < 0 || given("bpd") && f.bpd == 0:
		return nil, usagef("--bpd %d: it must be at least 1 test image", f.bpd)
	case f.bpd == 0 && given("bpd-plot"):
		return nil, usagef("--bpd-plot is of --bpd: say of how many test images, as in --bpd 256")
	case f.bpd > 0 && f.samples != "" && !given("model"):
		return nil, usagef("--bpd %d: bits per dimension are a model's, and not those of samples: name one with --model", f.bpd)
	case given("features"):
		return nil, usagef("--features is empty: name a .npy file")
	case given("reference-features") || given("training-features"):
		return nil, usagef("--features is missing: the features of samples, a .npy file [n, d]")
	case given("labels") && f.samples == "":
		return nil, usagef("--labels are those of --samples; the classes of new ones are chosen by --label")
	case given("samples") && f.samples == "":
		return nil, usagef("--samples is empty: name a .npy file or a directory of pictures")
	}
	if f.samples != "" {
		if flag := firstGiven(c, samplingFlags...); flag != "" {
			return nil, usagef("--%s says how samples are made, and --samples names some that are: leave one out", flag)
		}
		if !given("model") && !f.demo && !slices.ContainsFunc(f.sets, func(s string) bool { return strings.HasPrefix(s, "data.dataset=") }) {
			return nil, usagef("--samples %s: name the dataset to compare with, as in --set data.dataset=mnist, or the model that made them with --model", f.samples)
		}
	}
	if info, _ := diffusion.Find(f.sampler); info.Inverts {
		return nil, usagef("--sampler %s: it turns images into noise, and there is nothing to compare noise with", f.sampler)
	}
	return f.check(c)
}

// samplingFlags are those that say how samples are made.
var samplingFlags = []string{"sampler", "steps", "eta", "variance", "clip", "rederive-eps", "spacing", "pairing", "batch", "seed", "step-seed", "label", "ema",
	"guidance", "guidance-rescale", "guidance-interval", "null-class"}

// firstGiven is the first of some flags that is given; "" for none.
func firstGiven(c *cobra.Command, flags ...string) string {
	for _, flag := range flags {
		if c.Flags().Changed(flag) {
			return flag
		}
	}
	return ""
}

func (f evalFlags) checkFeatures(c *cobra.Command) error {
	if f.references == "" {
		return usagef("--reference-features is missing: the features of test images, a .npy file [m, d]")
	}
	wrong := ""
	with := []string{"features", "reference-features", "training-features", "json", "threads"}
	c.Flags().Visit(func(flag *pflag.Flag) {
		if wrong == "" && !slices.Contains(with, flag.Name) {
			wrong = flag.Name
		}
	})
	if wrong != "" {
		return usagef("--%s has no meaning with --features: leave one out", wrong)
	}
	return nil
}

func runEval(c *cobra.Command, f evalFlags) error {
	if err := setThreads(f.threads); err != nil {
		return err
	}
	f.demoDefaults(c, f.n)
	names, err := f.checkEval(c)
	if err != nil {
		return err
	}
	if f.features != "" {
		return f.evalFeatures(c)
	}
	o, end := f.evaluation(c)
	defer end()
	if f.samples == "" || f.model != "" || f.demo {
		if o.Pipeline, err = f.open(c); err != nil {
			return err
		}
	}
	if o.Data, err = f.dataset(o.Pipeline); err != nil {
		return err
	}
	if err := f.network(c, &o); err != nil {
		return err
	}
	var made *samples.Manifest
	subject := "--samples " + f.samples
	if f.samples != "" {
		made, err = f.readSamples(c, &o)
	} else {
		if subject = "--demo"; !f.demo {
			subject = "--model " + o.Pipeline.Source.Dir
		}
		err = f.sampling(c, &o, names)
	}
	if err != nil {
		return err
	}
	e, err := unstir.Evaluate(c.Context(), o)
	end()
	var input *unstir.InputError
	if errors.As(err, &input) {
		return usagef("%s: %s", subject, input.Reason)
	}
	if err != nil {
		return err
	}
	if made != nil {
		e.Sampler, e.Steps, e.Seed = &made.Settings.Sampler, &made.Settings.Steps, &made.Settings.Seed
	}
	if err := f.writePictures(e); err != nil {
		return err
	}
	if o.Pipeline != nil {
		f.keep(c, o.Pipeline, e)
	}
	return f.show(c, e.Result)
}

// evaluation are the options that show on stderr how far the work is, until end.
func (f evalFlags) evaluation(c *cobra.Command) (o unstir.EvaluateOptions, end func()) {
	open, opened := openingOptions(c)
	open.Dir = f.dataDir
	var bar *meter
	show := func(what string, total int) *meter {
		if opened(); bar == nil || bar.what != what {
			if bar != nil {
				bar.done()
			}
			bar = newMeter(c.ErrOrStderr(), what, 0, total)
		}
		return bar
	}
	o.Open, o.AccuracyScore, o.BoundImages = open, f.score, f.bpd
	o.Sample.OnStep = func(st unstir.SampleStep) error {
		show("sampling", sampleParts*f.n).sampled(st, f.n)
		return nil
	}
	o.Progress = func(what string, done, total int) {
		unit := "steps"
		switch what {
		case "features":
			unit = "images"
		case "bits per dimension":
			unit = "timesteps"
		}
		show(what, total).set(done, fmt.Sprintf("%d of %d %s", done, total, unit))
	}
	return o, func() {
		if opened(); bar != nil {
			bar.done()
			bar = nil
		}
	}
}

// dataset is the configuration of the dataset to compare with: the model's with --set, or what --set says; its zero value
// where Evaluate finds it in the model's state.
func (f evalFlags) dataset(p *unstir.Pipeline) (data.Config, error) {
	named := slices.ContainsFunc(f.sets, func(s string) bool { return strings.HasPrefix(s, "data.dataset=") })
	// [data] is all that matters of this configuration.
	const smallest = "[data]\n%s[model]\nblock_out_channels = [32]\n[train]\nsteps = 1\n"
	text := fmt.Sprintf(smallest, "")
	switch {
	case f.demo:
		text = fmt.Sprintf(smallest, "dataset = \""+p.Source.State.Data.Name+"\"\n")
	case p != nil && p.Source.State != nil:
		cfg, err := configs.Load(checkpoints.ConfigFile(p.Source.Dir), f.sets)
		if err == nil {
			return cfg.Data, nil
		}
		if len(f.sets) > 0 {
			return data.Config{}, err
		}
		return data.Config{}, nil
	case !named:
		return data.Config{}, usagef("nothing says what %s was trained on: name the dataset to compare with, as in --set data.dataset=mnist", p.Source.Dir)
	}
	cfg, err := configs.Parse([]byte(text), "--set", f.sets)
	if err != nil {
		return data.Config{}, err
	}
	return cfg.Data, nil
}

// network opens the classifier that --classifier names.
func (f evalFlags) network(c *cobra.Command, o *unstir.EvaluateOptions) error {
	if f.classifier == "" {
		return nil
	}
	if !isDir(f.classifier) {
		return usagef("--classifier %s: there is no such directory; it must be that of a classifier's run or checkpoint", f.classifier)
	}
	m, err := unstir.OpenClassifier(c.Context(), f.classifier)
	if err != nil {
		return err
	}
	if m.Schedule != nil {
		return usagef("--classifier %s: it reads noisy images; one that measures samples is trained with classifier.noisy = false", f.classifier)
	}
	o.Net, err = m.FeatureNet(c.Context())
	return err
}

// sampling settles how the model's samples are made.
func (f evalFlags) sampling(c *cobra.Command, o *unstir.EvaluateOptions, names []string) error {
	p := o.Pipeline
	options, err := f.options(c)
	if err != nil {
		return usage(err)
	}
	if len(names) == 0 {
		names = []string{p.DefaultSampler()}
		if err := f.checkNames(c, "the model's scheduler", names); err != nil {
			return err
		}
	}
	if err := p.CanSample(); err != nil {
		return err
	}
	if p, err = f.guidance.guide(c, p, options.Guidance); err != nil {
		return err
	}
	o.Pipeline = p
	if err := f.complete(c, p, &options); err != nil {
		return err
	}
	options = optionsFor(names[0], options)
	if _, err := p.NewSampler(options); err != nil {
		return usage(err)
	}
	printNotes(c, p, options)
	options.OnStep = o.Sample.OnStep
	o.Sample = options
	return nil
}

// readSamples reads the samples that are given, and their labels. The manifest is that of a directory that sample has
// written; nil for others.
func (f evalFlags) readSamples(c *cobra.Command, o *unstir.EvaluateOptions) (made *samples.Manifest, err error) {
	flag := "--samples " + f.samples
	switch {
	case isDir(f.samples):
		o.Samples, made, err = f.readPictures(c, o)
	case isArray(f.samples):
		var a npy.Array[float32]
		if a, err = npy.ReadFile[float32](f.samples); err == nil {
			err = a.CheckShape(-1, -1, -1, -1)
		}
		if err == nil && len(a.Data) == 0 {
			err = errors.New("the array has no images")
		}
		if err == nil {
			o.Samples = &unstir.Samples{N: a.Shape[0], C: a.Shape[1], H: a.Shape[2], W: a.Shape[3], Data: a.Data}
		}
	case !exists(f.samples):
		err = fs.ErrNotExist
	default:
		err = errors.New("it must be a .npy file [N, C, H, W], or a directory of pictures")
	}
	if c.Context().Err() != nil {
		return nil, c.Context().Err()
	}
	if err != nil {
		return nil, usagef("%s: %w", flag, withoutPath(err))
	}
	s := o.Samples
	if f.labels != "" {
		a, err := npy.ReadFile[int64](f.labels)
		if err == nil {
			err = a.CheckShape(s.N)
		}
		if err != nil {
			return nil, usagef("--labels %s: %w", f.labels, withoutPath(err))
		}
		o.Labels = make([]int, s.N)
		for i, l := range a.Data {
			o.Labels[i] = int(l)
		}
	}
	if c.Flags().Changed("n") {
		if f.n > s.N {
			return nil, usagef("--n %d: %s has %d samples", f.n, f.samples, s.N)
		}
		s.N, s.Data = f.n, s.Data[:f.n*s.C*s.H*s.W]
		o.Labels = o.Labels[:min(f.n, len(o.Labels))]
	}
	return made, nil
}

// readPictures reads a directory of samples, with the labels that its samples.json has.
func (f evalFlags) readPictures(c *cobra.Command, o *unstir.EvaluateOptions) (*unstir.Samples, *samples.Manifest, error) {
	channels := o.Data.Channels
	if o.Net != nil {
		channels = o.Net.Config().InChannels
	} else if o.Data.Dataset == data.MNIST || o.Data.Dataset == data.MNIST10K || o.Data.Dataset == data.FashionMNIST {
		channels = 1
	}
	open := data.Options{Log: o.Open.Log, Progress: o.Open.Progress}
	if isFile(filepath.Join(f.samples, samples.ManifestName)) {
		open.Log = nil // which would say that this file is no picture
	}
	d, err := data.Open(c.Context(), data.Config{Dataset: data.Folder, Dir: f.samples, Channels: channels}, open)
	if err != nil {
		return nil, nil, err
	}
	info := d.Info()
	dim := info.Channels * info.Height * info.Width
	s := &unstir.Samples{N: info.Count, C: info.Channels, H: info.Height, W: info.Width, Data: make([]float32, info.Count*dim)}
	pixels := make([]byte, dim)
	for i := range info.Count {
		d.Image(i, pixels)
		for j, v := range pixels {
			s.Data[i*dim+j] = data.Value(v)
		}
	}
	m, err := samples.ReadManifest(f.samples)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return s, nil, nil
	case err != nil:
		return nil, nil, err
	case m.N != s.N:
		return nil, nil, fmt.Errorf("it has %d pictures, and %s says that there are to be %d: let the same sample command finish it", s.N, samples.ManifestName, m.N)
	}
	o.Labels = repeated(m.Settings.Labels, s.N)
	return s, &m, nil
}

// evalFeatures compares features of the user's own network.
func (f evalFlags) evalFeatures(c *cobra.Command) error {
	var in metrics.Input
	for _, file := range []struct {
		flag, path string
		to         *metrics.Features
	}{{"features", f.features, &in.Samples}, {"reference-features", f.references, &in.References}, {"training-features", f.training, &in.Training}} {
		if file.path == "" {
			continue
		}
		a, err := npy.ReadFile[float64](file.path)
		if err == nil {
			err = a.CheckShape(-1, -1)
		}
		if err != nil {
			return usagef("--%s %s: %w", file.flag, file.path, withoutPath(err))
		}
		*file.to = metrics.Features{N: a.Shape[0], D: a.Shape[1], Data: a.Data}
	}
	r, err := metrics.Evaluate(c.Context(), in)
	switch {
	case c.Context().Err() != nil:
		return c.Context().Err()
	case err != nil: // about the files
		return usagef("%s", strings.TrimPrefix(err.Error(), "metrics: "))
	}
	return f.show(c, r)
}
