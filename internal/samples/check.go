package samples

import (
	"bytes"
	"errors"
	"image/png"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"unstir/internal/images"
)

// softwareKey is the text that names the program. Parts of a set may be made by different versions.
const softwareKey = "Software"

// textsOf are the texts of image i's PNG file as the program writes them.
func (m Manifest) textsOf(i int, program string) []images.Text {
	texts := []images.Text{{Key: softwareKey, Value: program}}
	for _, t := range m.Texts {
		texts = append(texts, images.Text{Key: t[0], Value: t[1]})
	}
	return append(texts, images.Text{Key: "image", Value: strconv.Itoa(i)})
}

const pngSignature = "\x89PNG\r\n\x1a\n"

// check looks at the file of image i: true for a whole PNG file of this set, false for one that is not there, or that
// a power cut or a full disk has left empty, zeroed or cut. A file of something else is a *ConflictError: it is not
// this program's to replace.
func (m Manifest) check(dir string, i int) (whole bool, err error) {
	name := Name(i)
	data, err := m.read(filepath.Join(dir, name))
	switch {
	case errors.Is(err, fs.ErrNotExist): // a link to nothing
		return false, nil
	case err != nil:
		return false, err
	}
	head := string(data[:min(len(data), len(pngSignature))])
	if strings.Trim(head, "\x00") == "" {
		return false, nil
	}
	if !strings.HasPrefix(pngSignature, head) {
		return false, conflict("%s is not a PNG file, and so not one of the samples: move it away", name)
	}
	s := m.Settings
	config, err := png.DecodeConfig(bytes.NewReader(data))
	if err != nil {
		return false, nil
	}
	if config.Width != s.Columns || config.Height != s.Rows {
		return false, conflict("%s has %dx%d pixels, not the samples' %dx%d: move it away", name, config.Height, config.Width, s.Rows, s.Columns)
	}
	if _, err := png.Decode(bytes.NewReader(data)); err != nil {
		return false, nil
	}
	texts, err := images.ReadText(bytes.NewReader(data))
	if err != nil {
		return false, nil
	}
	want := m.textsOf(i, m.Origin.Program)
	for k := range max(len(texts), len(want)) {
		var have, wanted images.Text
		if k < len(texts) {
			have = texts[k]
		}
		if k < len(want) {
			wanted = want[k]
		}
		if have != wanted && !(have.Key == softwareKey && wanted.Key == softwareKey) {
			return false, conflict("%s is not of this set: its texts have %s where %s has %s: move it away",
				name, describe(have), ManifestName, describe(wanted))
		}
	}
	return true, nil
}

// read reads an image's file, which is not much larger than its pixels and its texts.
func (m Manifest) read(path string) ([]byte, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	name := filepath.Base(path)
	if !info.Mode().IsRegular() {
		return nil, conflict("%s is not a regular file: move it away", name)
	}
	most := 2*int64(m.Settings.Channels)*int64(m.Settings.Rows)*int64(m.Settings.Columns) + 16<<20
	if info.Size() > most {
		return nil, conflict("%s has %d bytes, more than a sample can have: move it away", name, info.Size())
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, most))
	return data, err
}

func describe(t images.Text) string {
	if t.Key == "" {
		return "nothing"
	}
	return t.Key + " = " + strconv.Quote(t.Value)
}
