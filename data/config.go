package data

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
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
}

// MaxSide is the largest height or width of an image, in pixels.
const MaxSide = 4096

// Size is a height and a width in pixels. In TOML it is one integer for both or
// [height, width]. The zero Size, 0 in TOML, is "as it is".
type Size struct{ H, W int }

// ConfigError is a setting that cannot be.
type ConfigError struct {
	Key   string // such as "data.dataset"
	Value string // as a config file shows it
	Legal string // what would be right, in words
}

func (e *ConfigError) Error() string {
	return fmt.Sprintf("%s = %s: %s", e.Key, e.Value, e.Legal)
}

// Validate reports every setting that cannot be, each as a [*ConfigError].
// Whether the files exist is for [Open] to see.
func (c Config) Validate() error {
	var errs []error
	if catalog[c.Dataset] == nil {
		quoted := make([]string, 0, len(Names()))
		for _, n := range Names() {
			quoted = append(quoted, strconv.Quote(n))
		}
		errs = append(errs, &ConfigError{"data.dataset", strconv.Quote(c.Dataset),
			"no such dataset; legal values are " + strings.Join(quoted, ", ")})
	}
	if err := c.Size.check(); err != nil {
		errs = append(errs, &ConfigError{"data.size", c.Size.String(), err.Error()})
	}
	if c.Channels != 0 && c.Channels != 1 && c.Channels != 3 {
		errs = append(errs, &ConfigError{"data.channels", strconv.Itoa(c.Channels),
			"legal values are 1 (gray), 3 (RGB) and 0 (what the dataset has)"})
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

var errSize = fmt.Errorf("legal values are an integer or [height, width], each from 1 to %d, and 0 (the size the images have)", MaxSide)

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
	wrong := func() error { return &ConfigError{"data.size", fmt.Sprint(v), errSize.Error()} }
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
			return wrong()
		}
		h, okH := side(list[0])
		w, okW := side(list[1])
		if !okH || !okW {
			return wrong()
		}
		got = Size{h, w}
	}
	if got.check() != nil {
		return wrong()
	}
	*s = got
	return nil
}
