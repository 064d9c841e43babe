package main

import (
	"errors"
	"math"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"unstir"
	"unstir/diffusion"
	"unstir/internal/npy"
)

// initFlags are those of image to image.
type initFlags struct {
	path, strength string
}

// defaultStrength is that of diffusers' img2img pipelines.
const defaultStrength = "0.8"

func (f *initFlags) add(p *pflag.FlagSet) {
	p.StringVar(&f.path, "init", "", "begin with images in place of noise: a picture, a directory of pictures or a .npy `FILE` of images [N, C, H, W] in [-1, 1], which take turns (--n: as many as there are)")
	p.StringVar(&f.strength, "strength", defaultStrength, "with --init, the share of the steps that is run, a `NUMBER` from 0 (the images as they are) to 1 (all steps)")
}

func (f initFlags) given() bool { return f.path != "" }

// check finds what is wrong with the flags by themselves.
func (f initFlags) check(c *cobra.Command, size string) error {
	changed := c.Flags().Changed
	switch _, err := f.number(); {
	case changed("init") && f.path == "":
		return usagef("--init is empty: name a picture, a directory of pictures or a .npy file")
	case !f.given() && changed("strength"):
		return usagef("--strength has no meaning without --init, the images to begin with")
	case f.given() && err != nil:
		return err
	case f.given() && size != "" && isArray(f.path):
		return usagef("--init %s says how large the images are: leave --size out", f.path)
	}
	return nil
}

// number is --strength as a number.
func (f initFlags) number() (float64, error) {
	v, err := strconv.ParseFloat(f.strength, 64)
	if err != nil || !(v >= 0 && v <= 1) || math.Signbit(v) {
		return 0, usagef("--strength %q: it must be a number from 0 (the images as they are) to 1 (all steps)", f.strength)
	}
	return v, nil
}

// apply reads the images, and returns the pipeline for images of their size.
func (f initFlags) apply(c *cobra.Command, p *unstir.Pipeline, size string, o *unstir.SampleOptions) (*unstir.Pipeline, error) {
	strength, err := f.number()
	if err != nil {
		return nil, err
	}
	x, p, err := givenImages(c, "--init", f.path, size, p, o)
	if err != nil {
		return nil, err
	}
	o.Edit = &unstir.Edit{Images: x.Data, Strength: strength}
	if !c.Flags().Changed("n") && o.XT == nil {
		o.N = x.Shape[0]
	}
	return p, checkGiven(p, o, map[string]string{"Edit.Images": "--init " + f.path})
}

// givenImages reads images as encode does, of the size that the x_T from a file has, where there is one.
func givenImages(c *cobra.Command, flag, path, size string, p *unstir.Pipeline, o *unstir.SampleOptions) (npy.Array[float32], *unstir.Pipeline, error) {
	if o.XT != nil && isArray(path) {
		x, err := readImages(flag, path, p)
		return x, p, err
	}
	return imagesFor(c, flag, path, size, p)
}

// checkGiven is what the library says of images that are given, in the words of a command line: flags have the flag and its
// value for each option.
func checkGiven(p *unstir.Pipeline, o *unstir.SampleOptions, flags map[string]string) error {
	err := p.CheckEdit(*o)
	var wrong *unstir.EditError
	if errors.As(err, &wrong) {
		return usagef("%s: %s", flags[wrong.Option], wrong.Reason)
	}
	return err
}

// samplerUsage is what the library says of a sampler's options, in the words of a command line.
func samplerUsage(err error) error {
	var undefined *diffusion.UndefinedError
	var jump *diffusion.JumpLengthError
	switch {
	case errors.As(err, &undefined):
		return usagef("--sampler: %w", undefined)
	case errors.As(err, &jump):
		return usagef("--jump-%s", strings.TrimPrefix(jump.Error(), "jump "))
	}
	return usage(err)
}
