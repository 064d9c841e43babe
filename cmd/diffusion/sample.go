package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"unstir"
	"unstir/checkpoints"
	"unstir/diffusion"
	"unstir/internal/npy"
)

type sampleFlags struct {
	model, sampler, compare, eta, variance, clip, spacing, noise, out, label string
	ema, rederive                                                            bool
	steps, n, batch, threads                                                 int
	seed, stepSeed                                                           uint64
}

func newSample() *cobra.Command {
	var f sampleFlags
	c := &cobra.Command{
		Use:   "sample",
		Short: "Sample images from a model",
		Long: `Sample images from a training run, a checkpoint or a diffusers pipeline. Settings that are not given come from the
model's scheduler_config.json, with diffusers' meaning. Image i depends on the seed and i only.
The output's name says what is written: .png a grid, .gif the walk from noise to image (x_t and the guess of x_0),
.npy the samples [N, C, H, W] in [-1, 1], and anything else a directory of PNG files.`,
		Example: `  diffusion sample --ema --sampler ddim
  diffusion sample --model runs/mnist --sampler ddpm --clip none --variance beta --n 16 --out plain.png
  diffusion sample --sampler ddim --steps 50 --n 16 --out walk.gif
  diffusion sample --compare ddpm,ddim --n 4 --out walks.gif`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return runSample(c, f) },
	}
	p := c.Flags()
	p.StringVar(&f.model, "model", "", "run, checkpoint or pipeline `DIR`ectory (default: the newest run in runs/)")
	p.BoolVar(&f.ema, "ema", true, "use the moving average of the weights; --ema=false: the weights as trained")
	p.StringVar(&f.sampler, "sampler", "ddpm", "sampler: "+strings.Join(diffusion.Names(), ", "))
	p.StringVar(&f.compare, "compare", "", "several `SAMPLERS`, such as ddpm,ddim, side by side from one x_T")
	p.IntVar(&f.steps, "steps", 0, "sampling steps (default: all for ddpm, 50 for the others)")
	p.StringVar(&f.eta, "eta", "", "ddim: noise from 0 (none, the default) to 1 (as ddpm), or hat")
	p.StringVar(&f.variance, "variance", "", "ddpm: posterior, beta, or a number from 0 (posterior) to 1 (beta)")
	p.StringVar(&f.clip, "clip", "", "clipping of the guess of x_0: static, dynamic or none")
	p.BoolVar(&f.rederive, "rederive-eps", false, "ddim: take eps from the clipped x_0")
	p.StringVar(&f.spacing, "spacing", "", "timesteps of a subset: leading, trailing, linspace or quad")
	p.IntVar(&f.n, "n", 64, "images")
	p.IntVar(&f.batch, "batch", 0, "images sampled together; changes speed and memory, not the images")
	p.Uint64Var(&f.seed, "seed", 0, "seed of the noise")
	p.Uint64Var(&f.stepSeed, "step-seed", 0, "seed of the steps' noise alone: one x_T leads to many images")
	p.StringVar(&f.noise, "noise", "", "read x_T [N, C, H, W] from a .npy `FILE`")
	p.StringVar(&f.label, "label", "", "classes for a class-conditional model, such as 3 or 0,1,2; repeated over the images")
	p.StringVar(&f.out, "out", "", "`FILE` or directory to write (default samples.png, or the next free name)")
	p.IntVar(&f.threads, "threads", 0, "threads; 0: as many as the system allows")
	return c
}

