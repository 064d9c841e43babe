package data

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
	"image"
	"image/color"
	"image/gif"
	"slices"
	"strings"
	"testing"

	"golang.org/x/image/bmp"
)

// letters are the pixels of small pictures, as rows of letters.
var letters = map[rune]color.NRGBA{
	'A': {255, 0, 0, 255}, 'B': {0, 255, 0, 255}, 'C': {0, 0, 255, 255},
	'D': {255, 255, 0, 255}, 'E': {0, 255, 255, 255}, 'F': {255, 255, 255, 255},
}

// drawn is the picture of rows such as "ABC/DEF", each pixel a square of side pixels.
func drawn(rows string, side int) *image.NRGBA {
	lines := strings.Split(rows, "/")
	m := image.NewNRGBA(image.Rect(0, 0, side*len(lines[0]), side*len(lines)))
	for i := range m.Pix[:len(m.Pix)/4] {
		x, y := i%m.Rect.Dx(), i/m.Rect.Dx()
		m.Set(x, y, letters[rune(lines[y/side][x/side])])
	}
	return m
}

// rowsOf is the picture as letters, of the colour that is nearest in the middle
// of each square.
func rowsOf(m image.Image, side int) string {
	b := m.Bounds()
	var rows []string
	for y := b.Min.Y + side/2; y < b.Max.Y; y += side {
		row := ""
		for x := b.Min.X + side/2; x < b.Max.X; x += side {
			best, least := '?', 1<<62
			for l := 'A'; l <= 'F'; l++ {
				c, want := color.NRGBAModel.Convert(m.At(x, y)).(color.NRGBA), letters[l]
				d := 0
				for _, v := range []int{int(c.R) - int(want.R), int(c.G) - int(want.G), int(c.B) - int(want.B), int(c.A) - int(want.A)} {
					d += v * v
				}
				if d < least {
					best, least = l, d
				}
			}
			row += string(best)
		}
		rows = append(rows, row)
	}
	return strings.Join(rows, "/")
}

// storedAs is how a picture of rows ABC/DEF is stored with each EXIF orientation.
var storedAs = [9]string{1: "ABC/DEF", 2: "CBA/FED", 3: "FED/CBA", 4: "DEF/ABC", 5: "AD/BE/CF", 6: "CF/BE/AD", 7: "FC/EB/DA", 8: "DA/EB/FC"}

// tiffOf is EXIF data with an orientation among other tags.
func tiffOf(order binary.AppendByteOrder, orientation uint16) []byte {
	b := []byte("II*\x00")
	if order.String() == "BigEndian" {
		b = []byte("MM\x00*")
	}
	b = order.AppendUint32(b, 8)
	b = order.AppendUint16(b, 3)
	for _, e := range []struct {
		tag, kind uint16
		count     uint32
		value     []byte
	}{
		{0x010f, 2, 4, []byte("cam\x00")},
		{0x0112, 3, 1, order.AppendUint16(order.AppendUint16(nil, orientation), 0)},
		{0x0128, 3, 1, order.AppendUint16(order.AppendUint16(nil, 2), 0)},
	} {
		b = order.AppendUint32(order.AppendUint16(order.AppendUint16(b, e.tag), e.kind), e.count)
		b = append(b, e.value...)
	}
	return order.AppendUint32(b, 0)
}

// withSegment puts a segment behind a JPEG's first two bytes.
func withSegment(jpeg []byte, marker byte, body []byte) []byte {
	head := binary.BigEndian.AppendUint16([]byte{0xff, 0xd8, 0xff, marker}, uint16(len(body)+2))
	return slices.Concat(head, body, jpeg[2:])
}

// withChunk puts a chunk into a PNG, before its pixels or behind them.
func withChunk(png []byte, kind string, body []byte, behind bool) []byte {
	chunk := binary.BigEndian.AppendUint32(nil, uint32(len(body)))
	chunk = append(append(chunk, kind...), body...)
	chunk = binary.BigEndian.AppendUint32(chunk, crc32.ChecksumIEEE(chunk[4:]))
	at := 8 + 12 + 13
	if behind {
		at = len(png) - 12
	}
	return slices.Concat(png[:at], chunk, png[at:])
}

// bits collects bits, the lowest first.
type bits struct {
	b []byte
	n int
}

