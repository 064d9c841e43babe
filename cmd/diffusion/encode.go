package main

import (
	"context"
	"errors"
	"fmt"
	"image"
	"io"
	"math"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"unstir"
	"unstir/data"
	"unstir/diffusion"
	"unstir/internal/npy"
)

type encodeFlags struct {
	modelFlags
	images, spacing, pairing, label, size, out string
	check                                      bool
	steps, refine, batch, threads              int
	guidance                                   guidanceFlags
}

func newEncode() *cobra.Command {
	var f encodeFlags
	c := &cobra.Command{
		Use:   "encode --images FILE.png|DIR|FILE.npy --out FILE.npy",
		Short: "Turn images into the noise that DDIM makes them from",
		Long: `Turn images into the x_T [N, C, H, W] from which DDIM makes them again, by running it backwards (DDIM inversion).
A picture, or the pictures of a directory in the order of their names, are cropped and resized to the model's images;
a .npy file holds images [N, C, H, W] in [-1, 1] of any size that the model takes. The images come back from
  diffusion sample --noise FILE.npy --sampler ddim --steps S --clip none
with the same number of steps, --spacing, --pairing and --guidance, and with the same --label where the model has classes: a step that clips cannot be run
backwards.`,
		Example: `  diffusion encode --model runs/mnist --images seven.png --out seven.npy --check
  diffusion sample --model runs/mnist --noise seven.npy --sampler ddim --steps 50 --clip none --out again.png`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return runEncode(c, f) },
	}
	p := c.Flags()
	f.addModelFlags(p)
	p.StringVar(&f.images, "images", "", "a picture, a directory of pictures or a .npy `FILE`")
	p.StringVar(&f.size, "size", "", sizeUsage)
	p.IntVar(&f.steps, "steps", 0, "steps of the inversion, and of the DDIM run that decodes (default 50, with --demo 25)")
	p.IntVar(&f.refine, "refine", unstir.DefaultRefine, "rounds that correct each step, for a more faithful encoding; 0: the plain inversion")
	p.StringVar(&f.spacing, "spacing", "", "timesteps of a subset: leading, trailing, linspace or quad")
	p.StringVar(&f.pairing, "pairing", "", pairingUsage)
	p.StringVar(&f.label, "label", "", labelHelp+"; repeated over the images")
	f.guidance.add(p)
	p.IntVar(&f.batch, "batch", 0, "images encoded together; changes speed and memory, not the encodings")
	p.StringVar(&f.out, "out", "", "the encodings: a .npy `FILE`")
	p.BoolVar(&f.check, "check", false, "also decode, and say how far the images are from what they were")
	p.IntVar(&f.threads, "threads", 0, "threads; 0: as many as the system allows")
	return c
}

func (f encodeFlags) validate(c *cobra.Command) error {
	switch {
	case f.images == "":
		return usagef("--images is missing: a picture, a directory of pictures or a .npy file")
	case f.out == "":
		return usagef("--out is missing: a .npy file to write")
	case !strings.EqualFold(filepath.Ext(f.out), ".npy"):
		return usagef("--out %s: the name must end in .npy", f.out)
	case c.Flags().Changed("steps") && f.steps < 1:
		return usagef("--steps %d: it must be at least 1", f.steps)
	case f.refine < 0:
		return usagef("--refine %d: it must be at least 1, or 0 for the plain inversion", f.refine)
	case f.batch < 0:
		return usagef("--batch %d: it must be at least 1, or 0 to choose", f.batch)
	case f.size != "" && isArray(f.images):
		return usagef("--images %s says how large the images are: leave --size out", f.images)
	}
	if _, err := parseSize(f.size); err != nil {
		return err
	}
	if err := checkFile("--out", f.out); err != nil {
		return usage(err)
	}
	return setThreads(f.threads)
}

func runEncode(c *cobra.Command, f encodeFlags) error {
	if err := f.validate(c); err != nil {
		return err
	}
	o := unstir.EncodeOptions{Refine: f.refine, Batch: f.batch}
	if f.refine == 0 {
		o.Refine = -1
	}
	var err error
	if o.Guidance, err = f.guidance.parse(c); err != nil {
		return err
	}
	if f.spacing != "" {
		if o.Spacing, err = diffusion.ParseSpacing(f.spacing); err != nil {
			return usagef("--%w", err)
		}
	}
	if f.pairing != "" {
		if o.Pairing, err = diffusion.ParsePairing(f.pairing); err != nil {
			return usagef("--%w", err)
		}
	}
	p, err := f.open(c)
	if err != nil {
		return err
	}
	if p, err = f.guidance.guide(c, p, o.Guidance); err != nil {
		return err
	}
	if o.Steps, err = f.stepsFor(p, f.steps); err != nil {
		return err
	}
	if err := p.CanSample(); err != nil {
		return err
	}
	x, p, err := imagesFor(c, "--images", f.images, f.size, p)
	if err != nil {
		return err
	}
	if o.Labels, err = labelsFor(c, p, f.label, x.Shape[0]); err != nil {
		return err
	}
	printNotes(c, p, unstir.SampleOptions{
		Sampler: "ddim-inverse", Steps: o.Steps, Settings: diffusion.Options{Spacing: o.Spacing, Pairing: o.Pairing},
	})
	encoded, err := encodeImages(c, p, x, o)
	if err != nil {
		return err
	}
	if err := npy.WriteFile(f.out, npy.Array[float32]{Shape: x.Shape, Data: encoded.Data}); err != nil {
		return fmt.Errorf("--out %s: %w", f.out, err)
	}
	if f.check {
		if err := checkEncoding(c, p, x, encoded, o); err != nil {
			return err
		}
	}
	_, err = fmt.Fprintln(c.OutOrStdout(), f.out)
	return err
}