func runSample(c *cobra.Command, f sampleFlags) error {
	ctx := c.Context()
	if err := setThreads(f.threads); err != nil {
		return err
	}
	if err := f.check(c); err != nil {
		return err
	}
	options, err := f.options(c)
	if err != nil {
		return usage(err)
	}
	p, err := openModel(ctx, f.model, f.ema)
	if err != nil {
		return err
	}
	if err := f.complete(c, p, &options); err != nil {
		return err
	}
	samplers := []string{f.sampler}
	if f.compare != "" {
		samplers = strings.Split(f.compare, ",")
	}
	out, err := newOutput(f.out, len(samplers) > 1)
	if err != nil {
		return usage(err)
	}
	for _, name := range samplers {
		o := options
		o.Sampler = name
		if _, err := p.NewSampler(o); err != nil {
			return usage(err)
		}
	}
	for _, name := range samplers {
		if err := sampleOne(ctx, p, name, options, out); err != nil {
			return err
		}
	}
	path, err := out.write(f.provenance(p, samplers, options))
	if err != nil {
		return err
	}
	fmt.Println(path)
	return nil
}

// check finds what is wrong with the flags by themselves.
func (f sampleFlags) check(c *cobra.Command) error {
	switch {
	case f.n < 1:
		return usagef("--n %d: it must be at least 1", f.n)
	case f.batch < 0:
		return usagef("--batch %d: it must be at least 1, or 0 to choose", f.batch)
	case c.Flags().Changed("steps") && f.steps < 1:
		return usagef("--steps %d: it must be at least 1", f.steps)
	case f.compare != "" && c.Flags().Changed("sampler"):
		return usagef("--compare names the samplers: leave --sampler out")
	case f.noise != "" && c.Flags().Changed("n"):
		return usagef("--noise says how many images there are: leave --n out")
	}
	return nil
}

// options are what the flags say; what they leave open follows the scheduler's configuration.
func (f sampleFlags) options(c *cobra.Command) (unstir.SampleOptions, error) {
	o := unstir.SampleOptions{N: f.n, Steps: f.steps, Seed: f.seed, Batch: f.batch}
	o.Settings.RederiveEps = f.rederive
	if c.Flags().Changed("step-seed") {
		o.StepSeed = &f.stepSeed
	}
	var err error
	if f.eta != "" {
		if o.Settings.Eta, o.Settings.SigmaHat, err = diffusion.ParseEta(f.eta); err != nil {
			return o, fmt.Errorf("--eta: %w", err)
		}
	}
	if f.variance != "" {
		if o.Settings.Variance, err = diffusion.ParseVariance(f.variance); err != nil {
			return o, fmt.Errorf("--variance: %w", err)
		}
	}
	if f.clip != "" {
		if o.Settings.Clip, err = diffusion.ParseClip(f.clip); err != nil {
			return o, fmt.Errorf("--clip: %w", err)
		}
	}
	if f.spacing != "" {
		if o.Settings.Spacing, err = diffusion.ParseSpacing(f.spacing); err != nil {
			return o, fmt.Errorf("--spacing: %w", err)
		}
	}
	return o, nil
}

// complete adds what depends on the model: x_T from a file, and labels.
func (f sampleFlags) complete(c *cobra.Command, p *unstir.Pipeline, o *unstir.SampleOptions) error {
	if f.noise != "" {
		ch, h, w := p.Shape()
		a, err := npy.ReadFile[float32](f.noise)
		if err == nil {
			err = a.CheckShape(-1, ch, h, w)
		}
		if err != nil {
			return fmt.Errorf("--noise %s: %w", f.noise, err)
		}
		o.XT, o.N = a.Data, a.Shape[0]
	}
	labels, err := labelsFor(p, f.label, o.N)
	o.Labels = labels
	return err
}

// labelsFor repeats a list of classes over n images; nil for a model without classes.
func labelsFor(p *unstir.Pipeline, list string, n int) ([]int, error) {
	classes := p.Model().Config.NumClassEmbeds
	switch {
	case classes == 0 && list == "":
		return nil, nil
	case classes == 0:
		return nil, usagef("--label: the model is not class-conditional")
	case list == "":
		return nil, usagef("--label is missing: the model is class-conditional, with classes 0 to %d", classes-1)
	}
	var set []int
	for _, s := range strings.Split(list, ",") {
		l, err := strconv.Atoi(strings.TrimSpace(s))
		if err != nil || l < 0 || l >= classes {
			return nil, usagef("--label %q: the classes are 0 to %d", s, classes-1)
		}
		set = append(set, l)
	}
	labels := make([]int, n)
	for i := range labels {
		labels[i] = set[i%len(set)]
	}
	return labels, nil
}