func (w *bits) put(v uint32, n int) {
	for i := range n {
		if w.n%8 == 0 {
			w.b = append(w.b, 0)
		}
		w.b[w.n/8] |= byte(v>>i&1) << (w.n % 8)
		w.n++
	}
}

// webpOf is m, whose channels are 0 or 255, as a lossless WebP; the chunk EXIF
// follows where there is one.
func webpOf(m *image.NRGBA, exif []byte) []byte {
	var w bits
	w.put(0x2f, 8)
	w.put(uint32(m.Rect.Dx()-1), 14)
	w.put(uint32(m.Rect.Dy()-1), 14)
	w.put(0, 1+3+1+1+1) // no alpha, version 0; no transform, no cache, one group of codes
	for range 4 {       // codes of green, red, blue, alpha: one bit, for the symbols 0 and 255
		w.put(0b1_1_1, 3)
		w.put(0, 8)
		w.put(255, 8)
	}
	w.put(0b0_0_1, 3) // of distances: the symbol 0 alone
	w.put(0, 1)
	for i := range len(m.Pix) / 4 {
		for _, c := range []int{1, 0, 2, 3} {
			w.put(uint32(m.Pix[4*i+c]&1), 1)
		}
	}
	chunk := func(kind string, body []byte) []byte {
		b := binary.LittleEndian.AppendUint32([]byte(kind), uint32(len(body)))
		b = append(b, body...)
		return append(b, make([]byte, len(body)%2)...)
	}
	body := chunk("VP8L", w.b)
	if exif != nil {
		x := []byte{8, 0, 0, 0}
		for _, n := range []int{m.Rect.Dx() - 1, m.Rect.Dy() - 1} {
			x = append(x, byte(n), byte(n>>8), byte(n>>16))
		}
		body = slices.Concat(chunk("VP8X", x), body, chunk("EXIF", exif))
	}
	return chunk("RIFF", slices.Concat([]byte("WEBP"), body))
}

func gifBytes(t testing.TB, frames ...*image.Paletted) []byte {
	t.Helper()
	var b bytes.Buffer
	g := &gif.GIF{Image: frames, Delay: make([]int, len(frames))}
	if err := gif.EncodeAll(&b, g); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// paletted is m with the palette of the letters.
func paletted(m image.Image) *image.Paletted {
	p := image.NewPaletted(m.Bounds(), nil)
	for l := 'A'; l <= 'F'; l++ {
		p.Palette = append(p.Palette, letters[l])
	}
	for y := range m.Bounds().Dy() {
		for x := range m.Bounds().Dx() {
			p.Set(x, y, m.At(x, y))
		}
	}
	return p
}

func bmpBytes(t testing.TB, m image.Image) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := bmp.Encode(&b, m); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// animatedPNG announces an animation of so many frames.
func animatedPNG(png []byte, frames byte) []byte {
	return withChunk(png, "acTL", []byte{0, 0, 0, frames, 0, 0, 0, 0}, false)
}

func animatedWebP() []byte {
	b := append([]byte("RIFF\x00\x00\x00\x00WEBPVP8X\x0a\x00\x00\x00\x02\x00\x00\x00\x02\x00\x00\x01\x00\x00"), "ANIM\x06\x00\x00\x00\x00\x00\x00\x00\x00\x00"...)
	binary.LittleEndian.PutUint32(b[4:], uint32(len(b)-8))
	return b
}

// lossyWebP are four squares of 16 pixels a side, black, white, red and blue, as
// lossy WebP of Pillow 13.0 (quality=90, method=6), opaque and with alpha 128.
var lossyWebP = []string{
	"UklGRmQAAABXRUJQVlA4IFgAAADQBACdASogACAAPjEUiEKiISEYBAAgAwSgCADBCeAfgB+wH9A5ALsB+wAGSsZSAAD+/4/Yf/3s6f+y1r//67NbDGZ///4Vwyxj0D/6kY+8GnNko8PGxqAA",
	"UklGRoQAAABXRUJQVlA4WAoAAAAQAAAAHwAAHwAAQUxQSAUAAAABKGBEBABWUDggWAAAANAEAJ0BKiAAIAA+MRSIQqIhIRgEACADBKAIAMEJ4B+AH7Af0DkAuwH7AAZKxlIAAP7/j9h//ezp/7LWv//rs1sMZn///hXDLGPQP/qRj7wac2Sjw8bGoAA=",
}
