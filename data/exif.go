package data

import (
	"bytes"
	"encoding/binary"
)

// upright is the EXIF orientation of a picture that is stored as it is seen.
const upright = 1

// exifOrientation reads the tag Orientation, 1 to 8, from the first directory
// of a TIFF structure (EXIF 2.32, section 4.6.4 A). It is 1 where the tag is
// missing or anything is wrong: broken EXIF never spoils a picture.
func exifOrientation(b []byte) int {
	const (
		tag   = 0x0112
		short = 3
		entry = 12 // bytes: tag, type, count, value
	)
	var order binary.ByteOrder = binary.LittleEndian
	switch {
	case len(b) < 8:
		return upright
	case string(b[:4]) == "MM\x00*":
		order = binary.BigEndian
	case string(b[:4]) != "II*\x00":
		return upright
	}
	first := int64(order.Uint32(b[4:]))
	if first > int64(len(b)-2) {
		return upright
	}
	entries := b[first+2:]
	n := min(int(order.Uint16(b[first:])), len(entries)/entry)
	for i := range n {
		e := entries[i*entry:]
		if order.Uint16(e) != tag {
			continue
		}
		o := int(order.Uint16(e[8:]))
		if order.Uint16(e[2:]) != short || order.Uint32(e[4:]) != 1 || o < 1 || o > 8 {
			return upright
		}
		return o
	}
	return upright
}

// exifHead begins the EXIF data of a JPEG, and of some WebP files.
var exifHead = []byte("Exif\x00\x00")

// jpegEXIF is the TIFF structure of the first APP1 segment with EXIF data.
func jpegEXIF(b []byte) []byte {
	const app1, sos, eoi = 0xe1, 0xda, 0xd9
	for at := 2; at+4 <= len(b) && b[at] == 0xff; {
		marker := b[at+1]
		switch {
		case marker == 0xff: // a filling byte
			at++
			continue
		case marker == sos || marker == eoi:
			return nil
		case marker == 0x01 || marker >= 0xd0 && marker <= 0xd7: // without a length
			at += 2
			continue
		}
		n := int(binary.BigEndian.Uint16(b[at+2:]))
		if n < 2 || n > len(b)-at-2 {
			return nil
		}
		if tiff, ok := bytes.CutPrefix(b[at+4:at+2+n], exifHead); ok && marker == app1 {
			return tiff
		}
		at += 2 + n
	}
	return nil
}

// pngEXIF is the content of the chunk eXIf, which may follow the pixels.
func pngEXIF(b []byte) (tiff []byte) {
	pngChunks(b, func(kind string, data []byte) bool {
		if kind == "eXIf" {
			tiff = bytes.TrimPrefix(data, exifHead)
		}
		return tiff == nil
	})
	return tiff
}

// webpEXIF is the content of the chunk EXIF.
func webpEXIF(b []byte) (tiff []byte) {
	webpChunks(b, func(kind string, data []byte) bool {
		if kind == "EXIF" {
			tiff = bytes.TrimPrefix(data, exifHead)
		}
		return tiff == nil
	})
	return tiff
}