// runsDir is where runs go unless --out says otherwise.
const runsDir = "runs"

// openModel opens the model named, or the newest run's.
func openModel(ctx context.Context, path string, ema bool) (*unstir.Pipeline, error) {
	if path == "" {
		run, err := checkpoints.NewestRun(runsDir)
		if err != nil {
			return nil, fmt.Errorf("no --model is given, and the newest run cannot be taken: %w", err)
		}
		path = run
	}
	var options []unstir.OpenOption
	if !ema {
		options = append(options, unstir.WithRawWeights())
	}
	p, err := unstir.Open(ctx, path, options...)
	if err != nil {
		return nil, err
	}
	for _, s := range p.Source.Skipped {
		fmt.Fprintf(os.Stderr, "skipped a damaged checkpoint: %v\n", s.Err)
	}
	fmt.Fprintf(os.Stderr, "model %s\n", p.Source.Dir)
	return p, nil
}

// sampleOne runs one sampler and hands its walk and its images to the output.
func sampleOne(ctx context.Context, p *unstir.Pipeline, name string, o unstir.SampleOptions, out *output) error {
	o.Sampler = name
	const parts = 1000 // of the bar
	bar := newMeter(name, 0, parts)
	done := 0.0 // images, counting those half-way by their steps
	ch, h, w := p.Shape()
	walk := out.begin(name, o.N, ch, h, w)
	o.OnStep = func(st unstir.SampleStep) error {
		done += float64(st.N) / float64(st.Total)
		bar.set(int(parts*done/float64(o.N)+0.5), fmt.Sprintf("%d images, t = %d", o.N, st.T))
		walk.step(st)
		return nil
	}
	samples, err := p.Sample(ctx, o)
	bar.done()
	if err != nil {
		if ctx.Err() != nil {
			return errors.New("interrupted: nothing was written")
		}
		return err
	}
	walk.finish(samples)
	return nil
}

// provenance is written into PNG files: what made them.
func (f sampleFlags) provenance(p *unstir.Pipeline, samplers []string, o unstir.SampleOptions) [][2]string {
	weights := "ema"
	switch {
	case p.Source.State == nil:
		weights = "as stored"
	case p.Source.Raw:
		weights = "raw"
	}
	kv := [][2]string{
		{"Software", "unstir " + version()},
		{"model", filepath.ToSlash(p.Source.Dir)},
		{"weights", weights},
		{"sampler", strings.Join(samplers, ",")},
	}
	for _, s := range samplers {
		steps := o.Steps
		if steps == 0 {
			steps = unstir.DefaultSteps(s, p.Schedule)
		}
		kv = append(kv, [2]string{"steps " + s, strconv.Itoa(steps)})
	}
	if st := p.Source.State; st != nil {
		kv = append(kv, [2]string{"training step", strconv.Itoa(st.Step)}, [2]string{"data", st.Data.Name})
	}
	if f.noise != "" {
		kv = append(kv, [2]string{"x_T", filepath.Base(f.noise)})
	}
	kv = append(kv, [2]string{"seed", strconv.FormatUint(f.seed, 10)})
	if o.StepSeed != nil {
		kv = append(kv, [2]string{"step seed", strconv.FormatUint(*o.StepSeed, 10)})
	}
	for _, s := range [][2]string{{"eta", f.eta}, {"variance", f.variance}, {"clip", f.clip}, {"spacing", f.spacing}, {"label", f.label}} {
		if s[1] != "" {
			kv = append(kv, s)
		}
	}
	if f.rederive {
		kv = append(kv, [2]string{"rederive eps", "true"})
	}
	return kv
}
