package tfevents

import (
	"bytes"
	"encoding/hex"
	"errors"
	"io"
	"math"
	"reflect"
	"strings"
	"testing"
	"testing/iotest"

	"unstir/internal/alloctest"
	"unstir/internal/errortest"
)

// examples are events of every kind.
var examples = []Event{
	{WallTime: 1700000000.25, FileVersion: Version},
	{WallTime: 1700000001, Values: []Value{{Tag: "config", Text: "    name = \"día\"\n"}}},
	{WallTime: 1700000002.5, Step: 1, Values: []Value{{Tag: "train/loss", Scalar: 0.5}, {Tag: "train/lr", Scalar: 1e-4}, {Tag: "zero"}}},
	{WallTime: 1700000003, Step: 1 << 40, Values: []Value{{Tag: "previews", Image: &Image{Height: 2, Width: 300, Colors: 3, Data: []byte("\x89PNG")}}}},
}

// The bytes are those that PyPI's tensorboard 2.21.0 writes of the same events.
func TestBytes(t *testing.T) {
	for i, want := range []string{
		"1800000000000000a37f4b220900001040fc54d9411a0d627261696e2e4576656e743a32338d2fe9",
		"3d000000000000006049f1ec0900004040fc54d9412a320a300a06636f6e666967421c08071204120208014212202020206e616d65203d202264c3ad61220a4a080a060a0474657874eed831e3",
		"3e00000000000000d9d240e7090000a040fc54d94110012a310a110a0a747261696e2f6c6f7373150000003f0a0f0a08747261696e2f6c721517b7d1380a0b0a047a65726f15000000008344b596",
		"2d000000000000003c418afb090000c040fc54d941108080808080202a1b0a190a087072657669657773220d080210ac021803220489504e478a0b4699",
	} {
		if got := hex.EncodeToString(AppendRecord(nil, examples[i].Encode())); got != want {
			t.Errorf("event %d is\n%s\nwant\n%s", i, got, want)
		}
	}
}

func TestEventsRoundTrip(t *testing.T) {
	var file []byte
	ends := []int64{}
	for _, e := range examples {
		file = AppendRecord(file, e.Encode())
		ends = append(ends, int64(len(file)))
	}
	r := NewReader(iotest.OneByteReader(bytes.NewReader(file)))
	for i, want := range examples {
		data, err := r.Next()
		if err != nil || r.Offset() != ends[i] {
			t.Fatalf("event %d ends at %d, want %d (%v)", i, r.Offset(), ends[i], err)
		}
		if got, err := Decode(data); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("event %d is %+v (%v), want %+v", i, got, err, want)
		}
	}
	if _, err := r.Next(); err != io.EOF {
		t.Errorf("at the end: %v", err)
	}
}

// A file that was cut anywhere, or of which any bit is another, gives the records before.
func TestDamageIsFound(t *testing.T) {
	record := AppendRecord(nil, examples[2].Encode())
	file := append(append([]byte{}, record...), record...)
	read := func(b []byte) (n int, err error) {
		r := NewReader(bytes.NewReader(b))
		for {
			if _, err = r.Next(); err != nil {
				return n, err
			}
			n++
		}
	}
	for cut := 1; cut < len(record); cut++ {
		if n, err := read(file[:len(record)+cut]); n != 1 || err != io.ErrUnexpectedEOF {
			t.Errorf("cut after %d bytes: %d records, %v", cut, n, err)
		}
	}
	for bit := range 8 * len(record) {
		b := bytes.Clone(file)
		b[len(record)+bit/8] ^= 1 << (bit % 8)
		if n, err := read(b); n != 1 || !errors.Is(err, ErrCorrupt) {
			t.Errorf("with bit %d flipped: %d records, %v", bit, n, err)
		}
	}
}

// A length that is far too large is refused, and one that the file does not have takes no memory.
func TestALengthIsNotBelieved(t *testing.T) {
	claim := func(n uint64) []byte {
		head := make([]byte, 8, 12)
		for i := range head {
			head[i] = byte(n >> (8 * i))
		}
		sum := checksum(head)
		return append(head, byte(sum), byte(sum>>8), byte(sum>>16), byte(sum>>24))
	}
	for _, n := range []uint64{MaxRecord + 1, math.MaxInt64, math.MaxUint64} {
		_, err := NewReader(bytes.NewReader(claim(n))).Next()
		if !errors.Is(err, ErrCorrupt) || !strings.Contains(err.Error(), "at most 67108864 are read") {
			t.Errorf("%d bytes: %v", n, err)
		}
	}
	alloctest.Within(t, 1<<20, func() {
		if _, err := NewReader(bytes.NewReader(claim(MaxRecord))).Next(); err != io.ErrUnexpectedEOF {
			t.Error(err)
		}
	})
}

// FuzzRead: whatever a file is, reading it ends with an error of one line, and what was read is written and read back
// the same.
func FuzzRead(f *testing.F) {
	var file []byte
	for _, e := range examples {
		file = AppendRecord(file, e.Encode())
		f.Add(e.Encode(), true)
	}
	f.Add(file, false)
	f.Add(file[:len(file)-1], false)
	f.Fuzz(func(t *testing.T, b []byte, framed bool) {
		if framed {
			b = AppendRecord(nil, b)
		}
		alloctest.Parse(t, len(b), func() {
			for r := NewReader(bytes.NewReader(b)); ; {
				data, err := r.Next()
				if err != nil {
					errortest.OneLine(t, err)
					return
				}
				e, err := Decode(data)
				if err != nil {
					errortest.OneLine(t, err)
					continue
				}
				again, err := Decode(e.Encode())
				if err != nil || !bytes.Equal(again.Encode(), e.Encode()) {
					t.Errorf("%+v is read back as %+v (%v)", e, again, err)
				}
			}
		})
	})
}
