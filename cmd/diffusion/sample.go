package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"unstir"
	"unstir/diffusion"
	"unstir/internal/images"
)

type sampleFlags struct {
	modelFlags
	sampler, compare, eta, variance, clip, spacing, pairing, noise, out, label, size string
	rederive                                                                         bool
	steps, n, batch, threads                                                         int
	seed, stepSeed                                                                   uint64

	init     initFlags // of sample alone
	fill     fillFlags // of inpaint alone
	guidance guidanceFlags

	classes []int // that take turns: complete sets them
}

func newSample() *cobra.Command {
	var f sampleFlags
	c := &cobra.Command{
		Use:   "sample",
		Short: "Sample images from a model",
		Long: `Sample images from a training run, a checkpoint, a diffusers pipeline or, with --demo, the model that is part of the
program, of MNIST's digits. Settings that are not given come from the model's scheduler_config.json, with diffusers'
meaning. Image i depends on the seed and i only.
The output's name says what is written: .png a grid, .gif the walk from noise to image (x_t and the guess of x_0),
.npy the samples [N, C, H, W] in [-1, 1], and anything else a directory of PNG files, one an image. A directory's
images are written as they are made, beside samples.json: the same command goes on with one that was cut short, and
with a larger --n it adds the missing images.`,
		Example: `  diffusion sample --demo
  diffusion sample --demo --label 7 --n 16 --out sevens.png
  diffusion sample --ema --sampler ddim
  diffusion sample --model runs/mnist --sampler ddpm --clip none --variance beta --n 16 --out plain.png
  diffusion sample --sampler ddim --steps 50 --n 16 --out walk.gif
  diffusion sample --compare ddpm,ddim --n 4 --out walks.gif
  diffusion sample --demo --init digit.png --strength 0.8 --label 8
  diffusion sample --model runs/mnist --sampler ddim --n 50000 --out many`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return runSample(c, f) },
	}
	p := c.Flags()
	f.addFlags(p)
	p.StringVar(&f.compare, "compare", "", "several `SAMPLERS`, such as ddpm,ddim, side by side from one x_T")
	p.IntVar(&f.n, "n", 64, "number of images; a grid of every class has whole rows by default: 60 for 10 classes, 40 with --demo")
	p.StringVar(&f.size, "size", "", sizeUsage)
	f.init.add(p)
	p.StringVar(&f.noise, "noise", "", "read x_T [N, C, H, W] from a .npy `FILE`")
	p.StringVar(&f.label, "label", "", labelHelp+"; repeated over the images (default all, but none with --noise and --init)")
	p.StringVar(&f.out, "out", "", "`FILE` or directory to write (default samples.png, or the next free of samples-2.png, samples-3.png ...)")
	return c
}

// addFlags adds the flags of every command that samples: the model, and how its images are made.
func (f *sampleFlags) addFlags(p *pflag.FlagSet) {
	f.addModelFlags(p)
	p.StringVar(&f.sampler, "sampler", "", "`NAME` of the sampler: "+namesOf(nil)+" (default: the model's scheduler's; ddpm for models trained here, ddim with --demo)")
	p.IntVar(&f.steps, "steps", 0, "sampling `STEPS` (default: all for ddpm, 50 for the others, and 25 with --demo)")
	p.StringVar(&f.eta, "eta", "", namesOf(takesEta)+": the steps' noise, a `NUMBER` from 0 (none, the default; 1 with --demo) to 1 (as ddpm), or hat")
	p.StringVar(&f.variance, "variance", "", namesOf(takesVariance)+": the noise's variance, posterior, beta, or a `NUMBER` from 0 (posterior) to 1 (beta)")
	p.StringVar(&f.clip, "clip", "", "what is done to each guess of x_0, a `KIND` of static, dynamic or none (default: as the model says)")
	p.BoolVar(&f.rederive, "rederive-eps", false, namesOf(takesEta)+": take eps from the clipped x_0 (default with a --guidance above 1)")
	p.StringVar(&f.spacing, "spacing", "", "how fewer than all steps are spread, a `KIND` of leading, trailing, linspace or quad (default: as the model says)")
	p.StringVar(&f.pairing, "pairing", "", pairingUsage)
	f.guidance.add(p)
	p.IntVar(&f.batch, "batch", 0, "images sampled together (default 16, with --guidance 8); changes speed and memory, not the images")
	p.Uint64Var(&f.seed, "seed", 0, "seed of the noise (default 0)")
	p.Uint64Var(&f.stepSeed, "step-seed", 0, "seed of the steps' noise alone: one x_T leads to many images")
	p.IntVar(&f.threads, "threads", 0, "threads; 0: as many as the system allows")
}

