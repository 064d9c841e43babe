package data

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"image"
	"image/color"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"testing"
)

func TestPicturesOfEveryOrientationAreUpright(t *testing.T) {
	const side = 16 // of a square: a JPEG's chroma is coded in such
	for o := range uint16(12) {
		rows := storedAs[1]
		if o < 9 && o > 0 {
			rows = storedAs[o]
		}
		m := drawn(rows, side)
		for _, order := range []binary.AppendByteOrder{binary.LittleEndian, binary.BigEndian} {
			tiff := tiffOf(order, o)
			head := slices.Concat(exifHead, tiff)
			for kind, b := range map[string][]byte{
				"JPEG":                             withSegment(jpegBytes(t, m), 0xe1, head),
				"JPEG with XMP first":              withSegment(withSegment(jpegBytes(t, m), 0xe1, head), 0xe1, []byte("http://ns.adobe.com/xap/1.0/\x00<x/>")),
				"JPEG with JFIF and a filler byte": withSegment(append([]byte{0xff, 0xd8, 0xff}, withSegment(jpegBytes(t, m), 0xe1, head)[2:]...), 0xe0, []byte("JFIF\x00\x01\x02\x00\x00\x01\x00\x01\x00\x00")),
				"PNG":                              withChunk(pngBytes(t, m), "eXIf", tiff, false),
				"PNG, EXIF behind the pixels":      withChunk(pngBytes(t, m), "eXIf", tiff, true),
				"PNG, palette":                     withChunk(pngBytes(t, paletted(m)), "eXIf", tiff, true),
				"WebP":                             webpOf(m, tiff),
				"WebP with a JPEG's head":          webpOf(m, head),
			} {
				got, err := decodePicture("x", b)
				if err != nil {
					t.Fatalf("%s of orientation %d: %v", kind, o, err)
				}
				if r := rowsOf(got, side); r != storedAs[1] {
					t.Errorf("%s of orientation %d, %v: %s, want %s", kind, o, order, r, storedAs[1])
				}
				p, err := parsePicture("x", b)
				if err != nil || p.size() != image.Pt(3*side, 2*side) {
					t.Errorf("%s of orientation %d: its size is %v before it is decoded, %v", kind, o, p.size(), err)
				}
			}
		}
	}
}

// Turning moves pixels and changes no colour, whatever the image's type, odd
// sides and shared chroma included.
func TestTurningKeepsEveryColour(t *testing.T) {
	r := image.Rect(0, 0, 5, 3)
	gray, gray16, rgba, nrgba := image.NewGray(r), image.NewGray16(r), image.NewRGBA(r), image.NewNRGBA(r)
	rgba64, nrgba64, cmyk, pal := image.NewRGBA64(r), image.NewNRGBA64(r), image.NewCMYK(r), image.NewPaletted(r, nil)
	alpha := image.NewNYCbCrA(r, image.YCbCrSubsampleRatio420)
	list := []image.Image{gray, gray16, rgba, nrgba, rgba64, nrgba64, cmyk, pal, alpha}
	pix := [][]byte{gray.Pix, gray16.Pix, rgba.Pix, nrgba.Pix, rgba64.Pix, nrgba64.Pix, cmyk.Pix, pal.Pix, alpha.Y, alpha.Cb, alpha.Cr, alpha.A}
	for _, ratio := range []image.YCbCrSubsampleRatio{image.YCbCrSubsampleRatio444, image.YCbCrSubsampleRatio422, image.YCbCrSubsampleRatio420, image.YCbCrSubsampleRatio440} {
		m := image.NewYCbCr(r, ratio)
		list, pix = append(list, m), append(pix, m.Y, m.Cb, m.Cr)
	}
	for i := range 256 {
		pal.Palette = append(pal.Palette, color.NRGBA{byte(i), byte(3 * i), byte(7 * i), byte(255 - i/2)})
	}
	for i, p := range pix {
		for j := range p {
			p[j] = byte(37*j + 11*i + j*j)
		}
	}
	for i := range rgba.Pix { // colours are at most alpha
		if i%4 == 3 {
			rgba.Pix[i] = 255
		}
	}
	for i := range rgba64.Pix {
		if i%8 >= 6 {
			rgba64.Pix[i] = 255
		}
	}
	for _, m := range list {
		for o := 1; o <= 8; o++ {
			got := turn(m, o)
			w, h := 5, 3
			if o >= 5 {
				w, h = 3, 5
			}
			if got.Bounds() != image.Rect(0, 0, w, h) {
				t.Fatalf("%T, orientation %d: %v", m, o, got.Bounds())
			}
			for y := range h {
				for x := range w {
					sx, sy := stored(o, x, y, w, h)
					r1, g1, b1, a1 := got.At(x, y).RGBA()
					r2, g2, b2, a2 := m.At(sx, sy).RGBA()
					if r1 != r2 || g1 != g2 || b1 != b2 || a1 != a2 {
						t.Fatalf("%T, orientation %d: (%d, %d) is %v, want %v", m, o, x, y, got.At(x, y), m.At(sx, sy))
					}
				}
			}
		}
	}
}

