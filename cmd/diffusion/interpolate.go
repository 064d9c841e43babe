package main

import (
	"errors"
	"fmt"
	"image"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"unstir"
	"unstir/diffusion"
	"unstir/internal/images"
	"unstir/internal/npy"
)

type interpolateFlags struct {
	modelFlags
	from, to, sampler, clip, spacing, pairing, label, size, out string
	frames, steps, batch, threads                               int
	guidance                                                    guidanceFlags
}

// walkers are the samplers that draw no noise: with one that does, each frame would go its own way.
var walkers = diffusion.Names(func(i diffusion.Info) bool { return !i.Noisy && !i.Inverts })

func newInterpolate() *cobra.Command {
	var f interpolateFlags
	c := &cobra.Command{
		Use:   "interpolate --from A --to B",
		Short: "Walk from one image to another",
		Long: `Sample images along the great arc between two x_T. An end is a seed (a whole number: the x_T that sample --n 1 --seed
begins with), a picture (encoded first, as encode does), or a .npy file: x_T [N, C, H, W] as encode and sample --noise
have it; FILE.npy:2 is image 2 of the file, counted from 0. The output's name says what is written: .png a strip, .gif
a walk, .npy the images [N, C, H, W] in [-1, 1].`,
		Example: `  diffusion interpolate --model runs/mnist --from 1 --to 2 --out strip.png
  diffusion interpolate --from seven.png --to three.png --frames 40 --out walk.gif`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return runInterpolate(c, f) },
	}
	p := c.Flags()
	f.addModelFlags(p)
	p.StringVar(&f.from, "from", "", "first `END`: a seed, a picture or a .npy file")
	p.StringVar(&f.to, "to", "", "last `END`")
	p.StringVar(&f.size, "size", "", "size of the images, `ROWSxCOLUMNS` or one number for both (default: that of a .npy file, else the model's sample_size)")
	p.IntVar(&f.frames, "frames", 10, "images, both ends included")
	p.StringVar(&f.sampler, "sampler", "ddim", "sampler: "+strings.Join(walkers, ", "))
	p.IntVar(&f.steps, "steps", 0, "sampling steps, and steps of the encoding of a picture (default 50, with --demo 25)")
	p.StringVar(&f.clip, "clip", "", "clipping of the guess of x_0: static, dynamic or none (default: none from a picture or a file, else the model's)")
	p.StringVar(&f.spacing, "spacing", "", "timesteps of a subset: leading, trailing, linspace or quad")
	p.StringVar(&f.pairing, "pairing", "", pairingUsage)
	p.StringVar(&f.label, "label", "", labelHelp+"; one, or those of the two ends: a frame is of the nearer end's")
	f.guidance.add(p)
	p.IntVar(&f.batch, "batch", 0, "images sampled together; changes speed and memory, not the images")
	p.StringVar(&f.out, "out", "strip.png", "`FILE` to write")
	p.IntVar(&f.threads, "threads", 0, "threads; 0: as many as the system allows")
	return c
}

func (f interpolateFlags) validate(c *cobra.Command) error {
	ext := strings.ToLower(filepath.Ext(f.out))
	switch {
	case f.from == "" || f.to == "":
		return usagef("--from and --to are needed: each a seed, a picture or a .npy file")
	case f.frames < 2:
		return usagef("--frames %d: it must be at least 2", f.frames)
	case c.Flags().Changed("steps") && f.steps < 1:
		return usagef("--steps %d: it must be at least 1", f.steps)
	case f.batch < 0:
		return usagef("--batch %d: it must be at least 1, or 0 to choose", f.batch)
	case !slices.Contains(walkers, f.sampler):
		return usagef("--sampler %s: it must be one that draws no noise: %s", f.sampler, strings.Join(walkers, ", "))
	case ext != ".png" && ext != ".gif" && ext != ".npy":
		return usagef("--out %s: the name must end in .png, .gif or .npy", f.out)
	}
	if _, err := parseSize(f.size); err != nil {
		return err
	}
	if err := checkFile("--out", f.out); err != nil {
		return usage(err)
	}
	return setThreads(f.threads)
}

