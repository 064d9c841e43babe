package htmlreport

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"html/template"
	"image"
	_ "image/gif" // to tell a GIF's size
	"image/png"
	"math"

	"golang.org/x/image/draw"
)

// Picture is a PNG or a GIF file.
type Picture struct {
	Data    []byte
	Alt     string // for those who cannot see it
	Caption string
}

// What the pictures of a page may take, in bytes of their files. In the page each takes a third more.
const (
	budgetPreviews = 3_500_000
	budgetSamples  = 2_000_000
	budgetBound    = 500_000
	maxPixels      = 1 << 25
)

// figure is a picture for the template.
type figure struct {
	Source        template.URL
	Width, Height int
	Alt, Caption  string
	Note          string // what was done to it
}

// figures embeds pictures, each of which may take its share of a budget: a PNG that takes more is made smaller, and
// what cannot be is left out with a note in its place.
func figures(list []Picture, budget int) (out []figure) {
	for i, p := range list {
		f := figure{Alt: p.Alt, Caption: p.Caption}
		share := budget / (len(list) - i)
		c, kind, err := image.DecodeConfig(bytes.NewReader(p.Data))
		data := p.Data
		switch {
		case err != nil || kind != "png" && kind != "gif":
			f.Note = "This file is no picture that can be read."
		case len(data) <= share:
		case kind == "gif" || c.Width > maxPixels/max(1, c.Height):
			f.Note = fmt.Sprintf("A picture of %s kB is too large for this page.", Number(math.Ceil(float64(len(data))/1000)))
		default:
			if data, c, err = shrink(p.Data, share); err != nil {
				f.Note = "This file is no picture that can be read."
				break
			}
			f.Note = "made smaller for this page"
		}
		if err == nil && len(data) <= share {
			f.Source = template.URL("data:image/" + kind + ";base64," + base64.StdEncoding.EncodeToString(data))
			f.Width, f.Height = c.Width, c.Height
			budget -= len(data)
		}
		out = append(out, f)
	}
	return out
}

// shrink makes a PNG smaller until its file is of at most so many bytes.
func shrink(data []byte, most int) ([]byte, image.Config, error) {
	m, err := png.Decode(bytes.NewReader(data))
	if err != nil {
		return nil, image.Config{}, err
	}
	size := m.Bounds().Size()
	scale := 1.0
	for {
		scale *= min(0.8, 0.95*math.Sqrt(float64(most)/float64(len(data))))
		w, h := max(1, int(scale*float64(size.X))), max(1, int(scale*float64(size.Y)))
		var small draw.Image = image.NewNRGBA(image.Rect(0, 0, w, h))
		if _, gray := m.(*image.Gray); gray {
			small = image.NewGray(small.Bounds())
		}
		draw.ApproxBiLinear.Scale(small, small.Bounds(), m, m.Bounds(), draw.Src, nil)
		var b bytes.Buffer
		if err := png.Encode(&b, small); err != nil {
			return nil, image.Config{}, err
		}
		if data = b.Bytes(); len(data) <= most || w*h == 1 {
			return data, image.Config{Width: w, Height: h}, nil
		}
	}
}
