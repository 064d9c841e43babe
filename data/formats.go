package data

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"image"
	"image/draw"
	"image/gif"
	"image/jpeg"
	"image/png"
	"io"
	"math"
	"slices"
	"strings"

	"golang.org/x/image/bmp"
	"golang.org/x/image/webp"
)

// format is a supported format of pictures, recognised by its first bytes.
type format struct {
	name   string
	magic  string // '?' is any byte
	config func(io.Reader) (image.Config, error)
	decode func(io.Reader) (image.Image, error)
	// holds is the most pixels that the file's bytes can hold.
	holds func(b []byte) int64
	// frames counts the frames, up to two; nil: there is always one.
	frames func(b []byte) int
	// exif finds the EXIF data, a TIFF structure; nil: the format has none.
	exif func(b []byte) []byte
}

// maxHeader is how many of a file's first bytes tell what it is.
const maxHeader = 1024

var formats = []*format{
	{name: "PNG", magic: "\x89PNG\r\n\x1a\n", config: png.DecodeConfig, decode: png.Decode, holds: pngHolds, frames: pngFrames, exif: pngEXIF},
	// Each 64 pixels of the finest component are one bit or more.
	{name: "JPEG", magic: "\xff\xd8\xff", config: jpeg.DecodeConfig, decode: jpeg.Decode, holds: perByte(512), exif: jpegEXIF},
	// A code of LZW has 12 bits at the most and stands for fewer than 4096 pixels.
	{name: "GIF", magic: "GIF8?a", config: gif.DecodeConfig, decode: decodeGIF, holds: perByte(4096 * 8 / 12), frames: gifFrames},
	{name: "WebP", magic: "RIFF????WEBPVP8", config: webp.DecodeConfig, decode: decodeWebP, holds: webpHolds, frames: webpFrames, exif: webpEXIF},
	{name: "BMP", magic: "BM????\x00\x00\x00\x00", config: bmp.DecodeConfig, decode: bmp.Decode, holds: bmpHolds},
}

// pictureExtensions are the endings of names that promise a picture.
var pictureExtensions = []string{".png", ".apng", ".jpg", ".jpeg", ".jpe", ".jfif", ".webp", ".gif", ".bmp", ".dib"}

func matches(b []byte, magic string) bool {
	if len(b) < len(magic) {
		return false
	}
	for i := range len(magic) {
		if magic[i] != '?' && magic[i] != b[i] {
			return false
		}
	}
	return true
}

// formatOf is the format that the bytes have, or nil.
func formatOf(b []byte) *format {
	for _, f := range formats {
		if matches(b, f.magic) {
			return f
		}
	}
	return nil
}

// The formats that are recognised but not supported.
var (
	others = []struct {
		magic string
		kind  *unread
	}{
		{"II*\x00", tiffKind}, {"MM\x00*", tiffKind}, {"II+\x00", tiffKind}, {"MM\x00+", tiffKind},
		{"\xff\x0a", jxlKind}, {"\x00\x00\x00\x0cJXL \r\n\x87\n", jxlKind},
		{"\x00\x00\x00\x0cjP  \r\n\x87\n", jp2Kind}, {"\xff\x4f\xff\x51", jp2Kind},
		{"8BPS", &unread{"a Photoshop document", "Photoshop documents", toPNG}},
		{"\x00\x00\x01\x00", &unread{"an icon (ICO)", "icons (ICO)", toPNG}},
		{"qoif", &unread{"a QOI picture", "QOI pictures", toPNG}},
		{"\x76\x2f\x31\x01", &unread{"an OpenEXR picture", "OpenEXR pictures", toPNG}},
	}
	tiffKind = &unread{"a TIFF picture or a camera's raw file", "TIFF pictures or cameras' raw files", toPNG}
	jxlKind  = &unread{"a JPEG XL picture", "JPEG XL pictures", toPNG}
	jp2Kind  = &unread{"a JPEG 2000 picture", "JPEG 2000 pictures", toPNG}
	heicKind = &unread{"a HEIC picture", "HEIC pictures", toPNG}
	avifKind = &unread{"an AVIF picture", "AVIF pictures", toPNG}
	svgKind  = &unread{"an SVG drawing", "SVG drawings", toPNG}
)

const toPNG = "convert to PNG or JPEG"

// otherFormat is the unsupported kind of picture that the bytes are, or nil.
func otherFormat(b []byte) *unread {
	b = b[:min(len(b), maxHeader)]
	for _, o := range others {
		if matches(b, o.magic) {
			return o.kind
		}
	}
	if len(b) >= 12 && string(b[4:8]) == "ftyp" { // ISO media: the brand says what it holds
		switch string(b[8:12]) {
		case "heic", "heix", "heim", "heis", "hevc", "hevx", "mif1", "msf1":
			// AVIF may have the general brand first and its own among the others.
			if bytes.Contains(b[:min(len(b), 64)], []byte("avif")) {
				return avifKind
			}
			return heicKind
		case "avif", "avis":
			return avifKind
		case "crx ":
			return tiffKind // Canon's raw files
		}
	}
	text := strings.TrimLeft(strings.TrimPrefix(string(b), "\ufeff"), " \t\r\n")
	if strings.HasPrefix(text, "<svg") || strings.HasPrefix(text, "<?xml") && strings.Contains(text, "<svg") {
		return svgKind
	}
	return nil
}

