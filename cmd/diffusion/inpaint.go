package main

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"image"
	"path/filepath"
	"strconv"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"unstir"
	"unstir/data"
	"unstir/diffusion"
	"unstir/internal/npy"
)

// fillFlags are those of inpainting.
type fillFlags struct {
	on             bool // the command is inpaint
	image, mask    string
	jump, resample int
}

func newInpaint() *cobra.Command {
	f := sampleFlags{fill: fillFlags{on: true}}
	c := &cobra.Command{
		Use:   "inpaint --image FILE --mask FILE",
		Short: "Fill a hole in an image",
		Long: `Fill a hole in an image with what the model holds likely beside the rest of it (RePaint): white pixels of the mask, of 128 and
above, are filled, and black ones are kept, to the byte. The image is a picture of the size of the model's images, or a
.npy file of images [N, C, H, W] in [-1, 1]; the mask is a picture of the same size. For the filling to agree with what is
around it the run goes back to the noise again and again: every --jump-length steps, --resample times in all, so that it calls
the model about --resample times as often as sample does with as many steps.
The output's name says what is written, as for sample; of a single filling a .png file is a picture of the image's size.`,
		Example: `  diffusion inpaint --demo --image digit.png --mask hole.png --label 7 --out filled.png
  diffusion inpaint --model runs/mnist --image digit.png --mask hole.png --sampler ddim --steps 50 --n 5 --out five.png`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return runSample(c, f) },
	}
	p := c.Flags()
	f.addFlags(p)
	can := namesOf(diffusion.CanRePaint)
	p.Lookup("sampler").Usage = "`NAME` of the sampler: " + can + " (default: the model's scheduler's; ddpm for models trained here, ddim with --demo)"
	p.Lookup("steps").Usage = "sampling `STEPS` (default: 250 for ddpm, 50 for the others, and 25 with --demo)"
	f.fill.add(p)
	p.IntVar(&f.n, "n", 1, "number of fillings; several images take turns (default: one of each)")
	p.StringVar(&f.size, "size", "", sizeUsage)
	p.StringVar(&f.label, "label", "", labelHelp+"; repeated over the fillings")
	p.StringVar(&f.out, "out", "", "`FILE` or directory to write (default inpainted.png, or the next free of inpainted-2.png, inpainted-3.png ...)")
	return c
}

func (f *fillFlags) add(p *pflag.FlagSet) {
	p.StringVar(&f.image, "image", "", "picture or .npy `FILE` with the hole")
	p.StringVar(&f.mask, "mask", "", "picture `FILE` that is white where the image is filled and black where it is kept")
	p.IntVar(&f.jump, "jump-length", diffusion.DefaultJumpLength, "`STEPS` that the run goes back at once, fewer than --steps; reduced to fit them where it is not given")
	p.IntVar(&f.resample, "resample", diffusion.DefaultResample, "`TIMES` that each such stretch is run; 1: once, without going back")
}

// check finds what is wrong with the flags by themselves.
func (f fillFlags) check(c *cobra.Command, size string) error {
	switch {
	case !f.on:
		return nil
	case f.image == "":
		return usagef("--image is missing: a picture, or a .npy file of images")
	case f.mask == "":
		return usagef("--mask is missing: a picture that is white where the image is to be filled")
	case isDir(f.image):
		return usagef("--image %s: it is a directory; it must be a picture or a .npy file", f.image)
	case isDir(f.mask) || isArray(f.mask):
		return usagef("--mask %s: it must be a picture", f.mask)
	case size != "" && isArray(f.image):
		return usagef("--image %s says how large the images are: leave --size out", f.image)
	case c.Flags().Changed("jump-length") && f.jump < 1:
		return usagef("--jump-length %d: it must be at least 1", f.jump)
	case f.resample < 1 || f.resample > diffusion.MaxResample:
		return usagef("--resample %d: it must be from 1 to %d", f.resample, diffusion.MaxResample)
	}
	return nil
}

// apply reads the images and the mask, and returns the pipeline for images of their size.
func (f fillFlags) apply(c *cobra.Command, p *unstir.Pipeline, size string, o *unstir.SampleOptions) (*unstir.Pipeline, error) {
	x, p, err := f.readImages(c, p, size)
	if err != nil {
		return nil, err
	}
	_, h, w := p.Shape()
	fill := &unstir.Inpaint{Images: x.Data, Resample: f.resample}
	if c.Flags().Changed("jump-length") {
		fill.JumpLength = f.jump
	}
	if fill.Mask, err = f.readMask(h, w); err != nil {
		return nil, err
	}
	if o.Inpaint = fill; !c.Flags().Changed("n") {
		o.N = x.Shape[0]
	}
	return p, checkGiven(p, o, map[string]string{"Inpaint.Images": "--image " + f.image, "Inpaint.Mask": "--mask " + f.mask})
}

