// Package tfevents writes and reads TensorBoard's event files: the few messages that a training run needs, encoded by
// hand over protowire. The messages' generated code would bring TensorFlow's protocol buffers along, and no small Go
// library for them is maintained.
//
// A file is a sequence of TFRecords, each
//
//	uint64 length | uint32 masked CRC-32C of length | byte data[length] | uint32 masked CRC-32C of data
//
// in little-endian order, and each record is a tensorboard.Event (tensorboard/compat/proto/event.proto). The first one
// holds the version of the format, [Version].
package tfevents

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"math"

	"google.golang.org/protobuf/encoding/protowire"
)

// Version is the FileVersion of a file's first event.
const Version = "brain.Event:2"

// MaxRecord is the longest record that is read or should be written, in bytes.
const MaxRecord = 1 << 26

// Event is what happened at one moment. It has a FileVersion or values.
type Event struct {
	WallTime    float64 // seconds since 1970
	Step        int64
	FileVersion string
	Values      []Value
}

// Value is one entry of a summary: a scalar, unless Text or Image is set.
type Value struct {
	Tag    string
	Scalar float32
	Text   string // Markdown
	Image  *Image
}

// Image is an encoded picture.
type Image struct {
	Height, Width int
	Colors        int    // 1 gray, 3 RGB, 4 RGBA
	Data          []byte // a PNG, JPEG or GIF file
}

// Field numbers of the messages.
const (
	eventWallTime    = 1 // double
	eventStep        = 2 // int64
	eventFileVersion = 3 // string
	eventSummary     = 5

	summaryValue = 1

	valueTag      = 1
	valueScalar   = 2 // float
	valueImage    = 4
	valueTensor   = 8
	valueMetadata = 9

	imageHeight = 1
	imageWidth  = 2
	imageColors = 3
	imageData   = 4

	metadataPlugin = 1
	pluginName     = 1

	tensorType    = 1
	tensorShape   = 2
	tensorStrings = 8
	shapeDim      = 2
	dimSize       = 1

	typeString = 7
)

const textPlugin = "text"

