package data

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"image"
	"image/gif"
	"slices"
	"testing"

	"unstir/internal/alloctest"
)

// pictureSeeds are small pictures of every format, with EXIF where it has it.
func pictureSeeds(t testing.TB) [][]byte {
	m := drawn("ABC/DEF", 1)
	exif := tiffOf(binary.LittleEndian, 6)
	var lossy [2][]byte
	for i, b := range lossyWebP {
		lossy[i], _ = base64.StdEncoding.DecodeString(b)
	}
	wide := image.NewNRGBA(image.Rect(0, 0, 16000, 1000))
	return [][]byte{
		pngBytes(t, m), pngBytes(t, paletted(m)), withChunk(pngBytes(t, m), "eXIf", exif, true), animatedPNG(pngBytes(t, m), 2), pngHeader(4000, 4000),
		jpegBytes(t, m), withSegment(jpegBytes(t, plain(9, 9, red)), 0xe1, slices.Concat(exifHead, exif)),
		gifBytes(t, paletted(m)), gifBytes(t, paletted(m), paletted(m)), bmpBytes(t, m), bmpBytes(t, paletted(m)),
		webpOf(m, nil), webpOf(m, exif), animatedWebP(), webpOf(wide, nil)[:200], lossy[0], lossy[1],
		[]byte("\x00\x00\x00\x18ftypheic\x00\x00\x00\x00"), []byte("<?xml version='1.0'?><svg/>"), nil,
	}
}

// repaired is a PNG whose chunks have the right checksums, so that what is
// behind them is reached; other bytes stay as they are.
func repaired(b []byte) []byte {
	b = bytes.Clone(b)
	if f := formatOf(b); f == nil || f.name != "PNG" {
		return b
	}
	for at := 8; at+12 <= len(b); {
		n := int64(binary.BigEndian.Uint32(b[at:]))
		if n > int64(len(b)-at-12) {
			break
		}
		end := at + 8 + int(n)
		binary.BigEndian.PutUint32(b[end:], crc32.ChecksumIEEE(b[at+4:end]))
		at = end + 4
	}
	return b
}

// A picture is decoded, in the size that its header promises and its bytes can
// hold, or it is an error that names it; until the header is found good, hardly
// anything is allocated.
func FuzzPicture(f *testing.F) {
	for _, b := range pictureSeeds(f) {
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		b = repaired(b)
		var p *picture
		var err error
		alloctest.Parse(t, len(b), func() { p, err = parsePicture("x", b) })
		if err != nil {
			var fe *FileError
			if !errors.As(err, &fe) || fe.Path != "x" {
				t.Fatalf("%v is not a FileError of x", err)
			}
			return
		}
		if n := p.stored.X * p.stored.Y; n > 1<<18 {
			return // it would take long, and is like a smaller one
		}
		// 8 bytes a pixel, decoded and turned; a JPEG's coefficients are 4 for each of 4 components.
		limit := alloctest.Limit(len(b)) + 64*uint64(p.stored.X*p.stored.Y)
		alloctest.Within(t, limit, func() {
			var img image.Image
			if img, err = p.decode(); err != nil {
				return
			}
			if img.Bounds().Size() != p.size() {
				t.Fatalf("%v, want %v", img.Bounds(), p.size())
			}
			newFitter(shape{3, 8, 8}).fit(make([]byte, 3*8*8), img)
		})
		if p.format.name == "GIF" && err == nil {
			if g, err := gif.DecodeAll(bytes.NewReader(b)); err == nil && len(g.Image) > 1 {
				t.Fatalf("a GIF of %d frames is taken for a still one", len(g.Image))
			}
		}
	})
}

// Whatever is in the place of EXIF data, the picture is readable and turned as
// the data says, alike in every format that has it.
func FuzzEXIF(f *testing.F) {
	f.Add(tiffOf(binary.LittleEndian, 6))
	f.Add(tiffOf(binary.BigEndian, 3))
	f.Add(tiffOf(binary.BigEndian, 9)[:20])
	f.Add([]byte("II*\x00\xff\xff\xff\xff"))
	f.Add([]byte{})
	m := drawn("ABC/DEF", 1)
	png, jpeg, webp := pngBytes(f, m), jpegBytes(f, m), webpOf(m, nil)
	f.Fuzz(func(t *testing.T, tiff []byte) {
		// The bytes as whole files, too.
		for _, find := range []func([]byte) []byte{jpegEXIF, pngEXIF, webpEXIF} {
			if found := find(tiff); len(found) > len(tiff) {
				t.Fatalf("%d bytes of EXIF in %d", len(found), len(tiff))
			}
		}
		if len(tiff) > 0xffff-2-len(exifHead) {
			return
		}
		tiff = bytes.TrimPrefix(tiff, exifHead)
		o := exifOrientation(tiff)
		if o < 1 || o > 8 {
			t.Fatalf("orientation %d", o)
		}
		body := binary.LittleEndian.AppendUint32([]byte("EXIF"), uint32(len(tiff)))
		for _, b := range [][]byte{
			withSegment(jpeg, 0xe1, slices.Concat(exifHead, tiff)), withChunk(png, "eXIf", tiff, true),
			slices.Concat(webp, body, tiff),
		} {
			alloctest.Parse(t, len(b), func() {
				p, err := parsePicture("x", b)
				if err != nil || p.orientation != o {
					t.Fatalf("%s: orientation %v, want %d, %v", formatOf(b).name, p, o, err)
				}
				if _, err := p.decode(); err != nil {
					t.Fatalf("%s: %v", p.format.name, err)
				}
			})
		}
	})
}