// options are Sample's for the flags.
func (f interpolateFlags) options(c *cobra.Command) (o unstir.SampleOptions, err error) {
	o = unstir.SampleOptions{Sampler: f.sampler, Batch: f.batch}
	if o.Guidance, err = f.guidance.parse(c); err != nil {
		return o, err
	}
	if f.spacing != "" {
		if o.Settings.Spacing, err = diffusion.ParseSpacing(f.spacing); err != nil {
			return o, usagef("--%w", err)
		}
	}
	if f.pairing != "" {
		if o.Settings.Pairing, err = diffusion.ParsePairing(f.pairing); err != nil {
			return o, usagef("--%w", err)
		}
	}
	if f.clip != "" {
		if o.Settings.Clip, err = diffusion.ParseClip(f.clip); err != nil {
			return o, usagef("--%w", err)
		}
	}
	_, seed1 := isSeed(f.from)
	_, seed2 := isSeed(f.to)
	if f.clip == "" && (!seed1 || !seed2) {
		o.Settings.Clip = diffusion.ClipNone
	}
	return o, nil
}

func runInterpolate(c *cobra.Command, f interpolateFlags) error {
	if err := f.validate(c); err != nil {
		return err
	}
	o, err := f.options(c)
	if err != nil {
		return err
	}
	p, err := f.open(c)
	if err != nil {
		return err
	}
	if p, err = f.guidance.guide(c, p, o.Guidance); err != nil {
		return err
	}
	if p, err = f.forSize(p); err != nil {
		return err
	}
	if o.Steps, err = f.stepsFor(p, f.steps); err != nil {
		return err
	}
	if o.Labels, err = f.labels(c, p); err != nil {
		return err
	}
	printNotes(c, p, o)
	if f.sampler != "ddim" && (isPicture(f.from) || isPicture(f.to)) {
		encoding := diffusion.Options{Spacing: o.Settings.Spacing, Pairing: o.Settings.Pairing}
		printNotes(c, p, unstir.SampleOptions{Sampler: "ddim-inverse", Steps: o.Steps, Settings: encoding})
	}
	var ends [2][]float32
	for i, end := range []struct{ flag, value string }{{"--from", f.from}, {"--to", f.to}} {
		var labels []int
		if len(o.Labels) > 0 {
			labels = o.Labels[i : i+1]
		}
		if ends[i], err = f.end(c, p, o, labels, end.flag, end.value); err != nil {
			return err
		}
	}
	bar := newMeter(c.ErrOrStderr(), "interpolate", 0, 1000*f.frames)
	o.OnStep = func(st unstir.SampleStep) error {
		bar.set(1000*st.First+1000*st.N*(st.Index+1)/st.Total, fmt.Sprintf("t = %d", st.T))
		return nil
	}
	walk, err := p.Interpolate(c.Context(), ends[0], ends[1], f.frames, o)
	bar.done()
	if err != nil {
		if c.Context().Err() != nil {
			return errors.New("interrupted: nothing was written")
		}
		return err
	}
	if err := f.write(p, walk, o); err != nil {
		return fmt.Errorf("--out %s: %w", f.out, err)
	}
	_, err = fmt.Fprintln(c.OutOrStdout(), f.out)
	return err
}

// forSize is the pipeline for images of the size that is asked for: by --size, else by the first end that is an array.
func (f interpolateFlags) forSize(p *unstir.Pipeline) (*unstir.Pipeline, error) {
	if err := p.CanSample(); err != nil {
		return nil, err
	}
	for _, end := range []struct{ flag, value string }{{"--from", f.from}, {"--to", f.to}} {
		if path, _ := splitIndex(end.value); f.size == "" && isArray(path) {
			_, p, err := readSized(end.flag, path, p)
			return p, err
		}
	}
	size, err := parseSize(f.size)
	if err != nil {
		return nil, err
	}
	return sized(p, size)
}

func isSeed(value string) (uint64, bool) {
	seed, err := strconv.ParseUint(value, 10, 64)
	return seed, err == nil
}

// isPicture says whether an end is a picture, which is encoded.
func isPicture(end string) bool {
	if _, seed := isSeed(end); seed {
		return false
	}
	path, _ := splitIndex(end)
	return !strings.EqualFold(filepath.Ext(path), ".npy")
}