// readImages reads the images as they are: neither cropped nor resized, since what is kept is kept to the byte.
func (f fillFlags) readImages(c *cobra.Command, p *unstir.Pipeline, size string) (x npy.Array[float32], _ *unstir.Pipeline, err error) {
	if isArray(f.image) {
		return readSized("--image", f.image, p)
	}
	m, err := readPicture("--image", f.image)
	if err != nil {
		return x, nil, err
	}
	if p.Model().Config.SampleSize.H == 0 && size == "" { // the model has no size of its own
		size = fmt.Sprintf("%dx%d", m.Bounds().Dy(), m.Bounds().Dx())
	}
	want, err := parseSize(size)
	if err == nil {
		p, err = sized(p, want)
	}
	if err != nil {
		return x, nil, err
	}
	ch, h, w := p.Shape()
	if b := m.Bounds(); b.Dy() != h || b.Dx() != w {
		return x, nil, usagef("--image %s: it has %dx%d pixels, the model's images have %dx%d: crop and resize it together with its mask, or take images of its size with --size %dx%d",
			f.image, b.Dy(), b.Dx(), h, w, b.Dy(), b.Dx())
	}
	if ch == 1 && coloured(m) {
		fmt.Fprintf(c.ErrOrStderr(), "note: --image %s has colours, and the model's images are gray: it is filled and kept in gray\n", f.image)
	}
	pixels, err := pixelsOf(m, ch)
	if err != nil {
		return x, nil, fmt.Errorf("--image %s: %w", f.image, err)
	}
	x = npy.Array[float32]{Shape: []int{1, ch, h, w}, Data: make([]float32, len(pixels))}
	fromBytes(x.Data, pixels)
	return x, p, nil
}

// readMask reads the mask of an image of h x w: true where it is filled.
func (f fillFlags) readMask(h, w int) ([]bool, error) {
	m, err := readPicture("--mask", f.mask)
	if err != nil {
		return nil, err
	}
	if b := m.Bounds(); b.Dy() != h || b.Dx() != w {
		return nil, usagef("--mask %s: it has %dx%d pixels, the image has %dx%d", f.mask, b.Dy(), b.Dx(), h, w)
	}
	pixels, err := pixelsOf(m, 1)
	if err != nil {
		return nil, fmt.Errorf("--mask %s: %w", f.mask, err)
	}
	fill, any := make([]bool, len(pixels)), false
	for i, v := range pixels {
		fill[i] = v >= 128
		any = any || fill[i]
	}
	if !any {
		return nil, usagef("--mask %s: it is black everywhere, so that there is nothing to fill: white pixels, of 128 and above, are filled", f.mask)
	}
	return fill, nil
}

// readPicture reads the picture that a flag names.
func readPicture(flag, path string) (image.Image, error) {
	m, err := data.ReadPicture(path)
	if err != nil {
		return nil, fmt.Errorf("%s %s: %w", flag, path, pictureError(err))
	}
	return m, nil
}

// pixelsOf are the bytes of a picture [channels, H, W].
func pixelsOf(m image.Image, channels int) ([]byte, error) {
	set, err := data.FromImages("picture", []image.Image{m}, nil, data.Size{}, channels)
	if err != nil {
		return nil, err
	}
	info := set.Info()
	pixels := make([]byte, info.Channels*info.Height*info.Width)
	set.Image(0, pixels)
	return pixels, nil
}

// coloured tells whether a pixel of a picture is not gray.
func coloured(m image.Image) bool {
	b := m.Bounds()
	for y := b.Min.Y; y < b.Max.Y; y++ {
		for x := b.Min.X; x < b.Max.X; x++ {
			if r, g, b, _ := m.At(x, y).RGBA(); r != g || g != b {
				return true
			}
		}
	}
	return false
}

// texts are the settings as a PNG file has them.
func (f fillFlags) texts(s diffusion.Sampler) [][2]string {
	texts := [][2]string{{"image", filepath.Base(f.image)}, {"mask", filepath.Base(f.mask)}}
	if r, ok := s.(*diffusion.RePaint); ok {
		length, resample := r.Jumps()
		texts = append(texts, [2]string{"jump length", strconv.Itoa(length)}, [2]string{"resample", strconv.Itoa(resample)})
	}
	return texts
}

// hashOfMask is the SHA-256 of a mask, a byte of 0 or 1 for each pixel.
func hashOfMask(mask []bool) string {
	pixels := make([]byte, len(mask))
	for i, fill := range mask {
		if fill {
			pixels[i] = 1
		}
	}
	sum := sha256.Sum256(pixels)
	return hex.EncodeToString(sum[:])
}