func runSample(c *cobra.Command, f sampleFlags) error {
	ctx := c.Context()
	f.demoDefaults(c, demoImages)
	if err := setThreads(f.threads); err != nil {
		return err
	}
	names, err := f.check(c)
	if err != nil {
		return err
	}
	options, err := f.options(c)
	if err != nil {
		return usage(err)
	}
	name := "samples"
	if f.fill.on {
		name = "inpainted"
	}
	out, err := newOutput(f.out, name, len(names) > 1)
	if err != nil {
		return usage(err)
	}
	out.exact = f.fill.on
	p, err := f.open(c)
	if err != nil {
		return err
	}
	if len(names) == 0 {
		names = []string{p.DefaultSampler()}
		if err := f.checkNames(c, "the model's scheduler", names); err != nil {
			return err
		}
	}
	if p, err = f.guidance.guide(c, p, options.Guidance); err != nil {
		return err
	}
	if p, err = f.forSize(c, p, &options); err != nil {
		return err
	}
	if err := f.complete(c, p, &options); err != nil {
		return err
	}
	if f.wholeRows(c, out) {
		options.N -= options.N % len(f.classes)
		options.Labels = options.Labels[:options.N]
	}
	if out.layout.Classes = period(options.Labels); f.demo { // a wide picture of few images of each class
		out.layout = images.GridOptions{Period: out.layout.Classes}
	}
	if err := out.checkChannels(p); err != nil {
		return err
	}
	var frames []int // of an animation
	for _, name := range names {
		s, err := p.NewSampler(optionsFor(name, options))
		if err != nil {
			return samplerUsage(err)
		}
		if out.kind == ".gif" && len(s.Timesteps()) == 0 {
			return usagef("--out %s: --strength %s leaves no step to show", out.path, f.init.strength)
		}
		frames = append(frames, min(maxFrames, len(s.Timesteps())))
		printNotes(c, p, optionsFor(name, options))
	}
	if out.kind == "" {
		return f.sampleDir(c, p, optionsFor(names[0], options), out.path)
	}
	if err := out.fit(p, options.N, frames); err != nil {
		return err
	}
	for _, name := range names {
		if err := sampleOne(ctx, p, optionsFor(name, options), out, c.ErrOrStderr()); err != nil {
			return err
		}
	}
	path, err := out.write(f.provenance(p, names, options))
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(c.OutOrStdout(), path)
	return err
}

// pairingUsage describes --pairing.
const pairingUsage = "where each step ends, a `KIND`: stride (default), as in diffusers, or next, at the next timestep of the list, which draws clean images in any number of steps"

// printNotes says on stderr what the images will show of the steps that were asked for.
func printNotes(c *cobra.Command, p *unstir.Pipeline, o unstir.SampleOptions) {
	for _, n := range p.Notes(o) {
		fmt.Fprintf(c.ErrOrStderr(), "note: %s\n", n.Text("--pairing next"))
	}
}

// takers are the flags that only some samplers have a use for.
var takers = []struct {
	flag string
	has  func(diffusion.Info) bool
}{{"eta", takesEta}, {"rederive-eps", takesEta}, {"variance", takesVariance}}

func takesEta(i diffusion.Info) bool      { return i.Eta }
func takesVariance(i diffusion.Info) bool { return i.Variance }

// namesOf lists the samplers that have a property, for people.
func namesOf(has func(diffusion.Info) bool) string { return strings.Join(diffusion.Names(has), ", ") }

