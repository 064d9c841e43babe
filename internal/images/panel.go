package images

import (
	"errors"
	"fmt"
	"image"
	"image/color"
	"image/draw"

	"golang.org/x/image/font"
	"golang.org/x/image/font/basicfont"
	"golang.org/x/image/math/fixed"
)

// Panel is an image with a line of text above it.
type Panel struct {
	Label string // ASCII; other characters show as a box
	Image image.Image
}

// PanelOptions lay out Panels.
type PanelOptions struct {
	Cols       int   // panels in a row; 0: all
	Padding    int   // pixels between the panels and around them
	Background uint8 // gray level; the text is black on a light one, white on a dark one
	LabelRoom  int   // characters for which each panel has room at least: the frames of an animation keep their size
}

var face = basicfont.Face7x13

// Panels puts labelled images side by side: x_t beside the guess of x_0, or one
// sampler beside another. All panels are as wide as the widest image or label.
func Panels(list []Panel, o PanelOptions) (image.Image, error) {
	if len(list) == 0 {
		return nil, errors.New("no panels")
	}
	if o.Cols < 0 || o.Padding < 0 || o.LabelRoom < 0 {
		return nil, fmt.Errorf("panels with a negative option: %+v", o)
	}
	cols := o.Cols
	if cols == 0 || cols > len(list) {
		cols = len(list)
	}
	rows := (len(list) + cols - 1) / cols
	w, h, pad := o.LabelRoom*face.Advance, 0, o.Padding
	ms := make([]image.Image, len(list))
	for i, p := range list {
		if p.Image == nil {
			return nil, fmt.Errorf("panel %q has no image", p.Label)
		}
		ms[i] = p.Image
		w = max(w, p.Image.Bounds().Dx(), font.MeasureString(face, p.Label).Ceil())
		h = max(h, p.Image.Bounds().Dy())
	}
	h += face.Height + 2
	canvas := newCanvas(ms, cols*(w+pad)+pad, rows*(h+pad)+pad, o.Background)
	for i, p := range list {
		x, y := pad+i%cols*(w+pad), pad+i/cols*(h+pad)
		label(canvas, p.Label, x, y, o.Background)
		paste(canvas, p.Image, x, y+face.Height+2)
	}
	return canvas, nil
}

// label writes a line whose upper left corner is at (x, y).
func label(canvas draw.Image, text string, x, y int, background uint8) {
	ink := color.Gray{0}
	if background < 128 {
		ink.Y = 255
	}
	d := font.Drawer{Dst: canvas, Src: image.NewUniform(ink), Face: face, Dot: fixed.P(x, y+face.Ascent)}
	d.DrawString(text)
}
