package samples

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"reflect"
	"strings"

	"unstir/internal/atomicfile"
	"unstir/internal/filekind"
)

// ManifestName is the file that says how the directory's images are made.
const ManifestName = "samples.json"

// Format is the version of the manifest that this program writes and reads.
const Format = 1

// maxManifest bounds the bytes of a manifest.
const maxManifest = 64 << 20

// Manifest is samples.json.
type Manifest struct {
	Format   int         `json:"format"`
	N        int         `json:"n"` // images of the finished set
	Settings Settings    `json:"settings"`
	Origin   Origin      `json:"origin"`
	Texts    [][2]string `json:"texts"` // of each PNG file, beside Software and image: key, value
}

// Settings are what the pixels depend on, with nothing left to a default. A setting that is added later must be left
// out of the file (omitempty) where it has the value that it always had before.
type Settings struct {
	Model            string `json:"model"` // unstir.Pipeline.Hash
	Channels         int    `json:"channels"`
	Rows             int    `json:"rows"`
	Columns          int    `json:"columns"`
	TrainTimesteps   int    `json:"train_timesteps"` // T
	Sampler          string `json:"sampler"`
	Steps            int    `json:"steps"`
	Spacing          string `json:"spacing"`
	Pairing          string `json:"pairing"`
	Guidance         string `json:"guidance,omitempty"` // these four: of classifier-free guidance with another weight than 1
	GuidanceRescale  string `json:"guidance_rescale,omitempty"`
	GuidanceInterval string `json:"guidance_interval,omitempty"` // LO,HI
	NullClass        string `json:"null_class,omitempty"`        // where the model does not name it
	Eta              string `json:"eta,omitempty"`               // ddim: a number or hat
	RederiveEps      bool   `json:"rederive_eps,omitempty"`
	Variance         string `json:"variance,omitempty"` // ddpm
	Clip             string `json:"clip"`
	Refine           int    `json:"refine,omitempty"`
	FinalSigmaMin    bool   `json:"final_sigma_min,omitempty"`
	LambdaMin        string `json:"lambda_min,omitempty"`
	Seed             uint64 `json:"seed"`
	StepSeed         uint64 `json:"step_seed"`
	XT               string `json:"x_T,omitempty"`   // SHA-256 of the array, as the bytes of an .npy file of float32
	Given            string `json:"given,omitempty"` // SHA-256 of the images that these are made from, as of x_T
	Mask             string `json:"mask,omitempty"`  // SHA-256 of a byte for each pixel: 1 where it is filled, else 0
	JumpLength       int    `json:"jump_length,omitempty"`
	Resample         int    `json:"resample,omitempty"`
	Strength         string `json:"strength,omitempty"`
	Labels           []int  `json:"labels,omitempty"` // repeated over the images
	Timesteps        []int  `json:"timesteps"`        // where the model is called, in order
}

// Origin says by what the set was begun. None of it changes the images by more than rounding.
type Origin struct {
	Program string `json:"program"` // and its version
	Kernels string `json:"kernels"` // images of one name have equal bits
	Model   string `json:"model"`   // its directory
	Weights string `json:"weights"` // ema, raw or as stored
}

// ReadManifest reads DIR/samples.json. The error wraps fs.ErrNotExist where there is none.
func ReadManifest(dir string) (Manifest, error) {
	var m Manifest
	f, err := filekind.Open(filepath.Join(dir, ManifestName))
	if err != nil {
		return m, err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxManifest+1))
	if err != nil {
		return m, err
	}
	if err := m.decode(text); err != nil {
		return m, fmt.Errorf("%s %w; the set cannot be continued: move it away with its images, or name another directory", ManifestName, err)
	}
	return m, nil
}