// check finds what is wrong with the flags by themselves, and lists the samplers to run: none where the model says
// which.
func (f sampleFlags) check(c *cobra.Command) (names []string, err error) {
	given := c.Flags().Changed
	flag := "--sampler"
	if f.sampler != "" || given("sampler") {
		names = []string{f.sampler}
	}
	if f.compare != "" {
		flag = "--compare"
		names = strings.Split(f.compare, ",")
		for i, name := range names {
			names[i] = strings.TrimSpace(name)
		}
	}
	switch {
	case f.n < 1:
		return nil, usagef("--n %d: it must be at least 1", f.n)
	case f.batch < 0:
		return nil, usagef("--batch %d: it must be at least 1, or 0 to choose", f.batch)
	case given("steps") && f.steps < 1:
		return nil, usagef("--steps %d: it must be at least 1", f.steps)
	case f.compare != "" && given("sampler"):
		return nil, usagef("--compare names the samplers: leave --sampler out")
	case f.noise != "" && given("n"):
		return nil, usagef("--noise says how many images there are: leave --n out")
	case f.noise != "" && given("size"):
		return nil, usagef("--noise says how large the images are: leave --size out")
	}
	if err := f.init.check(c, f.size); err != nil {
		return nil, err
	}
	if err := f.fill.check(c, f.size); err != nil {
		return nil, err
	}
	if _, err := parseSize(f.size); err != nil || len(names) == 0 {
		return nil, err
	}
	return names, f.checkNames(c, flag, names)
}

// checkNames checks the samplers that a flag names, and that the other flags have a meaning for one of them.
func (f sampleFlags) checkNames(c *cobra.Command, flag string, names []string) error {
	for _, name := range names {
		info, ok := diffusion.Find(name)
		if !ok {
			return usagef("%s: there is no sampler %q; the samplers are %s", flag, name, namesOf(nil))
		}
		if info.Inverts && f.noise == "" && !f.fill.on {
			return usagef("%s: %s turns images into noise; --noise must name a .npy file of images in [-1, 1]", flag, name)
		}
	}
	for _, t := range takers {
		takes := func(name string) bool { return slices.Contains(diffusion.Names(t.has), name) }
		if c.Flags().Changed(t.flag) && !slices.ContainsFunc(names, takes) {
			return usagef("--%s has no meaning for %s; the sampler that takes it is %s", t.flag, strings.Join(names, " and "), namesOf(t.has))
		}
	}
	return nil
}

// options are what the flags say; what they leave open follows the scheduler's configuration.
func (f sampleFlags) options(c *cobra.Command) (o unstir.SampleOptions, err error) {
	o = unstir.SampleOptions{N: f.n, Steps: f.steps, Seed: f.seed, Batch: f.batch}
	if o.Guidance, err = f.guidance.parse(c); err != nil {
		return o, err
	}
	s := &o.Settings
	s.RederiveEps = f.rederive
	if o.Guidance != nil {
		o.Guidance.KeepEps = c.Flags().Changed("rederive-eps") && !f.rederive
	}
	if c.Flags().Changed("step-seed") {
		o.StepSeed = &f.stepSeed
	}
	var errs [5]error // each begins with the name of what is wrong, which is the flag's
	if f.eta != "" {
		s.Eta, s.SigmaHat, errs[0] = diffusion.ParseEta(f.eta)
	}
	if f.variance != "" {
		s.Variance, errs[1] = diffusion.ParseVariance(f.variance)
	}
	if f.clip != "" {
		s.Clip, errs[2] = diffusion.ParseClip(f.clip)
	}
	if f.spacing != "" {
		s.Spacing, errs[3] = diffusion.ParseSpacing(f.spacing)
	}
	if f.pairing != "" {
		s.Pairing, errs[4] = diffusion.ParsePairing(f.pairing)
	}
	for _, err := range errs {
		if err != nil {
			return o, fmt.Errorf("--%w", err)
		}
	}
	return o, nil
}

