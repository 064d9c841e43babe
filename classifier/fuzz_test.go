package classifier

import (
	"reflect"
	"testing"

	"unstir/internal/alloctest"
	"unstir/internal/errortest"
)

// FuzzParseConfig: whatever a config.json is, reading it fails in one line, or gives a configuration that is written and
// read back the same.
func FuzzParseConfig(f *testing.F) {
	text, err := small(true).JSON()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(text)
	f.Add([]byte(`{"_class_name": "Classifier"}`))
	f.Add([]byte(`{"_class_name": "UNet2DModel", "channels": [8]}`))
	f.Add(append(text, "{}"...))
	f.Add([]byte(`{"channels": [8, "\n"]}`))
	f.Add([]byte("null"))
	f.Fuzz(func(t *testing.T, b []byte) {
		var c Config
		var err error
		alloctest.Parse(t, len(b), func() { c, err = ParseConfig(b) })
		if err != nil {
			errortest.OneLine(t, err)
			return
		}
		again, err := c.JSON()
		if err != nil {
			t.Fatal(err)
		}
		if c2, err := ParseConfig(again); err != nil || !reflect.DeepEqual(c, c2) {
			t.Errorf("%+v came back as %+v, %v", c, c2, err)
		}
	})
}

func TestTextThatIsNoConfigIsRefused(t *testing.T) {
	text, err := small(false).JSON()
	if err != nil {
		t.Fatal(err)
	}
	for _, wrong := range []string{"", "{}", "[]", string(text) + "x", string(text[:len(text)-3]), string(make([]byte, maxConfig+1))} {
		if _, err := ParseConfig([]byte(wrong)); err == nil {
			t.Errorf("%.40q is taken", wrong)
		}
	}
}
