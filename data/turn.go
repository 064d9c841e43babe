package data

import (
	"image"
	"image/draw"
)

// swapsSides reports whether an EXIF orientation swaps width and height.
func swapsSides(orientation int) bool { return orientation >= 5 }

// stored is where pixel (x, y) of the upright picture, w x h pixels, lies in the
// picture as it is stored. EXIF names orientations by where row 0 and column 0
// of what is stored belong: 1 top and left, 2 top and right, 3 bottom and right,
// 4 bottom and left, 5 left and top, 6 right and top, 7 right and bottom, 8 left
// and bottom.
func stored(orientation, x, y, w, h int) (sx, sy int) {
	switch orientation {
	case 2:
		return w - 1 - x, y
	case 3:
		return w - 1 - x, h - 1 - y
	case 4:
		return x, h - 1 - y
	case 5:
		return y, x
	case 6:
		return y, w - 1 - x
	case 7:
		return h - 1 - y, w - 1 - x
	case 8:
		return h - 1 - y, x
	}
	return x, y
}

// turn brings a stored picture upright. Its colours keep their exact values,
// so that it is resized like a picture stored upright.
func turn(img image.Image, orientation int) image.Image {
	if orientation == upright {
		return img
	}
	t := turner{from: img.Bounds(), orientation: orientation}
	t.w, t.h = t.from.Dx(), t.from.Dy()
	if swapsSides(orientation) {
		t.w, t.h = t.h, t.w
	}
	r := image.Rect(0, 0, t.w, t.h)
	switch m := img.(type) {
	case *image.Gray:
		d := image.NewGray(r)
		t.plane(d.Pix, m.Pix, m.Stride, 1)
		return d
	case *image.Gray16:
		d := image.NewGray16(r)
		t.plane(d.Pix, m.Pix, m.Stride, 2)
		return d
	case *image.Paletted:
		d := image.NewPaletted(r, m.Palette)
		t.plane(d.Pix, m.Pix, m.Stride, 1)
		return d
	case *image.RGBA:
		d := image.NewRGBA(r)
		t.plane(d.Pix, m.Pix, m.Stride, 4)
		return d
	case *image.NRGBA:
		d := image.NewNRGBA(r)
		t.plane(d.Pix, m.Pix, m.Stride, 4)
		return d
	case *image.RGBA64:
		d := image.NewRGBA64(r)
		t.plane(d.Pix, m.Pix, m.Stride, 8)
		return d
	case *image.NRGBA64:
		d := image.NewNRGBA64(r)
		t.plane(d.Pix, m.Pix, m.Stride, 8)
		return d
	case *image.CMYK:
		d := image.NewCMYK(r)
		t.plane(d.Pix, m.Pix, m.Stride, 4)
		return d
	case *image.YCbCr:
		return t.yCbCr(m)
	}
	m := image.NewRGBA64(t.from)
	draw.Draw(m, m.Rect, img, t.from.Min, draw.Src)
	return turn(m, orientation)
}

// turner turns from one rectangle to w x h pixels at the origin.
type turner struct {
	from        image.Rectangle
	orientation int
	w, h        int
}

// plane turns pixels of size bytes each; src begins with the first one.
func (t turner) plane(dst, src []byte, stride, size int) {
	for y := range t.h {
		for x := range t.w {
			sx, sy := stored(t.orientation, x, y, t.w, t.h)
			at := sy*stride + sx*size
			copy(dst[:size], src[at:at+size])
			dst = dst[size:]
		}
	}
}

// yCbCr gives each pixel its own chroma: pixels that share it may not share it any
// more once a picture of odd sides is mirrored.
func (t turner) yCbCr(m *image.YCbCr) *image.YCbCr {
	d := image.NewYCbCr(image.Rect(0, 0, t.w, t.h), image.YCbCrSubsampleRatio444)
	for y := range t.h {
		for x := range t.w {
			sx, sy := stored(t.orientation, x, y, t.w, t.h)
			sx, sy = sx+t.from.Min.X, sy+t.from.Min.Y
			to, at := y*d.YStride+x, m.COffset(sx, sy)
			d.Y[to], d.Cb[to], d.Cr[to] = m.Y[m.YOffset(sx, sy)], m.Cb[at], m.Cr[at]
		}
	}
	return d
}