// Broken EXIF leaves a picture as it is stored.
func TestBrokenEXIFNeverSpoilsAPicture(t *testing.T) {
	good := tiffOf(binary.LittleEndian, 6)
	change := func(at int, v ...byte) []byte {
		b := slices.Clone(good)
		copy(b[at:], v)
		return b
	}
	const orientation = 8 + 2 + 12 // the tag's entry
	broken := map[string][]byte{
		"nothing": {}, "one byte": {'I'}, "only a head": good[:8], "no entries": good[:10], "cut in its entry": good[:orientation+9],
		"neither order": change(0, 'X', 'X'), "another number": change(2, 43), "directory far away": change(4, 0xff, 0xff, 0xff, 0xff),
		"directory at the last byte": change(4, byte(len(good)-1)), "65535 entries, no orientation": change(8, 0xff, 0xff, 0, 0)[:orientation],
		"a long": change(orientation+2, 4), "text": change(orientation+2, 2), "two values": change(orientation+4, 2), "no value": change(orientation+4, 0),
	}
	m := drawn("ABC/DEF", 16)
	for what, tiff := range broken {
		if o := exifOrientation(tiff); o != upright {
			t.Errorf("%s: orientation %d, want 1", what, o)
		}
		for kind, b := range map[string][]byte{
			"JPEG": withSegment(jpegBytes(t, m), 0xe1, slices.Concat(exifHead, tiff)),
			"PNG":  withChunk(pngBytes(t, m), "eXIf", tiff, true),
			"WebP": webpOf(m, tiff),
		} {
			if got, err := decodePicture("x", b); err != nil || rowsOf(got, 16) != "ABC/DEF" {
				t.Errorf("%s with EXIF of %s: %v", kind, what, err)
			}
		}
	}
	if o := exifOrientation(change(8, 0xff, 0xff)); o != 6 {
		t.Errorf("the number of entries is too large: orientation %d, want 6, which is there", o)
	}
	// A segment that ends behind the file.
	for _, b := range [][]byte{{0xff, 0xd8, 0xff, 0xe1, 0xff, 0xff}, {0xff, 0xd8, 0xff, 0xe1, 0, 1, 0}, {0xff, 0xd8, 0xff}, {0xff, 0xd8, 0xff, 0xff, 0xff, 0xff}} {
		if jpegEXIF(b) != nil {
			t.Errorf("%x has EXIF", b)
		}
	}
}

func TestContentDecidesWhatAPictureIs(t *testing.T) {
	m := drawn("ABC/DEF", 1)
	small := paletted(drawn("A/C", 1))
	small.Rect = small.Rect.Add(image.Pt(1, 0))
	framed := gifBytes(t, small)
	binary.LittleEndian.PutUint16(framed[6:], 3) // the picture is 3 x 2, its frame 1 x 2 at (1, 0)
	for what, b := range map[string][]byte{
		"PNG": pngBytes(t, m), "BMP": bmpBytes(t, m), "GIF": gifBytes(t, paletted(m)), "WebP": webpOf(m, nil), "animated PNG of one frame": animatedPNG(pngBytes(t, m), 1),
	} {
		got, err := ReadPicture(write(t, filepath.Join(t.TempDir(), "x.jpg"), b))
		if err != nil || rowsOf(got, 1) != "ABC/DEF" {
			t.Errorf("%s called x.jpg: %v", what, err)
		}
	}
	got, err := decodePicture("x", framed)
	if err != nil || got.Bounds() != image.Rect(0, 0, 3, 2) {
		t.Fatalf("a frame smaller than the GIF: %v, %v", got.Bounds(), err)
	}
	for x, want := range []color.NRGBA{{}, letters['A'], {}} {
		if c := color.NRGBAModel.Convert(got.At(x, 0)); c != want {
			t.Errorf("a frame smaller than the GIF: pixel %d is %v, want %v", x, c, want)
		}
	}
}