// describeBytes describes what is in place of a picture.
func describeBytes(b []byte) string {
	text := strings.ToLower(strings.TrimLeft(string(b[:min(len(b), maxHeader)]), " \t\r\n"))
	switch {
	case len(b) == 0:
		return "an empty file"
	case strings.HasPrefix(text, "version https://git-lfs"):
		return "a Git LFS pointer instead of the file it stands for; git lfs pull fetches that"
	case strings.HasPrefix(text, "<!doctype html") || strings.HasPrefix(text, "<html"):
		return "an HTML page, as a failed download leaves one"
	case !slices.ContainsFunc(b, func(c byte) bool { return c != 0 }):
		return fmt.Sprintf("%d bytes that are all zero", len(b))
	}
	return fmt.Sprintf("%d bytes that begin with %q", len(b), b[:min(len(b), 8)])
}

func perByte(pixels int64) func([]byte) int64 {
	return func(b []byte) int64 { return pixels * int64(len(b)) }
}

// pngHolds follows the bits of a pixel and deflate's best ratio.
func pngHolds(b []byte) int64 {
	if len(b) < 26 {
		return 0
	}
	channels := map[byte]int64{0: 1, 2: 3, 3: 1, 4: 2, 6: 4}[b[25]]
	if channels == 0 || b[24] == 0 {
		return 0
	}
	return deflateRatio * 8 * int64(len(b)) / (channels * int64(b[24]))
}

// webpHolds: a plain picture may compress to almost nothing, so that a small one
// is always possible.
func webpHolds(b []byte) int64 { return max(1<<24, 8*deflateRatio*int64(len(b))) }

// bmpHolds: nothing is compressed.
func bmpHolds(b []byte) int64 {
	if len(b) < 30 {
		return 0
	}
	bits := int64(binary.LittleEndian.Uint16(b[28:]))
	return 8 * int64(len(b)) / max(1, bits)
}

// pngChunks calls f with the chunks of a PNG until it returns false.
func pngChunks(b []byte, f func(kind string, data []byte) bool) {
	for at := 8; at+12 <= len(b); {
		n := int64(binary.BigEndian.Uint32(b[at:]))
		if n > int64(len(b)-at-12) || !f(string(b[at+4:at+8]), b[at+8:at+8+int(n)]) {
			return
		}
		at += 12 + int(n)
	}
}

// pngFrames reads the frames of an animation from its control chunk, which
// stands before the pixels.
func pngFrames(b []byte) int {
	frames := 1
	pngChunks(b, func(kind string, data []byte) bool {
		if kind == "acTL" && len(data) >= 4 {
			frames = int(min(2, max(1, binary.BigEndian.Uint32(data))))
		}
		return kind != "IDAT"
	})
	return frames
}

// webpChunks calls f with the chunks of a WebP until it returns false.
func webpChunks(b []byte, f func(kind string, data []byte) bool) {
	for at := 12; at+8 <= len(b); {
		n := int64(binary.LittleEndian.Uint32(b[at+4:]))
		if n > int64(len(b)-at-8) || !f(string(b[at:at+4]), b[at+8:at+8+int(n)]) {
			return
		}
		at += 8 + int(n+n%2)
	}
}

// webpFrames counts the frames of an animation, up to two.
func webpFrames(b []byte) int {
	frames := 0
	webpChunks(b, func(kind string, _ []byte) bool {
		if kind == "ANMF" || kind == "ANIM" { // x/image does not read even an animation of one frame
			frames = 2
		}
		return frames < 2
	})
	return max(1, frames)
}

// gifFrames counts the frames of a GIF, up to two, without decoding them.
func gifFrames(b []byte) int {
	if len(b) < 13 {
		return 0
	}
	at, frames := 13+colorTable(b[10]), 0
	for frames < 2 && at < len(b) {
		switch b[at] {
		case 0x21: // extension: a label, blocks
			at = afterBlocks(b, at+2)
		case 0x2c: // image: 9 bytes, a table, the size of a code, blocks
			frames++
			if at+10 > len(b) {
				return frames
			}
			at = afterBlocks(b, at+10+colorTable(b[at+9])+1)
		default:
			return frames
		}
	}
	return frames
}

// colorTable is the length of the table that a GIF's flags announce.
func colorTable(flags byte) int {
	if flags&0x80 == 0 {
		return 0
	}
	return 3 << (1 + flags&7)
}

// afterBlocks is the offset behind a GIF's blocks that begin at an offset.
func afterBlocks(b []byte, at int) int {
	for at < len(b) && b[at] != 0 {
		at += 1 + int(b[at])
	}
	if at >= len(b) {
		return math.MaxInt
	}
	return at + 1
}

// decodeGIF puts the only frame where it belongs in the whole picture.
func decodeGIF(r io.Reader) (image.Image, error) {
	var head bytes.Buffer
	c, err := gif.DecodeConfig(io.TeeReader(r, &head))
	if err != nil {
		return nil, err
	}
	m, err := gif.Decode(io.MultiReader(&head, r))
	whole := image.Rect(0, 0, c.Width, c.Height)
	if err != nil || m.Bounds() == whole {
		return m, err
	}
	canvas := image.NewRGBA(whole)
	draw.Draw(canvas, m.Bounds(), m, m.Bounds().Min, draw.Src)
	return canvas, nil
}
