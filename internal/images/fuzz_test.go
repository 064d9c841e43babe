package images

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
	"image/png"
	"slices"
	"strings"
	"testing"

	"unstir/internal/alloctest"
	"unstir/internal/errortest"
)

// chunk is a PNG chunk with the right CRC.
func chunk(kind, body string) []byte {
	b := binary.BigEndian.AppendUint32(nil, uint32(len(body)))
	b = append(b, kind+body...)
	return binary.BigEndian.AppendUint32(b, crc32.ChecksumIEEE([]byte(kind+body)))
}

// FuzzReadText: whatever the bytes, reading the texts fails in one line or gives them, within the memory that the
// bytes allow; and so do bytes that stand in a text chunk whose CRC is right.
func FuzzReadText(f *testing.F) {
	var b bytes.Buffer
	if err := EncodePNG(&b, graySolid(1, 1, 0), provenance); err != nil {
		f.Fatal(err)
	}
	f.Add(b.Bytes())
	f.Add([]byte(pngSignature + "\x00\x00\x00\x01iTXta"))
	f.Add([]byte(pngSignature + "\xff\xff\xff\xffIDATa"))
	f.Add([]byte(pngSignature + "\x00\x0f\xff\xfftEXta"))
	f.Add([]byte("key\x00value"))
	f.Add([]byte("key\x00\x00\x00en\x00\x00\xff"))
	f.Add([]byte("key\x00\x01\x00\x00\x00deflated"))
	f.Fuzz(func(t *testing.T, b []byte) {
		end := chunk("IEND", "")
		for _, file := range [][]byte{
			b, slices.Concat([]byte(pngSignature), chunk("tEXt", string(b)), end), slices.Concat([]byte(pngSignature), chunk("iTXt", string(b)), end),
		} {
			var texts []Text
			var err error
			alloctest.Parse(t, len(file), func() { texts, err = ReadText(bytes.NewReader(file)) })
			if err != nil {
				errortest.OneLine(t, err)
			}
			for _, text := range texts {
				if strings.ContainsRune(text.Key, 0) {
					t.Errorf("a key with a zero byte: %q", text.Key)
				}
			}
		}
	})
}

// FuzzText: whatever a key and a value are, they are refused in one line, or written into a PNG file that others read
// and read back the same.
func FuzzText(f *testing.F) {
	for _, text := range provenance {
		f.Add(text.Key, text.Value)
	}
	f.Add("\xff", "latin 1")
	f.Add("key", "\xff\xfe")
	f.Add("key", "zero \x00 byte")
	f.Add("key ", "x")
	f.Add("two  spaces", "x")
	f.Add(strings.Repeat("k", 80), "x")
	f.Add("key", "\r\n\x7f\u00a0\u2028\U0010ffff")
	f.Fuzz(func(t *testing.T, key, value string) {
		want := []Text{{key, value}, {"after", "it"}}
		var b bytes.Buffer
		var err error
		alloctest.Parse(t, len(key)+len(value), func() { err = EncodePNG(&b, graySolid(2, 1, 7), want) })
		if err != nil {
			errortest.OneLine(t, err)
			if b.Len() > 0 {
				t.Errorf("%d bytes were written in spite of %v", b.Len(), err)
			}
			return
		}
		if _, err := png.Decode(bytes.NewReader(b.Bytes())); err != nil {
			t.Error(err)
		}
		if got, err := ReadText(&b); err != nil || !slices.Equal(got, want) {
			t.Errorf("%q were read back as %q, %v", want, got, err)
		}
	})
}

// More texts than a program writes are refused, before they take memory.
func TestManyTextsAreRefused(t *testing.T) {
	b := []byte(pngSignature)
	for range 1 << 18 {
		b = append(b, chunk("tEXt", "k\x00")...)
	}
	alloctest.Within(t, 2<<20, func() {
		_, err := ReadText(bytes.NewReader(b))
		wantError(t, err, "more than 4096 texts")
	})
	wantError(t, EncodePNG(&bytes.Buffer{}, graySolid(1, 1, 0), make([]Text, maxTexts+1)), "4097 texts")
}