func TestPicturesThatAreNotReadAreNamed(t *testing.T) {
	m := drawn("ABC/DEF", 1)
	brand := func(major, others string) []byte {
		return []byte("\x00\x00\x00\x20ftyp" + major + "\x00\x00\x00\x00" + others)
	}
	for _, tt := range []struct {
		bytes []byte
		want  string
	}{
		{gifBytes(t, paletted(m), paletted(m)), "an animated GIF; save the frames"},
		{animatedPNG(pngBytes(t, m), 2), "an animated PNG; save the frames"},
		{animatedWebP(), "an animated WebP; save the frames"},
		{brand("heic", "mif1heic"), "a HEIC picture; convert to PNG or JPEG"},
		{brand("mif1", "mif1heic"), "a HEIC picture"},
		{brand("mif1", "mif1avif"), "an AVIF picture"},
		{brand("avif", "mif1miaf"), "an AVIF picture; convert to PNG or JPEG"},
		{[]byte("\x00\x00\x00\x0cJXL \r\n\x87\n\x00\x00"), "a JPEG XL picture"},
		{[]byte("\xff\x0a\x00\x10"), "a JPEG XL picture"},
		{[]byte("\x00\x00\x00\x0cjP  \r\n\x87\n\x00\x00"), "a JPEG 2000 picture"},
		{tiffOf(binary.BigEndian, 1), "a TIFF picture or a camera's raw file; convert to PNG or JPEG"},
		{tiffOf(binary.LittleEndian, 1), "a TIFF picture or a camera's raw file"},
		{[]byte("\ufeff\n<svg xmlns='http://www.w3.org/2000/svg'/>"), "an SVG drawing; convert"},
		{[]byte("<?xml version='1.0'?>\n<!-- x -->\n<svg/>"), "an SVG drawing"},
		{[]byte("8BPS\x00\x01"), "a Photoshop document"},
		{[]byte("\x00\x00\x01\x00\x01\x00"), "an icon (ICO)"},
		{[]byte("qoif\x00\x00\x00\x01"), "a QOI picture"},
	} {
		_, err := decodePicture("dir/x.png", tt.bytes)
		wantError(t, err, "dir/x.png", wantPicture, "found "+tt.want)
		if !errors.Is(err, errors.ErrUnsupported) {
			t.Errorf("%v is not errors.ErrUnsupported", err)
		}
	}
	for _, tt := range []struct {
		bytes []byte
		want  string
	}{
		{nil, "an empty file"},
		{[]byte("version https://git-lfs.github.com/spec/v1\noid sha256:12\nsize 3\n"), "a Git LFS pointer instead of the file it stands for; git lfs pull"},
		{[]byte("\n<!DOCTYPE html><title>404</title>"), "an HTML page, as a failed download leaves one"},
		{make([]byte, 300), "300 bytes that are all zero"},
		{[]byte("no picture"), `10 bytes that begin with "no pictu"`},
		{brand("isom", "mp42"), "20 bytes that begin with"},
	} {
		_, err := decodePicture("x.png", tt.bytes)
		wantError(t, err, "x.png", wantPicture, "found "+tt.want)
		if errors.Is(err, errors.ErrUnsupported) {
			t.Errorf("%v is errors.ErrUnsupported: it is not a picture at all", err)
		}
	}
}

func TestReadPictureErrors(t *testing.T) {
	dir := t.TempDir()
	_, err := ReadPicture(filepath.Join(dir, "none.png"))
	if !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("%v, want one of a missing file", err)
	}
	_, err = ReadPicture(dir)
	wantError(t, err, dir, "found a directory")
	huge := filepath.Join(dir, "huge.png")
	write(t, huge, nil)
	if err := os.Truncate(huge, maxPictureBytes+1); err != nil {
		t.Skip(err)
	}
	_, err = ReadPicture(huge)
	wantError(t, err, huge, fmt.Sprintf("at most %d bytes", maxPictureBytes))
}

// Black is black and white is white, though a lossy WebP codes them as 16 and 235.
func TestLossyWebPHasItsColours(t *testing.T) {
	for i, alpha := range []byte{255, 128} {
		b, err := base64.StdEncoding.DecodeString(lossyWebP[i])
		if err != nil {
			t.Fatal(err)
		}
		m, err := decodePicture("x", b)
		if err != nil {
			t.Fatal(err)
		}
		for at, want := range map[image.Point]color.NRGBA{
			{8, 8}: {0, 0, 0, alpha}, {24, 8}: {255, 255, 255, alpha}, {8, 24}: {255, 1, 0, alpha}, {24, 24}: {0, 0, 255, alpha},
		} {
			if got := color.NRGBAModel.Convert(m.At(at.X, at.Y)); got != want {
				t.Errorf("alpha %d: %v is %v, want %v", alpha, at, got, want)
			}
		}
	}
}

// A header that promises more pixels than its file can hold is refused before
// anything of that size is made.
func TestHeadersThatPromiseTooMuch(t *testing.T) {
	gif := []byte("GIF89a\xff\xff\xff\xff\x00\x00\x00\x2c\x00\x00\x00\x00\x01\x00\x01\x00\x00\x02\x02\x44\x01\x00\x3b")
	bmp := bmpBytes(t, drawn("ABC/DEF", 1))
	binary.LittleEndian.PutUint32(bmp[18:], 4000)
	jpeg := jpegBytes(t, plain(16, 16, red))
	at := bytes.Index(jpeg, []byte{0xff, 0xc0})
	binary.BigEndian.PutUint32(jpeg[at+5:], 8000<<16|8000)
	webp := webpOf(image.NewNRGBA(image.Rect(0, 0, 16384, 4)), nil)[:200]
	head := binary.LittleEndian.Uint32(webp[21:])
	binary.LittleEndian.PutUint32(webp[21:], head&^(0x3fff<<14)|16000<<14)
	for what, b := range map[string][]byte{"GIF": gif, "BMP": bmp, "JPEG": jpeg, "WebP": webp, "PNG": pngHeader(4000, 4000)} {
		_, err := decodePicture("x", b)
		wantError(t, err, "that its bytes can hold", "in the header of a "+what+" file")
	}
}
