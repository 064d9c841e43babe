package data

import (
	"image"
	"io"

	"golang.org/x/image/webp"
)

// decodeWebP decodes a WebP with its true colours. Lossy WebP is coded by ITU-R
// BT.601 with Y from 16 to 235 and chroma from 16 to 240; x/image/webp returns it
// as [image.YCbCr], whose range is 0 to 255: black would be dark gray.
func decodeWebP(r io.Reader) (image.Image, error) {
	img, err := webp.Decode(r)
	if err != nil {
		return nil, err
	}
	switch m := img.(type) {
	case *image.YCbCr:
		d := image.NewRGBA(m.Rect)
		narrowToRGB(d.Pix, m, nil, 0)
		return d, nil
	case *image.NYCbCrA:
		d := image.NewNRGBA(m.Rect)
		narrowToRGB(d.Pix, &m.YCbCr, m.A, m.AStride)
		return d, nil
	}
	return img, nil
}

// narrowToRGB writes four bytes a pixel to dst; alpha is 255 where it is nil.
func narrowToRGB(dst []byte, m *image.YCbCr, alpha []byte, stride int) {
	const ( // 2^16 times the factors of BT.601: 255/219 of Y, 255/224 of the others
		luma        = 76309  // 1.164384
		redCr       = 104597 // 1.596027: 2 (1 - 0.299)
		greenCb     = 25675  // 0.391762: 2 (1 - 0.114) 0.114 / 0.587
		greenCr     = 53279  // 0.812968: 2 (1 - 0.299) 0.299 / 0.587
		blueCb      = 132201 // 2.017232: 2 (1 - 0.114)
		half    int = 1 << 15
	)
	clip := func(v int) byte { return byte(max(0, min(255, (v+half)>>16))) }
	for y := range m.Rect.Dy() {
		for x := range m.Rect.Dx() {
			c := m.COffset(m.Rect.Min.X+x, m.Rect.Min.Y+y)
			l := luma * (int(m.Y[y*m.YStride+x]) - 16)
			cb, cr := int(m.Cb[c])-128, int(m.Cr[c])-128
			dst[0], dst[1], dst[2], dst[3] = clip(l+redCr*cr), clip(l-greenCb*cb-greenCr*cr), clip(l+blueCb*cb), 255
			if alpha != nil {
				dst[3] = alpha[y*stride+x]
			}
			dst = dst[4:]
		}
	}
}