// optionsFor leaves out what a sampler has no use for: samplers that are compared share the flags.
func optionsFor(sampler string, o unstir.SampleOptions) unstir.SampleOptions {
	o.Sampler = sampler
	info, _ := diffusion.Find(sampler)
	if !info.Eta {
		o.Settings.Eta, o.Settings.SigmaHat, o.Settings.RederiveEps = 0, false, false
	}
	if !info.Variance {
		o.Settings.Variance = diffusion.Variance{}
	}
	return o
}

// forSize is the pipeline for images of the size that is asked for, that of the x_T or the images in a file where one is named.
func (f sampleFlags) forSize(c *cobra.Command, p *unstir.Pipeline, o *unstir.SampleOptions) (*unstir.Pipeline, error) {
	if err := p.CanSample(); err != nil {
		return nil, err
	}
	switch {
	case f.fill.on:
		return f.fill.apply(c, p, f.size, o)
	case f.init.given() && f.noise == "":
		return f.init.apply(c, p, f.size, o)
	case f.noise == "":
		size, err := parseSize(f.size)
		if err != nil {
			return nil, err
		}
		return sized(p, size)
	}
	x, p, err := readSized("--noise", f.noise, p)
	if err != nil {
		return nil, err
	}
	o.XT, o.N = x.Data, x.Shape[0]
	if f.init.given() {
		return f.init.apply(c, p, "", o)
	}
	return p, nil
}

// complete adds what depends on the model: labels. Where none are given all classes take turns, unless
// x_T is from a file, as it may be the encoding of an image, or images are given: their class is needed.
func (f *sampleFlags) complete(c *cobra.Command, p *unstir.Pipeline, o *unstir.SampleOptions) (err error) {
	if T := p.Schedule.T; f.steps > T {
		return usagef("--steps %d: it must be at most %d, the number of timesteps that the model was trained on", f.steps, T)
	}
	if f.classes, err = f.chooseClasses(c, p); err != nil {
		return err
	}
	o.Labels = repeated(f.classes, o.N)
	return nil
}

// chooseClasses are the classes that take turns; nil for a model without classes.
func (f *sampleFlags) chooseClasses(c *cobra.Command, p *unstir.Pipeline) ([]int, error) {
	if p.NumClasses() == 0 || c.Flags().Changed("label") || f.noise != "" || f.init.given() || f.fill.on {
		return parseLabels(c, p, f.label)
	}
	f.label = "all"
	return p.Labels(), nil
}

// wholeRows tells whether the images are a grid of every class, whose number is left to the program: then each row is filled.
func (f sampleFlags) wholeRows(c *cobra.Command, out *output) bool {
	given := c.Flags().Changed
	free := !given("n") && !given("label") && f.noise == "" && !f.init.given() && !f.fill.on
	return free && (out.kind == ".png" || out.kind == ".gif") && len(f.classes) > 1 && len(f.classes) <= f.n
}

// period is after how many labels they repeat themselves.
func period(labels []int) int {
	for n := 1; n < len(labels); n++ {
		if slices.Equal(labels[n:], labels[:len(labels)-n]) {
			return n
		}
	}
	return len(labels)
}

// sampleOne runs one sampler and hands its walk and its images to the output.
func sampleOne(ctx context.Context, p *unstir.Pipeline, o unstir.SampleOptions, out *output, stderr io.Writer) error {
	bar := newMeter(stderr, o.Sampler, 0, sampleParts*o.N)
	ch, h, w := p.Shape()
	walk := out.begin(o.Sampler, o.N, ch, h, w)
	o.OnStep = func(st unstir.SampleStep) error {
		bar.sampled(st, o.N)
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

// sampleParts are the parts of a bar for each image that is sampled.
const sampleParts = 1000

// sampled shows a step of sampling n images.
func (m *meter) sampled(st unstir.SampleStep, n int) {
	images := "1 image"
	if n > 1 {
		images = fmt.Sprintf("images %d to %d of %d", st.First+1, st.First+st.N, n)
	}
	m.set(sampleParts*st.First+sampleParts*st.N*(st.Index+1)/st.Total, fmt.Sprintf("%s, t = %d", images, st.T))
}