// AppendRecord appends a record to dst.
func AppendRecord(dst, data []byte) []byte {
	at := len(dst)
	dst = binary.LittleEndian.AppendUint64(dst, uint64(len(data)))
	dst = binary.LittleEndian.AppendUint32(dst, checksum(dst[at:]))
	dst = append(dst, data...)
	return binary.LittleEndian.AppendUint32(dst, checksum(data))
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// checksum is the masked CRC-32C: rotated and shifted, so that the sum of data that has sums in it is not degenerate.
func checksum(data []byte) uint32 {
	sum := crc32.Checksum(data, castagnoli)
	return (sum>>15 | sum<<17) + 0xa282ead8
}

// Encode is the event as a record's data.
func (e Event) Encode() []byte {
	b := protowire.AppendTag(nil, eventWallTime, protowire.Fixed64Type)
	b = protowire.AppendFixed64(b, math.Float64bits(e.WallTime))
	b = appendInt(b, eventStep, e.Step)
	if e.FileVersion != "" {
		b = appendBytes(b, eventFileVersion, []byte(e.FileVersion))
	}
	var summary []byte
	for _, v := range e.Values {
		summary = appendBytes(summary, summaryValue, v.encode())
	}
	if len(e.Values) > 0 {
		b = appendBytes(b, eventSummary, summary)
	}
	return b
}

func (v Value) encode() []byte {
	b := appendBytes(nil, valueTag, []byte(v.Tag))
	switch {
	case v.Image != nil:
		image := appendInt(nil, imageHeight, int64(v.Image.Height))
		image = appendInt(image, imageWidth, int64(v.Image.Width))
		image = appendInt(image, imageColors, int64(v.Image.Colors))
		image = appendBytes(image, imageData, v.Image.Data)
		return appendBytes(b, valueImage, image)
	case v.Text != "":
		tensor := appendInt(nil, tensorType, typeString)
		tensor = appendBytes(tensor, tensorShape, appendBytes(nil, shapeDim, appendInt(nil, dimSize, 1)))
		tensor = appendBytes(tensor, tensorStrings, []byte(v.Text))
		b = appendBytes(b, valueTensor, tensor)
		return appendBytes(b, valueMetadata, appendBytes(nil, metadataPlugin, appendBytes(nil, pluginName, []byte(textPlugin))))
	}
	b = protowire.AppendTag(b, valueScalar, protowire.Fixed32Type)
	return protowire.AppendFixed32(b, math.Float32bits(v.Scalar))
}

func appendInt(b []byte, field protowire.Number, v int64) []byte {
	if v == 0 {
		return b
	}
	return protowire.AppendVarint(protowire.AppendTag(b, field, protowire.VarintType), uint64(v))
}

func appendBytes(b []byte, field protowire.Number, v []byte) []byte {
	return protowire.AppendBytes(protowire.AppendTag(b, field, protowire.BytesType), v)
}

// Reader reads the records of a file.
type Reader struct {
	r      io.Reader
	data   []byte
	offset int64
}

// NewReader reads from r, in small pieces too.
func NewReader(r io.Reader) *Reader { return &Reader{r: r} }

// ErrCorrupt is wrapped by Next's error where a record's checksum does not hold.
var ErrCorrupt = errors.New("the record is corrupt")

// Next returns the next record's data, which the call after it overwrites. The error is io.EOF at the end of the file,
// and io.ErrUnexpectedEOF where it ends within a record.
func (r *Reader) Next() ([]byte, error) {
	var head [12]byte
	if _, err := io.ReadFull(r.r, head[:]); err != nil {
		return nil, err
	}
	length := binary.LittleEndian.Uint64(head[:8])
	if checksum(head[:8]) != binary.LittleEndian.Uint32(head[8:]) {
		return nil, fmt.Errorf("tfevents: at byte %d: %w: the length's checksum does not hold", r.offset, ErrCorrupt)
	}
	if length > MaxRecord {
		return nil, fmt.Errorf("tfevents: at byte %d: %w: %d bytes, and at most %d are read", r.offset, ErrCorrupt, length, MaxRecord)
	}
	const piece = 1 << 16 // a length may be wrong: memory is taken as the data comes
	r.data = r.data[:0]
	for left := int(length) + 4; left > 0; {
		n := min(left, piece)
		at := len(r.data)
		r.data = append(r.data, make([]byte, n)...)
		if _, err := io.ReadFull(r.r, r.data[at:]); err != nil {
			if errors.Is(err, io.EOF) {
				err = io.ErrUnexpectedEOF
			}
			return nil, err
		}
		left -= n
	}
	data := r.data[:length]
	if checksum(data) != binary.LittleEndian.Uint32(r.data[length:]) {
		return nil, fmt.Errorf("tfevents: at byte %d: %w: the data's checksum does not hold", r.offset, ErrCorrupt)
	}
	r.offset += int64(len(head)) + int64(length) + 4
	return data, nil
}

// Offset is where the last record that Next returned ends, in bytes from the start.
func (r *Reader) Offset() int64 { return r.offset }

// Decode reads an event. Fields that Event does not have are passed over.
func Decode(data []byte) (Event, error) {
	var e Event
	err := fields(data, func(n protowire.Number, v value) (err error) {
		switch n {
		case eventWallTime:
			e.WallTime = math.Float64frombits(v.number)
		case eventStep:
			e.Step = int64(v.number)
		case eventFileVersion:
			e.FileVersion = string(v.bytes)
		case eventSummary:
			return fields(v.bytes, func(n protowire.Number, v value) error {
				if n != summaryValue {
					return nil
				}
				value, err := decodeValue(v.bytes)
				e.Values = append(e.Values, value)
				return err
			})
		}
		return nil
	})
	if err != nil {
		return Event{}, fmt.Errorf("tfevents: not an event: %w", err)
	}
	return e, nil
}

func decodeValue(data []byte) (Value, error) {
	var out Value
	err := fields(data, func(n protowire.Number, v value) error {
		switch n {
		case valueTag:
			out.Tag = string(v.bytes)
		case valueScalar:
			out.Scalar = math.Float32frombits(uint32(v.number))
		case valueImage:
			out.Image = &Image{}
			return fields(v.bytes, func(n protowire.Number, v value) error {
				switch n {
				case imageHeight:
					out.Image.Height = int(int32(v.number))
				case imageWidth:
					out.Image.Width = int(int32(v.number))
				case imageColors:
					out.Image.Colors = int(int32(v.number))
				case imageData:
					out.Image.Data = append([]byte{}, v.bytes...)
				}
				return nil
			})
		case valueTensor:
			return fields(v.bytes, func(n protowire.Number, v value) error {
				if n == tensorStrings {
					out.Text = string(v.bytes)
				}
				return nil
			})
		}
		return nil
	})
	return out, err
}

// value is a field's: a number as its bits, or bytes.
type value struct {
	number uint64
	bytes  []byte
}

var errMalformed = errors.New("a field is malformed or cut off")

// fields calls f for each field of a message.
func fields(data []byte, f func(protowire.Number, value) error) error {
	for len(data) > 0 {
		number, kind, n := protowire.ConsumeTag(data)
		if n < 0 {
			return errMalformed
		}
		data = data[n:]
		var v value
		switch kind {
		case protowire.VarintType:
			v.number, n = protowire.ConsumeVarint(data)
		case protowire.Fixed32Type:
			var bits uint32
			bits, n = protowire.ConsumeFixed32(data)
			v.number = uint64(bits)
		case protowire.Fixed64Type:
			v.number, n = protowire.ConsumeFixed64(data)
		case protowire.BytesType:
			v.bytes, n = protowire.ConsumeBytes(data)
		default:
			n = protowire.ConsumeFieldValue(number, kind, data)
		}
		if n < 0 {
			return errMalformed
		}
		data = data[n:]
		if err := f(number, v); err != nil {
			return err
		}
	}
	return nil
}
