package filekind

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
)

// Open opens a regular file. Anything else is an error: opening a named pipe, for one, would wait for its other end.
// The error wraps fs.ErrNotExist where there is nothing at path; for a dangling link it is CheckLink's.
func Open(path string) (*os.File, error) {
	info, err := os.Stat(path)
	if err != nil {
		if dangling := CheckLink(path); dangling != nil {
			return nil, dangling
		}
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s: not a file", path)
	}
	return os.Open(path)
}

// ReadFile reads a regular file of at most limit bytes. Its errors are Open's, and one for a longer file, of which no
// more than limit bytes are read.
func ReadFile(path string, limit int64) ([]byte, error) {
	f, err := Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err != nil {
		return nil, err
	}
	if int64(len(text)) > limit {
		return nil, fmt.Errorf("%s: longer than the limit of %d bytes", path, limit)
	}
	return text, nil
}

// CheckLink returns an error if path is a dangling link, such as one to a blob that was not downloaded. The error names
// the link's target and does not wrap fs.ErrNotExist.
func CheckLink(path string) error {
	target, err := os.Readlink(path)
	if err != nil {
		return nil // not a link
	}
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%s: it is a link to %s, which is not there (an interrupted download?)", path, target)
	}
	return nil
}
