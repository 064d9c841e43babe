// Package configs is the whole configuration of a training run: a TOML file
// that composes the Config structs of the packages it configures, and presets
// of such files in the program.
//
// A file says only what differs from the defaults. Four keys have no default:
// data.dataset, train.steps, model.block_out_channels and, where one of them is
// given, the other of model.down_block_types and model.up_block_types. A file
// with a table [classifier] trains a classifier instead of a UNet: then
// classifier.channels takes the place of the model's keys. A key
// that does not exist, a value of the wrong type and a value that cannot be are
// errors that name the file, the line, the key and what would be right.
package configs

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"

	"unstir/classifier"
	"unstir/data"
	"unstir/diffusion"
	"unstir/internal/oneline"
	"unstir/train"
	"unstir/unet"
)

// Config is a training run. [Load] and [Parse] read one; one that is put
// together in a program starts from [Default] and ends with [Config.Resolve].
//
// In Model, three keys follow from the data: in_channels, out_channels and
// sample_size are 0 until [Config.Fit] fills them in. block_out_channels has
// one number of channels for each level. Where both down_block_types and
// up_block_types are left out, every level but the deepest is a DownBlock2D on
// the way down and an UpBlock2D on the way up, and the deepest has attention:
// AttnDownBlock2D and AttnUpBlock2D. All other keys default as in diffusers.
//
// A config whose Classifier has Channels trains that. Then it has no Model and
// no Preview, and a Scheduler only for a noisy classifier.
type Config struct {
	Name       string                 `toml:"name"` // of the run: its directory is runs/NAME; by default the file's name
	Seed       uint64                 `toml:"seed"` // of every random number; at most 2^63-1, TOML's largest integer
	Data       data.Config            `toml:"data"`
	Model      unet.Config            `toml:"model"`
	Classifier classifier.Config      `toml:"classifier"`
	Scheduler  diffusion.Config       `toml:"scheduler"`
	Train      train.Config           `toml:"train"`
	EMA        train.EMAConfig        `toml:"ema"`
	Checkpoint train.CheckpointConfig `toml:"checkpoint"`
	Preview    train.PreviewConfig    `toml:"preview"`
	Log        train.LogConfig        `toml:"log"`

	origin *origin // where the keys were set; nil for a config that was not read
}

// Error is a setting that cannot be, or a file that cannot be understood: the
// user's to put right. Several at once are joined with errors.Join; errors.As
// finds the first.
type Error struct {
	File string // the file, the preset or the flag, as the user gave it; may be empty
	Line int    // from 1; 0: not known, or the key is not in the file
	Key  string // such as "train.lr"; may be empty
	Msg  string // what is wrong and what would be right; names the key
}

// Error is one line of printable text, whatever the file has in it.
func (e *Error) Error() string {
	switch {
	case e.File == "":
		return oneline.Text(e.Msg)
	case e.Line == 0:
		return oneline.Text(e.File + ": " + e.Msg)
	}
	return oneline.Text(fmt.Sprintf("%s:%d: %s", e.File, e.Line, e.Msg))
}

// Default is what the keys that a file leaves out are. It is not complete: see
// [Config].
func Default() Config {
	c := Config{Model: unet.Defaults(), Classifier: classifier.Defaults(), Scheduler: diffusion.Defaults()}
	c.Train, c.EMA, c.Checkpoint, c.Preview = train.Defaults()
	c.Log = train.DefaultLog()
	c.Model.InChannels, c.Model.OutChannels = 0, 0
	c.Model.BlockOutChannels, c.Model.DownBlockTypes, c.Model.UpBlockTypes = nil, nil, nil
	return c
}

// Load reads the file of that name; where there is no such file, the preset of
// that name, which may leave ".toml" out. Each of sets is "key=value", such as
// "train.lr=1e-4", and overrides the file; a string needs no quotes.
//
// The errors are of type [*Error], except where a file is there and cannot be
// read.
func Load(fileOrPreset string, sets []string) (*Config, error) {
	info, err := os.Stat(fileOrPreset)
	if err == nil && !info.IsDir() {
		text, err := readFile(fileOrPreset)
		if err != nil {
			return nil, fmt.Errorf("read the config: %w", err)
		}
		return Parse(text, fileOrPreset, sets)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("read the config: %w", err)
	}
	name := strings.TrimSuffix(fileOrPreset, ".toml")
	if text, err := Preset(name); err == nil {
		return Parse(text, "preset "+name+".toml", sets)
	}
	what := "no such file or preset"
	if err == nil {
		what = "it is a directory, and there is no such preset"
	}
	return nil, &Error{File: fileOrPreset, Msg: what + "; the presets are " + strings.Join(Presets(), ", ")}
}

// readFile reads a file, but of one that is too long only enough for Parse to refuse it.
func readFile(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, maxBytes+1))
}

// Parse reads a config from TOML. The name stands for the file in errors and,
// without its directory and extension, is the run's name where the text has
// none. For sets see [Load]. All errors are of type [*Error].
func Parse(text []byte, name string, sets []string) (*Config, error) {
	c := Default()
	if base := strings.TrimSuffix(filepath.Base(name), ".toml"); checkName(base) == nil {
		c.Name = base
	} else {
		c.Name = "model"
	}
	c.origin = &origin{file: name, places: map[string]place{}}
	if err := c.decode(text); err != nil {
		return nil, err
	}
	if err := c.override(sets); err != nil {
		return nil, err
	}
	if err := c.Resolve(); err != nil {
		return nil, err
	}
	return &c, nil
}

