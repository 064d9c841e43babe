package data

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"unstir/internal/setting"
)

// Config is the table [data] of a training config.
type Config struct {
	// Dataset is one of [Names].
	Dataset string `toml:"dataset"`
	// Dir is a directory that holds the files, itself or in a subdirectory of
	// the dataset's name. Empty: the cache, then a download. "folder" needs it.
	Dir string `toml:"dir"`
	// Flip mirrors each image left to right with probability 1/2.
	Flip bool `toml:"flip"`
	// Size is what images are resized to, after a centre crop to its aspect
	// ratio; zero: the size they have.
	Size Size `toml:"size"`
	// Channels is 1 (gray) or 3 (RGB); 0: what the dataset has, for "folder" 3.
	Channels int `toml:"channels"`
	// Holdout is the share of a folder's pictures, below 1, that is kept out of
	// the training split and is the test split. The SHA-256 of a picture's file decides, so that
	// a picture stays on its side when others come or go, and a copy goes where
	// the original goes. 0: no picture is held out, and there is no test split.
	Holdout float64 `toml:"holdout"`
}

// MaxSide is the largest height or width of an image, in pixels.
const MaxSide = 4096

// Size is a height and a width in pixels. In TOML it is one integer for both or
// [height, width]. The zero Size, 0 in TOML, is "as it is".
type Size struct{ H, W int }

// wrong is the error of a key whose value cannot be.
func wrong(key, value, want string) error {
	return &setting.Error{Table: "data", Key: key, Value: value, Want: want}
}

// Validate reports every setting that cannot be, with its key, its value and
// what would be right. Whether the files exist is for [Open] to see.
func (c Config) Validate() error {
	var errs []error
	if catalog[c.Dataset] == nil {
		quoted := make([]string, 0, len(Names()))
		for _, n := range Names() {
			quoted = append(quoted, strconv.Quote(n))
		}
		errs = append(errs, wrong("dataset", strconv.Quote(c.Dataset), "it must be one of "+strings.Join(quoted, ", ")))
	}
	if err := c.Size.check(); err != nil {
		errs = append(errs, wrong("size", c.Size.String(), err.Error()))
	}
	if c.Channels != 0 && c.Channels != 1 && c.Channels != 3 {
		errs = append(errs, wrong("channels", strconv.Itoa(c.Channels), "it must be 1 (gray), 3 (RGB) or 0 (what the dataset has)"))
	}
	holdout := strconv.FormatFloat(c.Holdout, 'g', -1, 64)
	switch {
	case !(c.Holdout >= 0 && c.Holdout < 1):
		errs = append(errs, wrong("holdout", holdout, "it must be at least 0 and less than 1, such as 0.1"))
	case c.Holdout > 0 && c.Dataset != Folder:
		errs = append(errs, wrong("holdout", holdout, "it must be 0, as only of a \"folder\" a part is held out"))
	}
	return errors.Join(errs...)
}

// String is the Size as TOML shows it.
func (s Size) String() string {
	if s.H == s.W {
		return strconv.Itoa(s.H)
	}
	return fmt.Sprintf("[%d, %d]", s.H, s.W)
}

var errSize = fmt.Errorf("it must be an integer or [height, width], each from 1 to %d, or 0 (the size the images have)", MaxSide)

func (s Size) check() error {
	if s == (Size{}) || s.H >= 1 && s.H <= MaxSide && s.W >= 1 && s.W <= MaxSide {
		return nil
	}
	return errSize
}

// MarshalTOML implements toml.Marshaler.
func (s Size) MarshalTOML() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalTOML implements toml.Unmarshaler: an integer or [height, width].
func (s *Size) UnmarshalTOML(v any) error {
	bad := func() error { return wrong("size", fmt.Sprint(v), errSize.Error()) }
	side := func(v any) (int, bool) {
		n, ok := v.(int64)
		return int(n), ok && n >= 0 && n <= MaxSide
	}
	var got Size
	if n, ok := side(v); ok {
		got = Size{n, n}
	} else {
		list, ok := v.([]any)
		if !ok || len(list) != 2 {
			return bad()
		}
		h, okH := side(list[0])
		w, okW := side(list[1])
		if !okH || !okW {
			return bad()
		}
		got = Size{h, w}
	}
	if got.check() != nil {
		return bad()
	}
	*s = got
	return nil
}
