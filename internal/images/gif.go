package images

import (
	"errors"
	"fmt"
	"image"
	"image/color"
	"image/draw"
	"image/gif"
	"io"
	"time"

	"unstir/internal/atomicfile"
)

// Animation is a sequence of frames that repeats for ever.
type Animation struct {
	Frames []image.Image
	Delay  time.Duration // for which each frame is shown, in steps of 10 ms; 20 ms at least
	Hold   time.Duration // the same for the last frame; 0 is Delay
}

// encodeGIF writes an animated GIF. Gray frames keep their exact values; other
// frames get up to 256 colours each, exact where that is enough, otherwise by
// median cut with error diffusion. Frames smaller than the largest one are
// padded with white at the right and the bottom. The same animation gives the
// same bytes.
func encodeGIF(w io.Writer, a Animation) error {
	if len(a.Frames) == 0 {
		return errors.New("an animation of no frames")
	}
	if a.Delay < 0 || a.Hold < 0 {
		return fmt.Errorf("an animation with a negative delay, %v or %v", a.Delay, a.Hold)
	}
	if a.Hold == 0 {
		a.Hold = a.Delay
	}
	var size image.Point
	for _, m := range a.Frames {
		size.X, size.Y = max(size.X, m.Bounds().Dx()), max(size.Y, m.Bounds().Dy())
	}
	if size.X > 0xffff || size.Y > 0xffff {
		return fmt.Errorf("frames of %v pixels are too large for a GIF", size)
	}
	g := &gif.GIF{Config: image.Config{Width: size.X, Height: size.Y}}
	for i, m := range a.Frames {
		if m.Bounds() != image.Rect(0, 0, size.X, size.Y) {
			canvas := newCanvas([]image.Image{m}, size.X, size.Y, 255)
			paste(canvas, m, 0, 0)
			m = canvas
		}
		delay := a.Delay
		if i == len(a.Frames)-1 {
			delay = a.Hold
		}
		// Viewers show what is faster than 20 ms at 100 ms.
		delay = max(delay.Round(10*time.Millisecond), 20*time.Millisecond)
		g.Image = append(g.Image, paletted(m))
		g.Delay = append(g.Delay, int(min(delay/(10*time.Millisecond), 0xffff)))
	}
	return gif.EncodeAll(w, g)
}

// WriteGIF writes encodeGIF's bytes to a file, which is replaced as a whole.
func WriteGIF(path string, a Animation) error {
	return atomicfile.Write(path, func(w io.Writer) error { return encodeGIF(w, a) })
}

var grays = func() color.Palette {
	p := make(color.Palette, 256)
	for i := range p {
		p[i] = color.RGBA{uint8(i), uint8(i), uint8(i), 255}
	}
	return p
}()

// paletted converts a frame whose bounds begin at (0, 0).
func paletted(m image.Image) *image.Paletted {
	b := m.Bounds()
	if gray, ok := m.(*image.Gray); ok {
		p := image.NewPaletted(b, grays)
		for y := range b.Dy() {
			copy(p.Pix[y*p.Stride:(y+1)*p.Stride], gray.Pix[y*gray.Stride:])
		}
		return p
	}
	rgba, ok := m.(*image.RGBA)
	if !ok {
		rgba = image.NewRGBA(b)
		draw.Draw(rgba, b, m, b.Min, draw.Src)
	}
	return quantize(rgba)
}
