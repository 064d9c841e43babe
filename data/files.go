package data

import (
	"bufio"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"unstir/internal/ctxio"
)

// FileError is a file that is not what it should be.
type FileError struct {
	Path string
	Want string // what was expected, in words
	Got  string // what was found
	Err  error  // what lies behind it, or nil
}

func (e *FileError) Error() string {
	return fmt.Sprintf("%s: expected %s, found %s", e.Path, e.Want, e.Got)
}

func (e *FileError) Unwrap() error { return e.Err }

// deflateRatio is the most that deflate can expand its input.
const deflateRatio = 1032

// input is an open file, decompressed on the way where it is gzip.
type input struct {
	path   string
	r      io.Reader
	gz     bool
	size   int64  // bytes of the file itself
	first  []byte // its first two bytes, fewer where it is shorter
	closer io.Closer
}

func openInput(ctx context.Context, path string) (*input, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	st, err := f.Stat()
	if err == nil && !st.Mode().IsRegular() {
		err = &FileError{Path: path, Want: "a file", Got: "a " + st.Mode().Type().String()}
	}
	var in *input
	if err == nil {
		in, err = newInput(ctx, path, f, st.Size())
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	in.closer = f
	return in, nil
}

// newInput sees by the first two bytes whether the file is gzip: names lie.
func newInput(ctx context.Context, path string, f io.Reader, size int64) (*input, error) {
	br := bufio.NewReaderSize(ctxio.Reader(ctx, f), 1<<16)
	in := &input{path: path, r: br, size: size}
	magic, _ := br.Peek(2) // an error comes again with the first read
	in.first = append(in.first, magic...)
	if string(magic) == "\x1f\x8b" {
		in.gz = true
		z, err := gzip.NewReader(br)
		if err != nil {
			return nil, in.readError("a gzip file", 0, err)
		}
		in.r = z
	}
	return in, nil
}

func (in *input) Close() error { return in.closer.Close() }

// limit is the most bytes that r can give.
func (in *input) limit() int64 {
	if in.gz {
		return in.size * deflateRatio
	}
	return in.size
}

// read fills p, or says that want was expected where the file ends too early.
// done is the number of bytes read before.
func (in *input) read(p []byte, done int64, want string) error {
	n, err := io.ReadFull(in.r, p)
	if err != nil {
		return in.readError(want, done+int64(n), err)
	}
	return nil
}

// end says that want was expected where the file goes on. For gzip it checks
// the checksum too.
func (in *input) end(done int64, want string) error {
	var one [1]byte
	switch _, err := io.ReadFull(in.r, one[:]); err {
	case io.EOF:
		return nil
	case nil:
		return &FileError{Path: in.path, Want: want, Got: "more bytes behind them"}
	default:
		return in.readError(want, done, err)
	}
}

func (in *input) readError(want string, done int64, err error) error {
	switch {
	case errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded):
		return err
	case errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF):
		got := fmt.Sprintf("the end of the file after %d bytes", done)
		if in.gz {
			got = fmt.Sprintf("the end of the gzip data after %d bytes unpacked (the file has %d bytes and is cut off)", done, in.size)
		}
		return &FileError{Path: in.path, Want: want, Got: got, Err: io.ErrUnexpectedEOF}
	case in.gz || errors.Is(err, gzip.ErrHeader):
		return &FileError{Path: in.path, Want: want, Got: fmt.Sprintf("damaged gzip data after %d bytes unpacked (%v)", done, err), Err: err}
	}
	return fmt.Errorf("reading %s: %w", in.path, err)
}

// body reads n bytes. A header may lie: what is allocated at once stays near
// the file's real length.
func (in *input) body(n, done int64, want string) ([]byte, error) {
	buf := make([]byte, min(n, 8*in.size+1024))
	for have := int64(0); ; {
		if err := in.read(buf[have:], done+have, want); err != nil {
			return nil, err
		}
		if have = int64(len(buf)); have == n {
			return buf, nil
		}
		grown := make([]byte, min(n, 2*have))
		copy(grown, buf)
		buf = grown
	}
}
