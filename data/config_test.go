package data

import (
	"bytes"
	"context"
	"errors"
	"testing"

	"github.com/BurntSushi/toml"
	"github.com/google/go-cmp/cmp"

	"unstir/internal/setting"
)

func TestValidateNamesKeyValueAndLegalValues(t *testing.T) {
	for _, name := range Names() {
		if err := (Config{Dataset: name, Size: Size{32, 48}, Channels: 3}).Validate(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	tests := []struct {
		c     Config
		key   string
		parts []string
	}{
		{Config{Dataset: "mnits"}, "dataset", []string{`data.dataset is "mnits"`, `"mnist", "fashion-mnist", "cifar10", "mnist-10k", "folder"`}},
		{Config{}, "dataset", []string{`data.dataset is ""`, `"mnist"`}},
		{Config{Dataset: MNIST, Channels: 2}, "channels", []string{"data.channels is 2", "1 (gray), 3 (RGB) or 0"}},
		{Config{Dataset: MNIST, Size: Size{-1, -1}}, "size", []string{"data.size is -1", "from 1 to 4096"}},
		{Config{Dataset: MNIST, Size: Size{0, 28}}, "size", []string{"data.size is [0, 28]"}},
		{Config{Dataset: MNIST, Size: Size{28, 5000}}, "size", []string{"data.size is [28, 5000]"}},
	}
	for _, tt := range tests {
		err := tt.c.Validate()
		wantError(t, err, tt.parts...)
		var e *setting.Error
		if !errors.As(err, &e) || e.Table != "data" || e.Key != tt.key {
			t.Errorf("%v: not an error of data.%s", err, tt.key)
		}
		if _, err := Open(context.Background(), tt.c, Options{}); !errors.As(err, &e) {
			t.Errorf("Open(%+v) = %v, want that of Validate", tt.c, err)
		}
	}
	err := Config{Dataset: "x", Channels: 4}.Validate()
	wantError(t, err, "data.dataset", "data.channels")
}

func TestConfigRoundTripsThroughTOML(t *testing.T) {
	for want, size := range map[string]Size{"size = 0": {}, "size = 32": {32, 32}, "size = [32, 48]": {32, 48}} {
		c := Config{Dataset: CIFAR10, Dir: "d", Flip: true, Size: size, Channels: 1}
		var b bytes.Buffer
		if err := toml.NewEncoder(&b).Encode(c); err != nil {
			t.Fatal(err)
		}
		if !bytes.Contains(b.Bytes(), []byte(want+"\n")) {
			t.Errorf("%v is written as %q, want a line %q", size, b.String(), want)
		}
		var got Config
		md, err := toml.Decode(b.String(), &got)
		if err != nil {
			t.Fatal(err)
		}
		if u := md.Undecoded(); len(u) > 0 {
			t.Errorf("keys %v are not known", u)
		}
		if d := cmp.Diff(c, got); d != "" {
			t.Errorf("changed on the way (-was +is):\n%s", d)
		}
	}
}

func TestWrongSizeInTOMLIsAnErrorWithItsLine(t *testing.T) {
	for _, v := range []string{`"32"`, "32.0", "[32]", "[32, 32, 3]", "[32, 1.5]", "-4", "5000", "[0, 8]", "true", "{h = 3}"} {
		c := struct{ Data Config }{Config{Size: Size{7, 7}}}
		_, err := toml.Decode("[data]\ndataset = \"mnist\"\nsize = "+v+"\n", &c)
		wantError(t, err, "data.size", "[height, width]")
		var pe toml.ParseError
		if !errors.As(err, &pe) || v[0] != '{' && pe.Position.Line != 3 {
			t.Errorf("size = %s: %v does not point to line 3", v, err)
		}
		if c.Data.Size != (Size{7, 7}) {
			t.Errorf("size = %s changed the size to %v", v, c.Data.Size)
		}
	}
}
