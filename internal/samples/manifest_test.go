package samples

import (
	"errors"
	"io/fs"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

func TestTheManifestSurvivesTheRoundTrip(t *testing.T) {
	for _, change := range []func(*Manifest){
		func(*Manifest) {},
		func(m *Manifest) { m.Settings.Labels, m.Texts = nil, nil },
		func(m *Manifest) {
			m.Settings.XT, m.Settings.RederiveEps, m.Settings.LambdaMin = "abc", true, "-Inf"
			m.Settings.Refine, m.Settings.FinalSigmaMin, m.Settings.Variance = 3, true, "beta"
		},
	} {
		want := testManifest(12)
		change(&want)
		var got Manifest
		if err := got.decode(want.encode()); err != nil {
			t.Fatalf("%v\n%s", err, want.encode())
		}
		if len(got.Texts) == 0 {
			got.Texts = nil
		}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("got %+v, want %+v", got, want)
		}
	}
}

// The file is written for people too: a setting a line.
func TestTheManifestHasASettingALine(t *testing.T) {
	text := string(testManifest(12).encode())
	for _, line := range []string{`  "format": 1,`, `  "n": 12,`, `    "sampler": "ddim",`, `    "timesteps": [15,10,5,0]`, `    "weights": "ema"`, `    ["seed","7"],`} {
		if !strings.Contains(text, "\n"+line+"\n") {
			t.Errorf("there is no line %q in\n%s", line, text)
		}
	}
	if strings.Contains(text, "x_T") || strings.Contains(text, "refine") {
		t.Errorf("settings that are not in use are written:\n%s", text)
	}
}

// A manifest that is damaged, or of another version, is refused with what to do; the images stay.
func TestADamagedManifestIsRefused(t *testing.T) {
	good := string(testManifest(2).encode())
	for what, c := range map[string]struct{ text, words string }{
		"empty":          {"", "samples.json is corrupt: "},
		"cut":            {good[:len(good)/2], "samples.json is corrupt: "},
		"zeroed":         {strings.Repeat("\x00", len(good)), "samples.json is corrupt: "},
		"more behind it": {good + "{}", "samples.json is corrupt: "},
		"null":           {"null", "it has no format"},
		"a list":         {"[]", "samples.json is corrupt: "},
		"a later format": {strings.Replace(good, `"format": 1`, `"format": 2`, 1), "has format 2, this program knows 1"},
		"a later key":    {strings.Replace(good, `"clip"`, `"later": 3, "clip"`, 1), `unknown field "later"`},
		"no images":      {strings.Replace(good, `"n": 2`, `"n": 0`, 1), "n is 0"},
		"a wrong type":   {strings.Replace(good, `"n": 2`, `"n": "2"`, 1), "samples.json is corrupt"},
		"no model":       {strings.Replace(good, "0123456789abcdef", "", 1), "it names no model"},
		"no pixels":      {strings.Replace(good, `"rows": 5`, `"rows": -5`, 1), "images of 1x-5x6"},
	} {
		path := whole(t, 2)
		put(t, filepath.Join(path, ManifestName), c.text)
		before := contents(t, path)
		_, err := Open(path, testManifest(2))
		if err == nil || !strings.Contains(err.Error(), c.words) || !strings.Contains(err.Error(), "name another directory") || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: error %v, want one line with %q", what, err, c.words)
		}
		var conflict *ConflictError
		if errors.As(err, &conflict) {
			t.Errorf("%s: %v is reported as wrong usage", what, err)
		}
		if !reflect.DeepEqual(before, contents(t, path)) {
			t.Errorf("%s: the directory was changed", what)
		}
	}
	if _, err := ReadManifest(t.TempDir()); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("error %v, want one that wraps fs.ErrNotExist", err)
	}
}

// FuzzManifest: whatever the bytes, reading fails or gives a manifest that is written and read again as it is.
func FuzzManifest(f *testing.F) {
	f.Add(testManifest(3).encode())
	f.Add([]byte(`{"format":1,"n":1,"settings":{"model":"m","sampler":"s","channels":1,"rows":1,"columns":1,"labels":[]},"texts":[["a","b"]]}`))
	f.Add([]byte(`{"format":2}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		var m, again Manifest
		if m.decode(text) != nil {
			return
		}
		if err := again.decode(m.encode()); err != nil {
			t.Fatalf("%v in\n%s", err, m.encode())
		}
		if string(again.encode()) != string(m.encode()) {
			t.Errorf("\n%s\nis read as\n%s", m.encode(), again.encode())
		}
	})
}