// labels are the classes of the two ends; nil for a model without classes.
func (f interpolateFlags) labels(c *cobra.Command, p *unstir.Pipeline) ([]int, error) {
	set, err := parseLabels(c, p, f.label)
	if len(set) > 2 {
		return nil, usagef("--label %s: these are %d classes; one is wanted, or those of the two ends", f.label, len(set))
	}
	return repeated(set, 2), err
}

// end is the x_T of one end of the walk, of the class in labels if there is one.
func (f interpolateFlags) end(c *cobra.Command, p *unstir.Pipeline, o unstir.SampleOptions, labels []int, flag, value string) ([]float32, error) {
	if seed, ok := isSeed(value); ok {
		return p.InitialNoise(seed, 0), nil
	}
	path, index := splitIndex(value)
	if isArray(path) {
		x, err := readImages(flag, path, p)
		if err != nil {
			return nil, err
		}
		n := x.Shape[0]
		switch {
		case index < 0 && n > 1:
			return nil, usagef("%s %s: the file has %d images; name one, such as %s:0", flag, value, n, path)
		case index >= n:
			return nil, usagef("%s %s: the file has %d images, counted from 0", flag, value, n)
		}
		index = max(0, index)
		dim := len(x.Data) / n
		return x.Data[index*dim : (index+1)*dim], nil
	}
	x, err := onePicture(c, flag, value, p)
	if err != nil {
		return nil, err
	}
	e, err := encodeImages(c, p, x, unstir.EncodeOptions{Steps: o.Steps, Batch: f.batch, Spacing: o.Settings.Spacing, Pairing: o.Settings.Pairing, Labels: labels, Guidance: o.Guidance})
	if err != nil {
		return nil, err
	}
	return e.Data, nil
}

// splitIndex takes FILE.npy:2 apart; the index is -1 where there is none.
func splitIndex(value string) (path string, index int) {
	if i := strings.LastIndex(value, ".npy:"); i >= 0 {
		if n, err := strconv.Atoi(value[i+5:]); err == nil && n >= 0 {
			return value[:i+4], n
		}
	}
	return value, -1
}

func onePicture(c *cobra.Command, flag, path string, p *unstir.Pipeline) (npy.Array[float32], error) {
	if isDir(path) {
		return npy.Array[float32]{}, usagef("%s %s: it is a directory; a seed, a picture or a .npy file is wanted", flag, path)
	}
	x, _, err := imagesFor(c, flag, path, "", p)
	return x, err
}

// write writes the walk in the form that the name asks for.
func (f interpolateFlags) write(p *unstir.Pipeline, s *unstir.Samples, o unstir.SampleOptions) error {
	if strings.EqualFold(filepath.Ext(f.out), ".npy") {
		return npy.WriteFile(f.out, npy.Array[float32]{Shape: []int{s.N, s.C, s.H, s.W}, Data: s.Data})
	}
	list, err := images.FromNCHW(s.Data, s.N, s.C, s.H, s.W)
	if err != nil {
		return err
	}
	scale := max(1, 64/max(s.H, 1))
	if strings.EqualFold(filepath.Ext(f.out), ".gif") {
		a := images.Animation{Delay: 80 * time.Millisecond, Hold: time.Second}
		for _, m := range list {
			a.Frames = append(a.Frames, images.Scale(m, max(scale, 128/max(s.H, 1))))
		}
		return images.WriteGIF(f.out, a)
	}
	var strip image.Image
	if strip, err = images.Grid(list, images.GridOptions{Cols: len(list), Padding: 2, Scale: scale}); err != nil {
		return err
	}
	texts := []images.Text{{Key: "Software", Value: "unstir " + version()}}
	for _, kv := range append([][2]string{
		{"model", filepath.ToSlash(p.Source.Dir)}, {"from", f.from}, {"to", f.to},
		{"sampler", f.sampler}, {"steps", strconv.Itoa(o.Steps)}, {"size", fmt.Sprintf("%dx%d", s.H, s.W)}, {"spacing", f.spacing}, {"pairing", f.pairing}, {"label", f.label},
	}, guidanceTexts(p, o.Guidance)...) {
		if kv[1] != "" {
			texts = append(texts, images.Text{Key: kv[0], Value: strings.ToValidUTF8(kv[1], "\uFFFD")})
		}
	}
	return images.WritePNG(f.out, strip, texts)
}
