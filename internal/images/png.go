package images

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"image"
	"image/png"
	"io"
	"strings"
	"sync"
	"unicode/utf8"

	"unstir/internal/atomicfile"
)

// Text is a line of provenance in a PNG file: model, step, sampler, seed ...
type Text struct {
	Key   string // 1 to 79 printable ASCII characters, single spaces inside only
	Value string // UTF-8 without zero bytes
}

const (
	pngSignature = "\x89PNG\r\n\x1a\n"
	pngHead      = len(pngSignature) + 4 + 4 + 13 + 4 // the signature and the chunk IHDR
	maxText      = 1 << 20                            // bytes of a text chunk that ReadText accepts
	maxTexts     = 1 << 12                            // how many of them
)

// encoder keeps its buffers, which are far larger than a small image, for the
// next one.
var encoder = png.Encoder{BufferPool: new(bufferPool)}

type bufferPool struct{ pool sync.Pool }

func (p *bufferPool) Get() *png.EncoderBuffer {
	b, _ := p.pool.Get().(*png.EncoderBuffer)
	return b
}

func (p *bufferPool) Put(b *png.EncoderBuffer) { p.pool.Put(b) }

// EncodePNG writes an image and its texts, as tEXt chunks where the value is
// ASCII and as iTXt chunks otherwise, in front of the pixels. The same image and
// texts give the same bytes.
func EncodePNG(w io.Writer, m image.Image, texts []Text) error {
	var file bytes.Buffer
	if err := encoder.Encode(&file, m); err != nil {
		return err
	}
	var chunks []byte
	if len(texts) > maxTexts {
		return fmt.Errorf("%d texts are more than the %d that a PNG file may have", len(texts), maxTexts)
	}
	for _, t := range texts {
		if err := t.check(); err != nil {
			return err
		}
		chunks = t.appendTo(chunks)
	}
	for _, part := range [][]byte{file.Bytes()[:pngHead], chunks, file.Bytes()[pngHead:]} {
		if _, err := w.Write(part); err != nil {
			return err
		}
	}
	return nil
}

// WritePNG writes EncodePNG's bytes to a file, which is replaced as a whole.
func WritePNG(path string, m image.Image, texts []Text) error {
	return atomicfile.Write(path, func(w io.Writer) error { return EncodePNG(w, m, texts) })
}

func (t Text) check() error {
	if n := len(t.Key); n < 1 || n > 79 || !isASCII(t.Key, false) || strings.TrimSpace(t.Key) != t.Key || strings.Contains(t.Key, "  ") {
		return fmt.Errorf("%.80q cannot be the key of a PNG text: it must be 1 to 79 printable ASCII characters, single spaces inside only", t.Key)
	}
	if !utf8.ValidString(t.Value) || strings.ContainsRune(t.Value, 0) || len(t.Value) > maxText-200 {
		return fmt.Errorf("the value of PNG text %q is not UTF-8, has a zero byte or is longer than 1 MB", t.Key)
	}
	return nil
}

func isASCII(s string, newlines bool) bool {
	for _, c := range []byte(s) {
		if (c < ' ' || c > '~') && !(newlines && c == '\n') {
			return false
		}
	}
	return true
}

// appendTo appends the chunk: length, type, key, 0, value, CRC of all but the
// length (PNG specification, 11.3.3). iTXt has between key and value: not
// compressed, method 0, no language, no translated key.
func (t Text) appendTo(b []byte) []byte {
	kind, between := "tEXt", "\x00"
	if !isASCII(t.Value, true) {
		kind, between = "iTXt", "\x00\x00\x00\x00\x00"
	}
	body := kind + t.Key + between + t.Value
	b = binary.BigEndian.AppendUint32(b, uint32(len(body)-4))
	b = append(b, body...)
	return binary.BigEndian.AppendUint32(b, crc32.ChecksumIEEE([]byte(body)))
}

// ReadText returns the tEXt and the uncompressed iTXt chunks of a PNG file in
// their order. A chunk whose CRC is wrong or that is longer than 1 MB is an
// error.
func ReadText(r io.Reader) ([]Text, error) {
	var head [8]byte
	if _, err := io.ReadFull(r, head[:]); err != nil || string(head[:]) != pngSignature {
		return nil, errors.New("not a PNG file")
	}
	var texts []Text
	for {
		if _, err := io.ReadFull(r, head[:]); err != nil {
			return nil, fmt.Errorf("the PNG file ends without an IEND chunk (truncated?): %w", err)
		}
		n, kind := int64(binary.BigEndian.Uint32(head[:4])), string(head[4:])
		switch kind {
		case "IEND":
			return texts, nil
		case "tEXt", "iTXt":
			if len(texts) == maxTexts {
				return nil, fmt.Errorf("the PNG file has more than %d texts", maxTexts)
			}
			t, ok, err := readChunk(r, kind, n)
			if err != nil {
				return nil, fmt.Errorf("PNG chunk %s: %w", kind, err)
			}
			if ok {
				texts = append(texts, t)
			}
		default:
			if _, err := io.CopyN(io.Discard, r, n+4); err != nil {
				return nil, fmt.Errorf("PNG chunk %q: truncated: %w", kind, err)
			}
		}
	}
}

// readChunk reads the rest of a text chunk; false for a compressed one.
func readChunk(r io.Reader, kind string, n int64) (t Text, ok bool, err error) {
	if n > maxText {
		return t, false, fmt.Errorf("%d bytes are more than the limit of %d", n, maxText)
	}
	b := make([]byte, n+4)
	if _, err := io.ReadFull(r, b); err != nil {
		return t, false, fmt.Errorf("truncated: %w", err)
	}
	b, sum := b[:n], binary.BigEndian.Uint32(b[n:])
	if crc32.Update(crc32.ChecksumIEEE([]byte(kind)), crc32.IEEETable, b) != sum {
		return t, false, errors.New("its CRC is wrong: the file is damaged")
	}
	key, rest, found := bytes.Cut(b, []byte{0})
	if !found {
		return t, false, errors.New("no zero byte after the key")
	}
	t.Key = latin1(key)
	if kind == "tEXt" {
		t.Value = latin1(rest)
		return t, true, nil
	}
	if len(rest) < 2 || rest[0] != 0 {
		return t, false, nil
	}
	fields := bytes.SplitN(rest[2:], []byte{0}, 3) // language, translated key, value
	if len(fields) != 3 || !utf8.Valid(fields[2]) {
		return t, false, errors.New("language, translated key and UTF-8 text are not all there")
	}
	t.Value = string(fields[2])
	return t, true, nil
}

func latin1(b []byte) string {
	s := make([]byte, 0, len(b))
	for _, c := range b {
		s = utf8.AppendRune(s, rune(c))
	}
	return string(s)
}
