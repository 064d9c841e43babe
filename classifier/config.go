// Package classifier builds a small convolutional network that tells the classes of images, as a Gorgonia graph: its
// features measure the quality of samples, and one that reads noisy images can guide a diffusion model.
//
// Model holds weights; Predictor runs them; Gradient differentiates the cross-entropy for training.
package classifier

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"

	"unstir/internal/oneline"
	"unstir/internal/setting"
)

// Config describes a classifier. Channels, Features and Noisy are the [classifier] table of a run's configuration; the
// other fields follow from its data.
type Config struct {
	Channels []int `toml:"channels" json:"channels"` // of each level; each level but the first halves the sides
	Features int   `toml:"features" json:"features"` // values of an image after global average pooling
	Noisy    bool  `toml:"noisy" json:"noisy"`       // it reads x_t and t: p(class | x_t, t)

	InChannels int `toml:"-" json:"in_channels"` // of an image
	Height     int `toml:"-" json:"height"`      // rows of an image
	Width      int `toml:"-" json:"width"`       // columns of an image
	Classes    int `toml:"-" json:"num_classes"`
}

// className is the "_class_name" of a classifier's config.json, which tells it from a UNet's.
const className = "Classifier"

// Limits of what a configuration may declare, which keep derived sizes from overflowing.
const (
	maxLevels   = 8
	maxChannels = 1 << 12
	maxFeatures = 1 << 12
	maxClasses  = 1 << 20
	maxSide     = 1 << 16
)

// groups is the number of groups of every norm.
const groups = 8

// Defaults are the values of keys that a configuration leaves out. Channels has none.
func Defaults() Config { return Config{Features: 64} }

// Validate checks the keys of the [classifier] table; an error names the key, its value and what would be right.
func (c Config) Validate() error {
	bad := func(key string, value any, want string, args ...any) error {
		return &setting.Error{Table: "classifier", Key: key, Value: fmt.Sprint(value), Want: fmt.Sprintf(want, args...)}
	}
	if n := len(c.Channels); n < 1 || n > maxLevels {
		return bad("channels", c.Channels, "it must have one number of channels for each of 1 to %d levels", maxLevels)
	}
	for _, ch := range c.Channels {
		if ch < groups || ch > maxChannels || ch%groups != 0 {
			return bad("channels", c.Channels, "each must be a multiple of %d from %d to %d", groups, groups, maxChannels)
		}
	}
	if c.Features < 1 || c.Features > maxFeatures {
		return bad("features", c.Features, "it must be from 1 to %d", maxFeatures)
	}
	return nil
}

// validate also checks what follows from the data.
func (c Config) validate() error {
	if err := c.Validate(); err != nil {
		return err
	}
	for _, k := range []struct {
		key         string
		value, most int
	}{{"in_channels", c.InChannels, maxChannels}, {"height", c.Height, maxSide}, {"width", c.Width, maxSide}, {"num_classes", c.Classes, maxClasses}} {
		if k.value < 1 || k.value > k.most {
			return &setting.Error{Key: k.key, Value: fmt.Sprint(k.value), Want: fmt.Sprintf("it must be from 1 to %d", k.most)}
		}
	}
	return nil
}

// maxConfig bounds a configuration's text, in bytes.
const maxConfig = 1 << 16

// file is config.json.
type file struct {
	Class string `json:"_class_name"`
	Config
}

// ParseConfig reads a classifier/config.json. It has to have every key, and no other.
func ParseConfig(data []byte) (Config, error) {
	c, err := parseConfig(data)
	if err != nil {
		return Config{}, oneline.Error(fmt.Errorf("classifier: configuration: %w", err))
	}
	return c, nil
}

func parseConfig(data []byte) (Config, error) {
	if len(data) > maxConfig {
		return Config{}, fmt.Errorf("%d bytes are more than the limit of %d", len(data), maxConfig)
	}
	var f file
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	if err := d.Decode(&f); err != nil {
		return Config{}, fmt.Errorf("%s", strings.TrimPrefix(err.Error(), "json: "))
	}
	if len(bytes.TrimSpace(data[d.InputOffset():])) > 0 {
		return Config{}, fmt.Errorf("there is more after the JSON object")
	}
	if f.Class != className {
		return Config{}, fmt.Errorf("_class_name is %q; it must be %q", f.Class, className)
	}
	return f.Config, f.validate()
}

// JSON writes the configuration as a classifier/config.json.
func (c Config) JSON() ([]byte, error) {
	out, err := json.MarshalIndent(file{className, c}, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("classifier: write the configuration: %w", err)
	}
	return append(out, '\n'), nil
}
