// Command steering shows a model's image to image and inpainting on test images: pictures, and how well what is filled
// fits what is around it.
//
//	go run ./scripts/steering -out docs/images
//
// The pictures are of the first test images. The seam is measured over -n of them, for several masks: the mean absolute step
// from a pixel that is kept to one that is filled, beside the mean step from there to the next one inside, in the same
// direction. It exits with 1 where their ratio is above -limit.
package main

import (
	"context"
	"flag"
	"fmt"
	"image"
	"log"
	"math"
	"os"
	"os/signal"
	"path/filepath"
	"slices"

	"unstir"
	"unstir/data"
	"unstir/diffusion"
	"unstir/internal/images"
)

func main() {
	log.SetFlags(0)
	model := flag.String("model", "", "run, checkpoint or pipeline (default: the demo)")
	dataset := flag.String("dataset", data.MNIST, "whose test images are taken")
	dir := flag.String("data-dir", "", "where the dataset is (default: the user's cache)")
	out := flag.String("out", "", "directory of the pictures (default: none are drawn)")
	only := flag.String("mask", "", "measure the seam of this mask alone")
	n := flag.Int("n", 100, "test images that the seam is measured over; 0: none")
	sampler := flag.String("sampler", "ddim", "sampler")
	steps := flag.Int("steps", 0, "sampling steps (default: the sampler's)")
	limit := flag.Float64("limit", 1.2, "largest ratio of the steps at the seam and inside")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	s, err := open(ctx, *model, *dataset, *dir)
	if err != nil {
		log.Fatal(err)
	}
	s.sampler, s.steps = *sampler, *steps
	if *out != "" {
		if err := s.drawStrength(filepath.Join(*out, "strength.png")); err != nil {
			log.Fatal(err)
		}
		if err := s.drawInpainting(filepath.Join(*out, "inpainting.png")); err != nil {
			log.Fatal(err)
		}
	}
	worst, err := s.seams(*n, *only)
	if err != nil {
		log.Fatal(err)
	}
	if worst > *limit {
		log.Fatalf("the seam is %.3f times the step inside, more than %.2f", worst, *limit)
	}
}

// show is a model, and the test images to show it on.
type show struct {
	ctx     context.Context
	p       *unstir.Pipeline
	test    data.Dataset
	sampler string
	steps   int
	c, h, w int
}

func open(ctx context.Context, model, dataset, dir string) (*show, error) {
	p, err := unstir.Demo()
	if model != "" {
		p, err = unstir.Open(ctx, model)
	}
	if err != nil {
		return nil, err
	}
	test, err := data.Open(ctx, data.Config{Dataset: dataset}, data.Options{Dir: dir, Split: data.Test, Log: os.Stderr})
	if err != nil {
		return nil, err
	}
	s := &show{ctx: ctx, p: p, test: test}
	s.c, s.h, s.w = p.Shape()
	if i := test.Info(); i.Channels != s.c || i.Height != s.h || i.Width != s.w {
		return nil, fmt.Errorf("the images of %s have the size %dx%dx%d, the model's %dx%dx%d", dataset, i.Channels, i.Height, i.Width, s.c, s.h, s.w)
	}
	return s, nil
}

// images are the first n test images and, for a class-conditional model, their classes.
func (s *show) images(n int) (x []float32, labels []int) {
	pixels := make([]byte, s.c*s.h*s.w)
	for i := range n {
		s.test.Image(i, pixels)
		for _, v := range pixels {
			x = append(x, float32(float64(v)/127.5-1))
		}
		if s.p.NumClasses() > 0 {
			labels = append(labels, s.test.Label(i))
		}
	}
	return x, labels
}

// options are those of a call for n images, of these classes; what names it in the progress.
func (s *show) options(what string, n int, labels []int) unstir.SampleOptions {
	return unstir.SampleOptions{
		N: n, Sampler: s.sampler, Steps: s.steps, Labels: labels,
		OnStep: func(st unstir.SampleStep) error {
			fmt.Fprintf(os.Stderr, "\r%s: image %d of %d, step %d of %d   ", what, st.First+st.N, n, st.Index+1, st.Total)
			if st.First+st.N == n && st.Index+1 == st.Total {
				fmt.Fprintln(os.Stderr)
			}
			return nil
		},
	}
}

// mask is a hole by its name.
type mask struct {
	name string
	fill func(y, x int) bool
}

func (s *show) masks() []mask {
	return []mask{
		{"square", func(y, x int) bool { return inner(y, s.h) && inner(x, s.w) }},
		{"lower half", func(y, x int) bool { return y >= s.h/2 }},
		{"right half", func(y, x int) bool { return x >= s.w/2 }},
		{"bands", func(y, x int) bool { return y/4%2 == 1 }},
	}
}

// inner is the middle half of n.
func inner(i, n int) bool { return i >= n/4 && i < n-n/4 }

func (s *show) pixels(m mask) []bool {
	fill := make([]bool, s.h*s.w)
	for i := range fill {
		fill[i] = m.fill(i/s.w, i%s.w)
	}
	return fill
}