// decode reads a manifest and checks it.
func (m *Manifest) decode(text []byte) error {
	var version struct{ Format *int }
	switch err := json.Unmarshal(text, &version); {
	case len(text) > maxManifest:
		return fmt.Errorf("is corrupt: it has more than %d bytes", maxManifest)
	case err != nil:
		return fmt.Errorf("is corrupt: %w", err)
	case version.Format == nil:
		return errors.New("is corrupt: it has no format")
	case *version.Format != Format:
		return fmt.Errorf("has format %d, this program knows %d: it was written by another version", *version.Format, Format)
	}
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	if err := d.Decode(m); err != nil {
		return fmt.Errorf("is corrupt, or was written by a later version: %w", err)
	}
	s := m.Settings
	switch {
	case m.N < 1:
		return fmt.Errorf("is corrupt: n is %d", m.N)
	case s.Model == "" || s.Sampler == "":
		return errors.New("is corrupt: it names no model or no sampler")
	case s.Channels < 1 || s.Rows < 1 || s.Columns < 1:
		return fmt.Errorf("is corrupt: images of %dx%dx%d", s.Channels, s.Rows, s.Columns)
	}
	return nil
}

// encode writes one setting a line, to be readable, also in a diff.
func (m Manifest) encode() []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "{\n  \"format\": %d,\n  \"n\": %d,\n", m.Format, m.N)
	for _, part := range []struct {
		name   string
		fields []field
	}{{"settings", fieldsOf(m.Settings)}, {"origin", fieldsOf(m.Origin)}} {
		fmt.Fprintf(&b, "  %q: {", part.name)
		comma := ""
		for _, f := range part.fields {
			if f.optional && reflect.ValueOf(f.value).IsZero() {
				continue
			}
			fmt.Fprintf(&b, "%s\n    %q: %s", comma, f.name, compact(f.value))
			comma = ","
		}
		b.WriteString("\n  },\n")
	}
	b.WriteString("  \"texts\": [")
	for i, t := range m.Texts {
		if i > 0 {
			b.WriteByte(',')
		}
		fmt.Fprintf(&b, "\n    %s", compact(t))
	}
	b.WriteString("\n  ]\n}\n")
	return b.Bytes()
}

func compact(v any) []byte {
	text, err := json.Marshal(v)
	if err != nil {
		panic(err) // numbers, strings and lists of them only
	}
	return text
}

// writeTo replaces DIR/samples.json, durably.
func (m Manifest) writeTo(dir string) error {
	return atomicfile.Write(filepath.Join(dir, ManifestName), func(w io.Writer) error {
		_, err := w.Write(m.encode())
		return err
	})
}

// field is a member of Settings or Origin as the file has it.
type field struct {
	name     string
	optional bool // left out where it is zero
	value    any
}

func fieldsOf(s any) []field {
	v := reflect.ValueOf(s)
	fields := make([]field, v.NumField())
	for i := range fields {
		name, options, _ := strings.Cut(v.Type().Field(i).Tag.Get("json"), ",")
		fields[i] = field{name, options == "omitempty", v.Field(i).Interface()}
	}
	return fields
}

// accepts checks that want continues what m began: the same settings, and not fewer images. The error is a
// *ConflictError that names the first setting that differs.
func (m Manifest) accepts(want Manifest) error {
	if m.Settings.Model != want.Settings.Model {
		return conflict("its images are made by another model, %s: this one is %s; name that one with --model, or another directory with --out", m.model(), want.model())
	}
	have := fieldsOf(m.Settings)
	for i, f := range fieldsOf(want.Settings) {
		if !reflect.DeepEqual(f.value, have[i].value) {
			return conflict("its images are made with %s = %s, this command has %s: give the same settings, or name another directory with --out",
				f.name, inWords(have[i].value), inWords(f.value))
		}
	}
	if want.N < m.N {
		return conflict("it is to have %d images, this command asks for %d: give --n %d or more, or name another directory with --out", m.N, want.N, m.N)
	}
	return nil
}

// model names the model: by its directory, the weights taken and the first digits of the hash.
func (m Manifest) model() string {
	return fmt.Sprintf("%s (weights: %s, SHA-256 %.12s)", m.Origin.Model, m.Origin.Weights, m.Settings.Model)
}

// inWords is a setting's value, in short.
func inWords(v any) string {
	text := strings.Trim(fmt.Sprint(v), "[]")
	const most = 60
	switch {
	case text == "":
		return "none"
	case len(text) > most:
		return text[:most] + " ..."
	}
	return text
}