// IsClassifier tells whether the run trains a classifier.
func (c *Config) IsClassifier() bool {
	return len(c.Classifier.Channels) > 0 || slices.ContainsFunc(fields, func(f field) bool { return f.table == "classifier" && c.given(f.key()) }) || c.given("classifier")
}

// has tells whether a table is one of the run's kind.
func (c *Config) has(table string) bool {
	switch table {
	case "model", "preview":
		return !c.IsClassifier()
	case "classifier":
		return c.IsClassifier()
	case "scheduler":
		return !c.IsClassifier() || c.Classifier.Noisy
	}
	return true
}

// Resolve fills in what follows from other keys and needs no data, the block
// types, and validates the whole.
func (c *Config) Resolve() error {
	if c.IsClassifier() && !c.given("preview.every") {
		c.Preview.Every = 0
	}
	m := &c.Model
	if n := len(m.BlockOutChannels); n > 0 && len(m.DownBlockTypes) == 0 && len(m.UpBlockTypes) == 0 {
		m.DownBlockTypes, m.UpBlockTypes = make([]string, n), make([]string, n)
		for i := range n {
			m.DownBlockTypes[i], m.UpBlockTypes[i] = "DownBlock2D", "UpBlock2D"
		}
		m.DownBlockTypes[n-1], m.UpBlockTypes[0] = "AttnDownBlock2D", "AttnUpBlock2D"
	}
	return c.Validate()
}

// Fit fills in what follows from the dataset, which is open by now: the model's
// in_channels, out_channels and sample_size, where they are 0. One that was
// given and differs from the data is an error, and so is an image that the
// model cannot halve often enough. On an error c is as it was. A classifier
// takes any images.
func (c *Config) Fit(info data.Info) error {
	if c.IsClassifier() {
		return nil
	}
	m := c.Model
	size := unet.Size{H: info.Height, W: info.Width}
	var errs []error
	differs := func(key string, given, have any) {
		errs = append(errs, c.fault(key, fmt.Sprintf("%s is %s, but that of the dataset %s is %s; leave the key out to take it from the data",
			key, literal(given), info.Name, literal(have))))
	}
	for _, ch := range []struct {
		key   string
		value *int
	}{{"model.in_channels", &m.InChannels}, {"model.out_channels", &m.OutChannels}} {
		if *ch.value == 0 {
			*ch.value = info.Channels
		} else if *ch.value != info.Channels {
			differs(ch.key, *ch.value, info.Channels)
		}
	}
	if m.SampleSize == (unet.Size{}) {
		m.SampleSize = size
		if err := m.CheckSize(size.H, size.W); err != nil {
			errs = append(errs, c.fault("data.size", fmt.Sprintf("the dataset %s does not fit the model: %v; set data.size, or give model.block_out_channels fewer levels",
				info.Name, err)))
		}
	} else if m.SampleSize != size {
		differs("model.sample_size", m.SampleSize, size)
	}
	if len(errs) > 0 {
		return errors.Join(errs...)
	}
	c.Model = m
	return nil
}

// Equal tells whether two configs have the same settings, wherever they were
// read.
func (c Config) Equal(o Config) bool {
	c.origin, o.origin = nil, nil
	return reflect.DeepEqual(c, o)
}

// Keys lists every key that a file or --set may give, in the order of
// [Config.TOML].
func Keys() []string {
	keys := make([]string, len(fields))
	for i, f := range fields {
		keys[i] = f.key()
	}
	return keys
}

// origin is where the keys of a config were set.
type origin struct {
	file   string
	places map[string]place // by key, such as "train.lr", and by table, such as "train"
}

// place is a line of a file, or a flag.
type place struct {
	file string
	line int // 0: a flag, or not known
}

// given tells whether a key was set, in the file or by a flag.
func (c *Config) given(key string) bool {
	if c.origin == nil {
		return false
	}
	_, ok := c.origin.places[key]
	return ok
}

// fault is an Error about a key, at the line that gives it.
func (c *Config) fault(key, msg string) *Error {
	e := &Error{Key: key, Msg: msg}
	if c.origin != nil {
		e.File = c.origin.file
		if p, ok := c.origin.places[key]; ok {
			e.File, e.Line = p.file, p.line
		}
	}
	return e
}

// missing is an Error about a key that has no default, at the line of its
// table.
func (c *Config) missing(key, want string) *Error {
	e := c.fault(key, key+" is missing; "+want)
	if c.origin != nil {
		table, _, _ := strings.Cut(key, ".")
		e.Line = c.origin.places[table].line
	}
	return e
}

// sorted joins errors in the order of the file's lines.
func sorted(errs []*Error) error {
	slices.SortStableFunc(errs, func(a, b *Error) int { return a.Line - b.Line })
	joined := make([]error, len(errs))
	for i, e := range errs {
		joined[i] = e
	}
	return errors.Join(joined...)
}
