package main

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"unstir"
	"unstir/internal/npy"
	"unstir/unet"
)

// sizeUsage is the help of --size.
const sizeUsage = "size of the images, `ROWSxCOLUMNS` or one number for both (default: the model's sample_size)"

// parseSize reads --size, ROWSxCOLUMNS or one number for both; the zero Size where it is not given.
func parseSize(s string) (unet.Size, error) {
	if s == "" {
		return unet.Size{}, nil
	}
	rows, columns, two := strings.Cut(strings.ToLower(s), "x")
	if !two {
		columns = rows
	}
	h, err1 := strconv.Atoi(rows)
	w, err2 := strconv.Atoi(columns)
	if err1 != nil || err2 != nil || h < 1 || w < 1 {
		return unet.Size{}, usagef("--size %q: it must be ROWSxCOLUMNS, such as 20x12, or one number for both", s)
	}
	return unet.Size{H: h, W: w}, nil
}

// sized is the pipeline for images of the size that --size asks for; where it is not given, of the model's own.
func sized(p *unstir.Pipeline, size unet.Size) (*unstir.Pipeline, error) {
	own := p.Model().Config.SampleSize
	_, h, _ := p.Shape()
	switch {
	case size != (unet.Size{}):
		q, err := p.ForSize(size.H, size.W)
		if err != nil {
			return nil, usagef("--size %dx%d: %w", size.H, size.W, withoutPackage(err))
		}
		return q, nil
	case h > 0:
		return p, nil
	case own == unet.Size{}:
		return nil, usagef("the model's sample_size is null: --size ROWSxCOLUMNS must say how large the images are")
	}
	_, err := p.ForSize(own.H, own.W)
	return nil, usagef("the model's sample_size cannot be taken, --size ROWSxCOLUMNS must name another: %w", withoutPackage(err))
}

// withoutPackage is an error of the library without the packages' names before it.
func withoutPackage(err error) error {
	if err == nil {
		return nil
	}
	return errors.New(strings.TrimPrefix(strings.TrimPrefix(err.Error(), "unstir: "), "unet: "))
}

// readImages reads the images [N, C, H, W] that a flag names, N >= 1, of the pipeline's shape.
func readImages(flag, path string, p *unstir.Pipeline) (npy.Array[float32], error) {
	_, h, w := p.Shape()
	a, _, err := readImageArray(flag, path, p, h, w)
	return a, err
}

// readSized reads the images [N, C, H, W] that a flag names, N >= 1, of any size that the model takes, and returns the
// pipeline for images of that size.
func readSized(flag, path string, p *unstir.Pipeline) (npy.Array[float32], *unstir.Pipeline, error) {
	return readImageArray(flag, path, p, -1, -1)
}

// readImageArray reads images of h rows and w columns; -1 is any.
func readImageArray(flag, path string, p *unstir.Pipeline, h, w int) (npy.Array[float32], *unstir.Pipeline, error) {
	ch, _, _ := p.Shape()
	a, err := npy.ReadFile[float32](path)
	if err == nil {
		err = a.CheckShape(-1, ch, h, w)
	}
	if err == nil && a.Shape[0] == 0 {
		err = errors.New("the array has no images")
	}
	if err == nil {
		var q *unstir.Pipeline
		if q, err = p.ForSize(a.Shape[2], a.Shape[3]); err == nil {
			p = q
		} else {
			err = withoutPackage(err)
		}
	}
	if i := slices.IndexFunc(a.Data, func(v float32) bool { return v-v != 0 }); err == nil && i >= 0 {
		err = fmt.Errorf("image %d has a value %v", i/(len(a.Data)/a.Shape[0]), a.Data[i])
	}
	if err != nil {
		return a, nil, fmt.Errorf("%s %s: %w", flag, path, withoutPath(err))
	}
	return a, p, nil
}