// drawInpainting draws a row for each of the first test images, a mask each in turn: the image, the hole in it in middle
// gray, and five fillings.
func (s *show) drawInpainting(file string) error {
	const rows, fillings = 8, 5
	x, labels := s.images(rows)
	dim := s.c * s.h * s.w
	var cells []image.Image
	for i := range rows {
		given := x[i*dim : (i+1)*dim]
		fill := s.pixels(s.masks()[i%len(s.masks())])
		hole := slices.Clone(given)
		for j := range hole {
			if fill[j%(s.h*s.w)] {
				hole[j] = 0
			}
		}
		var of []int
		if labels != nil {
			of = slices.Repeat(labels[i:i+1], fillings)
		}
		o := s.options(fmt.Sprintf("row %d", i+1), fillings, of)
		o.Inpaint = &unstir.Inpaint{Images: given, Mask: fill}
		filled, err := s.p.Sample(s.ctx, o)
		if err != nil {
			return err
		}
		row, err := s.cells(slices.Concat(given, hole, filled.Data))
		if err != nil {
			return err
		}
		cells = append(cells, row...)
	}
	return write(file, cells, 2+fillings)
}

// drawStrength draws two rows for each of the first test images, of strengths from 0 to 1: as its own class, and as the one
// after it; for a model without classes one row.
func (s *show) drawStrength(file string) error {
	const rows, columns = 3, 11
	x, labels := s.images(rows)
	dim := s.c * s.h * s.w
	var cells []image.Image
	for i := range rows {
		classes := [][]int{nil}
		if k := s.p.NumClasses(); k > 0 {
			classes = [][]int{{labels[i]}, {(labels[i] + 1) % k}}
		}
		for _, class := range classes {
			var strip []float32
			for k := range columns {
				o := s.options(fmt.Sprintf("row %d", len(cells)/columns+1), 1, class)
				o.Edit = &unstir.Edit{Images: x[i*dim : (i+1)*dim], Strength: float64(k) / (columns - 1)}
				made, err := s.p.Sample(s.ctx, o)
				if err != nil {
					return err
				}
				strip = append(strip, made.Data...)
			}
			row, err := s.cells(strip)
			if err != nil {
				return err
			}
			cells = append(cells, row...)
		}
	}
	return write(file, cells, columns)
}

// cells are images as pictures.
func (s *show) cells(x []float32) ([]image.Image, error) {
	return images.FromNCHW(x, len(x)/(s.c*s.h*s.w), s.c, s.h, s.w)
}

func write(file string, cells []image.Image, columns int) error {
	m, err := images.Grid(cells, images.GridOptions{Cols: columns, Padding: 2, Background: 128, Scale: 2})
	if err != nil {
		return err
	}
	return images.WritePNG(file, m, nil)
}

// seams fills n test images for each mask, or only the one of a name, prints the steps at the seam and inside beside those of
// the test images themselves, and returns the largest ratio.
func (s *show) seams(n int, only string) (worst float64, err error) {
	if n < 1 {
		return 0, nil
	}
	masks := s.masks()
	if only != "" {
		masks = slices.DeleteFunc(masks, func(m mask) bool { return m.name != only })
		if len(masks) == 0 {
			return 0, fmt.Errorf("there is no mask %q", only)
		}
	}
	x, labels := s.images(n)
	fmt.Println("| mask | each stretch is run | at the seam | one pixel inside | ratio | ratio of the test images |")
	fmt.Println("|---|---|---|---|---|---|")
	for _, m := range masks {
		fill := s.pixels(m)
		realSeam, realInside := s.edge(x, fill)
		for _, resample := range []int{1, diffusion.DefaultResample} {
			o := s.options(m.name, n, labels)
			o.Inpaint = &unstir.Inpaint{Images: x, Mask: fill, Resample: resample}
			filled, err := s.p.Sample(s.ctx, o)
			if err != nil {
				return 0, err
			}
			seam, inside := s.edge(filled.Data, fill)
			fmt.Printf("| %s | %d | %.4f | %.4f | %.3f | %.3f |\n", m.name, resample, seam, inside, seam/inside, realSeam/realInside)
			if resample > 1 {
				worst = max(worst, seam/inside)
			}
		}
	}
	return worst, nil
}

// edge are the mean absolute differences of neighbours of which the first is kept and the second filled, and of the second
// and the next in the same direction, where that is filled, too.
func (s *show) edge(x []float32, fill []bool) (seam, inside float64) {
	plane, count := s.h*s.w, 0
	at := func(y, x int) int {
		if y < 0 || x < 0 || y >= s.h || x >= s.w {
			return -1
		}
		return y*s.w + x
	}
	for image := range len(x) / plane {
		v := x[image*plane : (image+1)*plane]
		for i := range plane {
			if fill[i] {
				continue
			}
			for _, d := range [][2]int{{0, 1}, {1, 0}, {0, -1}, {-1, 0}} {
				first, second := at(i/s.w+d[0], i%s.w+d[1]), at(i/s.w+2*d[0], i%s.w+2*d[1])
				if first < 0 || second < 0 || !fill[first] || !fill[second] {
					continue
				}
				seam += math.Abs(float64(v[i]) - float64(v[first]))
				inside += math.Abs(float64(v[first]) - float64(v[second]))
				count++
			}
		}
	}
	return seam / float64(count), inside / float64(count)
}