// stepsFor is the number of DDIM steps that a flag asks for; 0: as many as sample takes when none is given.
func (f modelFlags) stepsFor(p *unstir.Pipeline, steps int) (int, error) {
	switch {
	case steps > p.Schedule.T:
		return 0, usagef("--steps %d: it must be at most %d, the number of timesteps that the model was trained on", steps, p.Schedule.T)
	case steps == 0 && f.demo:
		return demoSteps, nil
	case steps == 0:
		return p.Schedule.DefaultSteps("ddim"), nil
	}
	return steps, nil
}

// encodeImages is Pipeline.Encode with a bar.
func encodeImages(c *cobra.Command, p *unstir.Pipeline, x npy.Array[float32], o unstir.EncodeOptions) (*unstir.Samples, error) {
	const parts = 1000 // of the bar, for each image
	bar := newMeter(c.ErrOrStderr(), "encode", 0, parts*x.Shape[0])
	o.OnStep = func(st unstir.SampleStep) error {
		bar.set(parts*st.First+parts*st.N*(st.Index+1)/st.Total, fmt.Sprintf("t = %d", st.T))
		return nil
	}
	encoded, err := p.Encode(c.Context(), x.Data, o)
	bar.done()
	if err != nil && c.Context().Err() != nil {
		return nil, errors.New("interrupted: nothing was written")
	}
	return encoded, err
}

// checkEncoding decodes and compares.
func checkEncoding(c *cobra.Command, p *unstir.Pipeline, x npy.Array[float32], encoded *unstir.Samples, o unstir.EncodeOptions) error {
	back, err := p.Sample(c.Context(), unstir.SampleOptions{
		N: encoded.N, Sampler: "ddim", Steps: o.Steps, XT: encoded.Data, Labels: o.Labels, Batch: o.Batch, Guidance: o.Guidance,
		Settings: diffusion.Options{Clip: diffusion.ClipNone, Spacing: o.Spacing, Pairing: o.Pairing},
	})
	if err != nil {
		return err
	}
	var sum, largest float64
	for i, v := range x.Data {
		d := math.Abs(float64(back.Data[i]) - float64(v))
		sum += d * d
		largest = math.Max(largest, d)
	}
	_, err = fmt.Fprintf(c.ErrOrStderr(), "decoded, the images differ by %.4f (root mean square) and %.4f at most, in a range of 2\n",
		math.Sqrt(sum/float64(len(x.Data))), largest)
	return err
}

// isArray recognises a .npy file by its name.
func isArray(path string) bool { return strings.EqualFold(filepath.Ext(path), ".npy") && !isDir(path) }

// imagesFor reads what a flag names as images [N, C, H, W] in [-1, 1], and returns the pipeline for images of their
// size: an array has one, and pictures are cropped and resized to size, or the model's own where that is empty.
func imagesFor(c *cobra.Command, flag, path, size string, p *unstir.Pipeline) (npy.Array[float32], *unstir.Pipeline, error) {
	if isArray(path) {
		return readSized(flag, path, p)
	}
	want, err := parseSize(size)
	if err == nil {
		p, err = sized(p, want)
	}
	if err != nil {
		return npy.Array[float32]{}, nil, err
	}
	ch, h, w := p.Shape()
	set, err := pictures(c.Context(), path, ch, data.Size{H: h, W: w}, c.ErrOrStderr())
	if err != nil {
		return npy.Array[float32]{}, nil, fmt.Errorf("%s %s: %w", flag, path, withoutPath(err))
	}
	n, dim := set.Info().Count, ch*h*w
	x := npy.Array[float32]{Shape: []int{n, ch, h, w}, Data: make([]float32, n*dim)}
	pixels := make([]byte, dim)
	for i := range n {
		set.Image(i, pixels)
		fromBytes(x.Data[i*dim:], pixels)
	}
	return x, p, nil
}

// fromBytes writes pixels to x as training sees them, in [-1, 1].
func fromBytes(x []float32, pixels []byte) {
	for j, v := range pixels {
		x[j] = float32(float64(v)/127.5 - 1)
	}
}

// pictureError is the error of a picture without its path, which the message has already.
func pictureError(err error) error {
	var wrong *data.FileError
	if errors.As(err, &wrong) {
		return fmt.Errorf("expected %s, found %s", wrong.Want, wrong.Got)
	}
	return withoutPath(err)
}

// pictures are those of a directory, or the one of a file, cropped and resized. What is left out is noted in log.
func pictures(ctx context.Context, path string, channels int, size data.Size, log io.Writer) (data.Dataset, error) {
	if isDir(path) {
		return data.Open(ctx, data.Config{Dataset: data.Folder, Dir: path, Size: size, Channels: channels}, data.Options{Offline: true, Log: log})
	}
	m, err := data.ReadPicture(path)
	if err != nil {
		return nil, pictureError(err)
	}
	return data.FromImages(filepath.Base(path), []image.Image{m}, nil, size, channels)
}
