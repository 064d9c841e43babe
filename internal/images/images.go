// Package images turns samples into pictures: 8-bit images, grids, labelled
// panels, PNG files that say how they were made, and animated GIFs.
//
// Images are *image.Gray where everything in them is gray and *image.RGBA,
// opaque, otherwise.
package images

import (
	"errors"
	"fmt"
	"image"
	"image/color"
	"image/draw"
	"math"

	xdraw "golang.org/x/image/draw"
)

// ToBytes converts samples in [-1, 1] to 8 bits as diffusers' pipelines do, in
// float32: clamp(x/2 + 0.5, 0, 1) * 255, rounded half to even. A NaN becomes 0.
// dst has the length of x.
func ToBytes[F float32 | float64](dst []byte, x []F) {
	for i, v := range x {
		y := float32(float32(v)/2) + 0.5
		dst[i] = uint8(math.RoundToEven(float64(min(max(y, 0), 1) * 255)))
		if y != y {
			dst[i] = 0
		}
	}
}

// FromNCHW converts n samples of c channels (1: gray, 3: RGB) and h x w pixels
// in [-1, 1], laid out [n, c, h, w], to images.
func FromNCHW[F float32 | float64](x []F, n, c, h, w int) ([]image.Image, error) {
	if c != 1 && c != 3 {
		return nil, fmt.Errorf("%d channels make no image, only 1 (gray) and 3 (RGB) do", c)
	}
	if n < 0 || h < 1 || w < 1 || len(x) != n*c*h*w {
		return nil, fmt.Errorf("%d values are not %d images of %d x %d x %d", len(x), n, c, h, w)
	}
	list := make([]image.Image, n)
	planes := make([]byte, c*h*w)
	for i := range list {
		ToBytes(planes, x[i*len(planes):(i+1)*len(planes)])
		list[i] = fromPlanes(planes, c, h, w)
	}
	return list, nil
}

func fromPlanes(planes []byte, c, h, w int) image.Image {
	r := image.Rect(0, 0, w, h)
	if c == 1 {
		m := image.NewGray(r)
		copy(m.Pix, planes)
		return m
	}
	m := image.NewRGBA(r)
	for i := range h * w {
		m.Pix[4*i], m.Pix[4*i+1], m.Pix[4*i+2], m.Pix[4*i+3] = planes[i], planes[h*w+i], planes[2*h*w+i], 255
	}
	return m
}

// GridOptions lay out a Grid.
type GridOptions struct {
	Cols       int   // images in a row; 0: as many as make the grid about square
	Period     int   // where Cols is 0 and the grid stays about square: images so far apart stand below each other
	Classes    int   // likewise: image i is of class i mod Classes, and a row has images of one class only
	Padding    int   // pixels between the images and around them
	Background uint8 // gray level of the padding and of empty places
	Scale      int   // each pixel becomes Scale x Scale; 0 is 1
}

// classRows lays n images of classes in turn out in rows of one class each: the rows of a class and the columns that make the grid
// most nearly square. They are 0 where it would be more than twice as high as a square one, or the rows of one image.
func classRows(n, classes int) (rows, cols int) {
	each := (n + classes - 1) / classes // images of a class
	best := math.Inf(1)
	for r := 1; r <= each; r++ {
		c := (each + r - 1) / r
		if off := math.Abs(math.Log(float64(classes*r) / float64(c))); off < best {
			best, rows, cols = off, r, c
		}
	}
	if each == 1 || classes*rows > 2*int(math.Ceil(math.Sqrt(float64(n)))) {
		return 0, 0
	}
	return rows, cols
}

// Grid puts images of one size into rows, from the left and from the top.
func Grid(list []image.Image, o GridOptions) (image.Image, error) {
	if len(list) == 0 {
		return nil, errors.New("a grid of no images")
	}
	if o.Cols < 0 || o.Period < 0 || o.Classes < 0 || o.Padding < 0 || o.Scale < 0 {
		return nil, fmt.Errorf("a grid with a negative option: %+v", o)
	}
	cols, size := o.Cols, list[0].Bounds().Size()
	place := func(i int) (row, col int) { return i / cols, i % cols }
	rows := 0
	if cols == 0 && o.Classes > 1 {
		var each int
		if each, cols = classRows(len(list), o.Classes); cols > 0 {
			rows = each * o.Classes
			place = func(i int) (row, col int) { return i%o.Classes*each + i/o.Classes/cols, i / o.Classes % cols }
		}
	}
	if cols == 0 {
		cols = int(math.Ceil(math.Sqrt(float64(len(list)))))
		if k := max(o.Period, 1); max(1, (2*cols+k)/(2*k))*k <= 2*cols {
			cols = max(1, (2*cols+k)/(2*k)) * k // the nearest multiple
		}
	}
	cols = min(cols, len(list))
	rows = max(rows, (len(list)+cols-1)/cols)
	pad := o.Padding
	canvas := newCanvas(list, cols*(size.X+pad)+pad, rows*(size.Y+pad)+pad, o.Background)
	for i, m := range list {
		if m.Bounds().Size() != size {
			return nil, fmt.Errorf("image %d of a grid is %v, the first one is %v", i, m.Bounds().Size(), size)
		}
		row, col := place(i)
		paste(canvas, m, pad+col*(size.X+pad), pad+row*(size.Y+pad))
	}
	return Scale(canvas, max(o.Scale, 1)), nil
}

// Scale enlarges an image, each pixel to k x k.
func Scale(m image.Image, k int) image.Image {
	if k <= 1 {
		return m
	}
	b := m.Bounds()
	canvas := newCanvas([]image.Image{m}, b.Dx()*k, b.Dy()*k, 0)
	xdraw.NearestNeighbor.Scale(canvas, canvas.Bounds(), m, b, xdraw.Src, nil)
	return canvas
}

// newCanvas makes a background that can take all of the images: gray if they
// all are.
func newCanvas(list []image.Image, w, h int, background uint8) draw.Image {
	r := image.Rect(0, 0, w, h)
	var canvas draw.Image = image.NewGray(r)
	for _, m := range list {
		if _, ok := m.(*image.Gray); !ok {
			canvas = image.NewRGBA(r)
			break
		}
	}
	draw.Draw(canvas, r, image.NewUniform(color.Gray{background}), image.Point{}, draw.Src)
	return canvas
}

func paste(canvas draw.Image, m image.Image, x, y int) {
	b := m.Bounds()
	draw.Draw(canvas, b.Sub(b.Min).Add(image.Pt(x, y)), m, b.Min, draw.Over)
}
