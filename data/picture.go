package data

import (
	"bytes"
	"errors"
	"fmt"
	"image"
	"io"
	"os"
)

const (
	// maxImagePixels is the largest picture that is decoded: 16384 x 4096.
	maxImagePixels = 1 << 26
	// maxPictureBytes is the largest file that is read as a picture.
	maxPictureBytes = 1 << 30
)

// wantPicture is what a file of pictures has to be, in words.
const wantPicture = "a picture (PNG, JPEG, WebP, GIF or BMP)"

// ReadPicture reads a picture as its owner sees it: its content, not its name,
// decides the format, and it is turned upright as its EXIF orientation says. PNG, JPEG, WebP, GIF and BMP are read. Other formats and animations
// of more than one frame are a [*FileError] that wraps [errors.ErrUnsupported],
// and what cannot be decoded is a [*FileError], too.
func ReadPicture(path string) (image.Image, error) {
	b, err := readPictureFile(path)
	if err != nil {
		return nil, err
	}
	return decodePicture(path, b)
}

// decodePicture is [ReadPicture] of a file's content; errors call it name.
func decodePicture(name string, b []byte) (image.Image, error) {
	p, err := parsePicture(name, b)
	if err != nil {
		return nil, err
	}
	return p.decode()
}

// readPictureFile reads a file that may be anything, without waiting for a pipe.
func readPictureFile(path string) ([]byte, error) {
	st, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !st.Mode().IsRegular() {
		return nil, &FileError{Path: path, Want: wantPicture, Got: kindOfFile(st.Mode())}
	}
	if st.Size() > maxPictureBytes {
		return nil, &FileError{Path: path, Want: fmt.Sprintf("a picture of at most %d bytes", maxPictureBytes), Got: fmt.Sprintf("%d bytes", st.Size())}
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b := make([]byte, st.Size())
	if n, err := io.ReadFull(f, b); err == io.ErrUnexpectedEOF || err == io.EOF {
		b = b[:n] // it has been cut since
	} else if err != nil {
		return nil, err
	}
	return b, nil
}

// kindOfFile names the kind of a file that is not regular.
func kindOfFile(m os.FileMode) string {
	switch {
	case m.IsDir():
		return "a directory"
	case m&os.ModeNamedPipe != 0:
		return "a pipe"
	case m&os.ModeSocket != 0:
		return "a socket"
	case m&os.ModeDevice != 0:
		return "a device"
	}
	return "not a regular file"
}

// picture is a picture whose header has been looked at.
type picture struct {
	name        string
	format      *format
	bytes       []byte
	stored      image.Point // width and height in the file
	orientation int         // EXIF's, 1 to 8
}

// parsePicture reads a picture's header, before anything of its size is allocated: a
// header may promise any size.
func parsePicture(name string, b []byte) (*picture, error) {
	f := formatOf(b)
	if f == nil {
		if u := otherFormat(b); u != nil {
			return nil, u.in(name)
		}
		return nil, &FileError{Path: name, Want: wantPicture, Got: describeBytes(b)}
	}
	if f.frames != nil && f.frames(b) > 1 {
		return nil, animated(f).in(name)
	}
	c, err := f.config(bytes.NewReader(b))
	if err != nil {
		return nil, f.undecodable(name, b, err)
	}
	n := int64(c.Width) * int64(c.Height)
	if c.Width < 1 || c.Height < 1 || n > maxImagePixels || n > f.holds(b) {
		return nil, &FileError{Path: name, Want: fmt.Sprintf("an image of 1 to %d pixels that its bytes can hold", maxImagePixels),
			Got: fmt.Sprintf("%d x %d in the header of a %s file of %d bytes", c.Height, c.Width, f.name, len(b))}
	}
	p := &picture{name: name, format: f, bytes: b, stored: image.Pt(c.Width, c.Height), orientation: upright}
	if f.exif != nil {
		p.orientation = exifOrientation(f.exif(b))
	}
	return p, nil
}

// size is the upright picture's width and height.
func (p *picture) size() image.Point {
	if swapsSides(p.orientation) {
		return image.Pt(p.stored.Y, p.stored.X)
	}
	return p.stored
}

func (p *picture) decode() (image.Image, error) {
	img, err := p.format.decode(bytes.NewReader(p.bytes))
	if err != nil {
		return nil, p.format.undecodable(p.name, p.bytes, err)
	}
	if got := img.Bounds().Size(); got != p.stored {
		return nil, &FileError{Path: p.name, Want: fmt.Sprintf("an image of %d x %d as in its header", p.stored.Y, p.stored.X),
			Got: fmt.Sprintf("%d x %d", got.Y, got.X)}
	}
	return turn(img, p.orientation), nil
}

// undecodable is the error of a damaged file of a known format.
func (f *format) undecodable(name string, b []byte, err error) error {
	return &FileError{Path: name, Want: "a whole " + f.name + " picture", Got: fmt.Sprintf("%d bytes that do not decode (%v)", len(b), err), Err: err}
}

// unread is a kind of picture that is recognised but not supported.
type unread struct {
	one, many string // such as "a HEIC picture", "HEIC pictures"
	do        string // what makes it readable
}

func (u *unread) Error() string        { return u.many + " are not read; " + u.do }
func (u *unread) Is(target error) bool { return target == errors.ErrUnsupported }

func (u *unread) in(path string) error {
	return &FileError{Path: path, Want: wantPicture, Got: u.one + "; " + u.do, Err: u}
}

func animated(f *format) *unread {
	return &unread{"an animated " + f.name, "animated " + f.name + "s", "save the frames that are wanted as PNG"}
}
