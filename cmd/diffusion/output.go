package main

import (
	"errors"
	"fmt"
	"image"
	"os"
	"path/filepath"
	"strings"
	"time"

	"unstir"
	"unstir/internal/images"
	"unstir/internal/npy"
)

// output collects what samplers make and writes it in the form that its path's extension asks for. A directory is
// filled by sampleDir.
type output struct {
	path  string
	kind  string // .png, .gif, .npy, or "" for a directory
	walks []*walk

	exact  bool               // a single image is a picture of its own size, and not a grid
	layout images.GridOptions // where classes that take turns stand
}

// newOutput checks the path before any work is done. An empty path is the first free one of NAME.png, NAME-2.png ...:
// samples are never overwritten unasked.
func newOutput(path, name string, compare bool) (*output, error) {
	if path == "" {
		path = name + ".png"
		for i := 2; exists(path); i++ {
			path = fmt.Sprintf("%s-%d.png", name, i)
		}
	}
	o := &output{path: path, kind: strings.ToLower(filepath.Ext(path))}
	if os.IsPathSeparator(path[len(path)-1]) || isDir(path) {
		o.kind = ""
	}
	switch o.kind {
	case ".png", ".gif", ".npy", "":
	default:
		return nil, fmt.Errorf("--out %s: the extension %s is none that can be written; it must be .png, .gif or .npy, or none for a directory", path, o.kind)
	}
	if compare && o.kind != ".png" && o.kind != ".gif" {
		return nil, fmt.Errorf("--out %s: samplers are compared in a .png or a .gif", path)
	}
	if o.kind == "" && !isDir(path) && exists(path) {
		return nil, fmt.Errorf("--out %s: it is a file; the names of files end in .png, .gif or .npy", path)
	}
	if o.kind == "" {
		return o, nil
	}
	return o, checkFile("--out", path)
}

// checkFile tells whether the file that a flag names can be written in its directory, before anything is computed for it.
func checkFile(flag, path string) error {
	dir := filepath.Dir(path)
	if !isDir(dir) {
		return fmt.Errorf("%s %s: there is no directory %s", flag, path, dir)
	}
	f, err := os.CreateTemp(dir, ".unstir-*")
	if err != nil {
		return fmt.Errorf("%s %s: nothing can be written there: %w", flag, path, withoutPath(err))
	}
	return errors.Join(f.Close(), os.Remove(f.Name()))
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}

func isDir(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.IsDir()
}

// gridPadding is the pixels between the images of a grid, before it is enlarged.
const gridPadding = 2

// maxFrames is the length of an animated walk: longer runs show every so many steps.
const maxFrames = 60

// walk is what one sampler does: its images and, for an animation, some of its steps.
type walk struct {
	name       string
	n, c, h, w int
	layout     images.GridOptions
	exact      bool
	keep       bool
	x, x0      [][]float64 // [frame][n C H W]
	images     *unstir.Samples
}

func (o *output) begin(name string, n, c, h, w int) *walk {
	k := &walk{name: name, n: n, c: c, h: h, w: w, layout: o.layout, exact: o.exact, keep: o.kind == ".gif"}
	o.walks = append(o.walks, k)
	return k
}

// step keeps the step where the animation shows it.
func (k *walk) step(s unstir.SampleStep) {
	if !k.keep {
		return
	}
	frames := min(maxFrames, s.Total)
	if k.x == nil {
		dim := k.n * k.c * k.h * k.w
		for range frames {
			k.x = append(k.x, make([]float64, dim))
			k.x0 = append(k.x0, make([]float64, dim))
		}
	}
	shown := s.Index * frames / s.Total // frames of the steps before
	if (s.Index+1)*frames/s.Total == shown {
		return // a later step makes this frame
	}
	frame := shown
	at := s.First * k.c * k.h * k.w
	copy(k.x[frame][at:], s.X)
	copy(k.x0[frame][at:], s.X0)
}

func (k *walk) finish(s *unstir.Samples) { k.images = s }

// write writes everything and returns where.
func (o *output) write(texts [][2]string) (string, error) {
	var list []images.Text
	for _, t := range texts {
		list = append(list, images.Text{Key: t[0], Value: t[1]})
	}
	var err error
	switch o.kind {
	case ".png":
		err = o.writePNG(list)
	case ".gif":
		err = o.writeGIF()
	case ".npy":
		s := o.walks[0].images
		err = npy.WriteFile(o.path, npy.Array[float32]{Shape: []int{s.N, s.C, s.H, s.W}, Data: s.Data})
	}
	if err != nil {
		return "", fmt.Errorf("--out %s: %w", o.path, err)
	}
	return o.path, nil
}

// scale enlarges small images so that a person sees them.
func (k *walk) scale() int { return max(1, 64/max(k.h, 1)) }

// arrange puts images into a grid.
func (k *walk) arrange(list []image.Image) (image.Image, error) {
	o := k.layout
	o.Padding, o.Scale = gridPadding, k.scale()
	return images.Grid(list, o)
}

func (k *walk) grid(x []float64) (image.Image, error) {
	list, err := images.FromNCHW(x, k.n, k.c, k.h, k.w)
	if err != nil {
		return nil, err
	}
	return k.arrange(list)
}

func (k *walk) final() (image.Image, error) {
	list, err := images.FromNCHW(k.images.Data, k.n, k.c, k.h, k.w)
	if err != nil {
		return nil, err
	}
	if k.exact && k.n == 1 {
		return list[0], nil
	}
	return k.arrange(list)
}

func (o *output) writePNG(texts []images.Text) error {
	var panels []images.Panel
	for _, k := range o.walks {
		grid, err := k.final()
		if err != nil {
			return err
		}
		panels = append(panels, images.Panel{Label: k.name, Image: grid})
	}
	if len(panels) == 1 {
		return images.WritePNG(o.path, panels[0].Image, texts)
	}
	sheet, err := images.Panels(panels, images.PanelOptions{Padding: 8, Background: 255})
	if err != nil {
		return err
	}
	return images.WritePNG(o.path, sheet, texts)
}

// writeGIF shows the walks side by side, each as x_t and as the guess of x_0 at the same share of its steps.
func (o *output) writeGIF() error {
	frames := 0
	for _, k := range o.walks {
		frames = max(frames, len(k.x))
	}
	var a images.Animation
	for f := range frames {
		var panels []images.Panel
		for _, k := range o.walks {
			at := (f+1)*len(k.x)/frames - 1
			at = max(at, 0)
			for _, part := range []struct {
				label string
				x     []float64
			}{{k.name + " x_t", k.x[at]}, {k.name + " x_0 guess", k.x0[at]}} {
				grid, err := k.grid(part.x)
				if err != nil {
					return err
				}
				panels = append(panels, images.Panel{Label: part.label, Image: grid})
			}
		}
		sheet, err := images.Panels(panels, images.PanelOptions{Padding: 8, Background: 255})
		if err != nil {
			return err
		}
		a.Frames = append(a.Frames, sheet)
	}
	a.Delay, a.Hold = 80*time.Millisecond, 2*time.Second
	return images.WriteGIF(o.path, a)
}
