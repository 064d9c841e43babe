package configs

import (
	"errors"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"unstir/classifier"
	"unstir/data"
	"unstir/diffusion"
	"unstir/nn"
	"unstir/train"
	"unstir/unet"
)

// small is the shortest config there is: the three keys without a default.
const small = `[data]
dataset = "mnist-10k"
[model]
block_out_channels = [32, 64]
[train]
steps = 100
`

// smallClassifier is the shortest config of a classifier.
const smallClassifier = `[data]
dataset = "mnist-10k"
[classifier]
channels = [8, 16]
[train]
steps = 100
`

func parse(t *testing.T, text string, sets ...string) *Config {
	t.Helper()
	c, err := Parse([]byte(text), "small.toml", sets)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestLeftOutKeysKeepTheirDefaults(t *testing.T) {
	c := parse(t, small)
	want := Config{Name: "small", Model: unet.Defaults(), Classifier: classifier.Defaults(), Scheduler: diffusion.Defaults()}
	want.Train, want.EMA, want.Checkpoint, want.Preview = train.Defaults()
	want.Log = train.DefaultLog()
	want.Data.Dataset = "mnist-10k"
	want.Train.Steps = 100
	want.Model.InChannels, want.Model.OutChannels = 0, 0
	want.Model.BlockOutChannels = []int{32, 64}
	want.Model.DownBlockTypes = []string{"DownBlock2D", "AttnDownBlock2D"}
	want.Model.UpBlockTypes = []string{"AttnUpBlock2D", "UpBlock2D"}
	if d := cmp.Diff(want, *c); d != "" { // by Config.Equal
		t.Error(d)
	}
}

func TestOneLevelIsTheDeepest(t *testing.T) {
	m := parse(t, small, "model.block_out_channels=[32]").Model
	if len(m.DownBlockTypes) != 1 || m.DownBlockTypes[0] != "AttnDownBlock2D" || m.UpBlockTypes[0] != "AttnUpBlock2D" {
		t.Errorf("%v, %v", m.DownBlockTypes, m.UpBlockTypes)
	}
}

func TestEqualLooksAtEverySetting(t *testing.T) {
	c := parse(t, small)
	for _, f := range fields {
		o := *c
		change(f.of(&o))
		if c.Equal(o) {
			t.Errorf("configs that differ in %s are equal", f.key())
		}
	}
	if !c.Equal(*parse(t, "\n"+small, "train.steps=100")) {
		t.Error("the place of a key makes configs unequal")
	}
}

// change gives v another value, whether or not it makes sense.
func change(v reflect.Value) {
	switch v.Kind() {
	case reflect.String:
		v.SetString(v.String() + "x")
	case reflect.Bool:
		v.SetBool(!v.Bool())
	case reflect.Int:
		v.SetInt(v.Int() + 1)
	case reflect.Uint64:
		v.SetUint(v.Uint() + 1)
	case reflect.Float64:
		v.SetFloat(v.Float() + 0.25)
	case reflect.Slice:
		list := reflect.MakeSlice(v.Type(), 1, 1)
		change(list.Index(0))
		v.Set(list)
	case reflect.Struct:
		change(v.Field(0))
	default:
		panic("a new kind of key: " + v.Kind().String())
	}
}

func TestResolvedConfigRoundTrips(t *testing.T) {
	odd := parse(t, small, "name=día 1", `data.dir=C:\new "x"`+"\t\x01é", "data.size=[28, 32]", "model.sample_size=[28,32]",
		"scheduler.num_train_timesteps=2", "scheduler.trained_betas=[1e-7, 0.30000000000000004]", "preview.steps=1",
		"train.lr=1e-300", "seed=9223372036854775807")
	text, err := odd.TOML()
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range []string{"size = [28, 32]\n", "sample_size = [28, 32]\n", "trained_betas = [1e-07, 0.30000000000000004]\n", "weight_decay = 0.0\n"} {
		if !strings.Contains(string(text), line) {
			t.Errorf("no line %q in\n%s", line, text)
		}
	}
	again, err := Parse(text, "other.toml", nil)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(odd, again); d != "" {
		t.Error(d)
	}
	// Before Fit the sizes of the data are open, and stay so in the file.
	if err := again.Fit(data.Info{Channels: 3, Height: 28, Width: 32}); err != nil {
		t.Error(err)
	}
}

func TestResolvedConfigNamesEveryKey(t *testing.T) {
	for _, k := range []struct {
		text, set string
		without   []string // tables
	}{
		{small, "seed=0", []string{"classifier"}},
		{smallClassifier, "seed=0", []string{"model", "scheduler", "preview"}},
		{smallClassifier, "classifier.noisy=true", []string{"model", "preview"}},
	} {
		c := parse(t, k.text, k.set)
		c.Scheduler.TrainedBetas = []float64{0.5}
		resolved, err := c.TOML()
		if err != nil {
			t.Fatal(err)
		}
		d, err := parseTOML(string(resolved))
		if err != nil {
			t.Fatal(err)
		}
		var keys, want []string
		for _, key := range d.meta.Keys() {
			if !slices.Contains(tables, key.String()) {
				keys = append(keys, key.String())
			}
		}
		for _, f := range fields {
			if !slices.Contains(k.without, f.table) {
				want = append(want, f.key())
			}
		}
		if d := cmp.Diff(want, keys); d != "" {
			t.Error(d)
		}
	}
}

// A config with [classifier] trains one, has the previews of a UNet left out, and comes back the same.
func TestAConfigOfAClassifier(t *testing.T) {
	if c := parse(t, small); c.IsClassifier() {
		t.Error("a config without [classifier] is one of a classifier")
	}
	for _, sets := range [][]string{nil, {"preview.every=0"}, {"classifier.noisy=true", "scheduler.beta_schedule=squaredcos_cap_v2"}} {
		c := parse(t, smallClassifier, sets...)
		if !c.IsClassifier() || c.Classifier.Features != 64 || c.Preview.Every != 0 {
			t.Errorf("%q: %+v", sets, c)
		}
		if err := c.Fit(data.Info{Channels: 3, Height: 7, Width: 9}); err != nil {
			t.Errorf("%q: %v", sets, err)
		}
		text, err := c.TOML()
		if err != nil {
			t.Fatal(err)
		}
		if again := parse(t, string(text)); !again.Equal(*parse(t, smallClassifier, append(sets, "name="+c.Name)...)) {
			t.Errorf("%q came back otherwise:\n%s", sets, text)
		}
	}
}

func TestWhatTOMLCannotSayIsAnError(t *testing.T) {
	for want, spoil := range map[string]func(*Config){
		"small.toml: seed cannot be written as TOML: 9223372036854775808 is more than 9223372036854775807, its largest integer": func(c *Config) { c.Seed = 1 << 63 },
		`small.toml: data.dir cannot be written as TOML: "\xff" is not UTF-8`:                                                   func(c *Config) { c.Data.Dir = "\xff" },
	} {
		c := parse(t, small)
		spoil(c)
		if _, err := c.TOML(); err == nil || err.Error() != want {
			t.Errorf("got  %v\nwant %s", err, want)
		}
	}
}

func TestFitTakesSizesFromTheData(t *testing.T) {
	c := parse(t, small)
	if err := c.Fit(data.Info{Name: "folder", Channels: 3, Height: 24, Width: 32}); err != nil {
		t.Fatal(err)
	}
	if m := c.Model; m.InChannels != 3 || m.OutChannels != 3 || m.SampleSize != (unet.Size{H: 24, W: 32}) {
		t.Errorf("%+v", m)
	}
	if err := c.Model.Validate(); err != nil {
		t.Error(err)
	}
	if err := c.Fit(data.Info{Name: "folder", Channels: 3, Height: 24, Width: 32}); err != nil {
		t.Errorf("a second Fit on the same data: %v", err)
	}
}

func TestFitRefusesOtherData(t *testing.T) {
	info := data.Info{Name: "mnist", Channels: 1, Height: 28, Width: 28}
	for _, tc := range []struct {
		sets []string
		info data.Info
		want string
	}{
		{nil, data.Info{Name: "folder", Channels: 1, Height: 27, Width: 30},
			"small.toml: the dataset folder does not fit the model: images of 27x30 do not fit a model of 2 levels: " +
				"both sides must be multiples of 2, as each level but the first halves them; the nearest sizes are 26 or 28 rows and 30 columns; set data.size, or give model.block_out_channels fewer levels"},
		{[]string{"model.in_channels=3"}, info,
			"--set model.in_channels=3: model.in_channels is 3, but that of the dataset mnist is 1; leave the key out to take it from the data"},
		{[]string{"model.out_channels=2", "model.sample_size=[28,32]"}, info,
			"--set model.out_channels=2: model.out_channels is 2, but that of the dataset mnist is 1; leave the key out to take it from the data\n" +
				"--set model.sample_size=[28,32]: model.sample_size is [28, 32], but that of the dataset mnist is 28; leave the key out to take it from the data"},
	} {
		c := parse(t, small, tc.sets...)
		before := *c
		err := c.Fit(tc.info)
		if err == nil || err.Error() != tc.want {
			t.Errorf("got  %v\nwant %s", err, tc.want)
		}
		var e *Error
		if !errors.As(err, &e) {
			t.Errorf("%T is no *Error", err)
		}
		if !c.Equal(before) {
			t.Error("a failed Fit changed the config")
		}
	}
}

func TestLoadTakesTheFileBeforeThePreset(t *testing.T) {
	t.Chdir(t.TempDir())
	c, err := Load("mnist.toml", nil)
	if err != nil {
		t.Fatal(err)
	}
	if c.Name != "mnist" || c.Data.Dataset != "mnist" {
		t.Errorf("%+v", c)
	}
	if err := os.Mkdir("mnist", 0o755); err != nil { // such as the data's
		t.Fatal(err)
	}
	if short, err := Load("mnist", nil); err != nil || !short.Equal(*c) {
		t.Errorf("without .toml: %v", err)
	}
	if err := os.WriteFile("mnist.toml", []byte(small), 0o644); err != nil {
		t.Fatal(err)
	}
	if c, err = Load("mnist.toml", []string{"seed=3"}); err != nil {
		t.Fatal(err)
	}
	if c.Data.Dataset != "mnist-10k" || c.Seed != 3 {
		t.Errorf("%+v", c)
	}
}

func TestLoadNamesThePresets(t *testing.T) {
	dir := t.TempDir()
	for _, tc := range []struct{ arg, want string }{
		{"mnits.toml", "mnits.toml: no such file or preset; the presets are cifar10, cifar10-classifier, fashion-mnist, fashion-mnist-classifier, mnist, mnist-classes, mnist-classifier, quickstart"},
		{"dir/mnist.toml", "dir/mnist.toml: no such file or preset; the presets are cifar10, cifar10-classifier, fashion-mnist, fashion-mnist-classifier, mnist, mnist-classes, mnist-classifier, quickstart"},
		{"", ": no such file or preset; the presets are cifar10, cifar10-classifier, fashion-mnist, fashion-mnist-classifier, mnist, mnist-classes, mnist-classifier, quickstart"},
		{dir, dir + ": it is a directory, and there is no such preset; the presets are cifar10, cifar10-classifier, fashion-mnist, fashion-mnist-classifier, mnist, mnist-classes, mnist-classifier, quickstart"},
	} {
		_, err := Load(tc.arg, nil)
		var e *Error
		if !errors.As(err, &e) || e.File != tc.arg || !strings.HasSuffix(tc.want, ": "+e.Msg) {
			t.Errorf("%q: got %v, want %s", tc.arg, err, tc.want)
		}
	}
	_, err := Load("quickstart", []string{"train.lr=-1"})
	if want := "--set train.lr=-1: train.lr is -1; it must be a positive number"; err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
	file := filepath.Join(dir, "my run.toml")
	if err := os.WriteFile(file, []byte(small), 0o644); err != nil {
		t.Fatal(err)
	}
	if c, err := Load(file, nil); err != nil || c.Name != "my run" {
		t.Errorf("%v, %v", c, err)
	}
}

func TestPresets(t *testing.T) {
	shapes := map[string]data.Info{
		"mnist-10k": {Channels: 1, Height: 28, Width: 28}, "mnist": {Channels: 1, Height: 28, Width: 28},
		"fashion-mnist": {Channels: 1, Height: 28, Width: 28}, "cifar10": {Channels: 3, Height: 32, Width: 32},
	}
	if want := []string{"cifar10", "cifar10-classifier", "fashion-mnist", "fashion-mnist-classifier", "mnist", "mnist-classes", "mnist-classifier", "quickstart"}; !slices.Equal(Presets(), want) {
		t.Errorf("presets %v, want %v", Presets(), want)
	}
	for _, name := range Presets() {
		c, err := Load(name, nil)
		if err != nil {
			t.Error(err)
			continue
		}
		if c.Name != name {
			t.Errorf("preset %s has the name %s", name, c.Name)
		}
		for _, stage := range []string{"as read", "fitted"} {
			text, err := c.TOML()
			if err != nil {
				t.Fatal(err)
			}
			again, err := Parse(text, "resolved.toml", nil)
			if err != nil {
				t.Fatalf("preset %s, %s: %v", name, stage, err)
			}
			if d := cmp.Diff(c, again); d != "" {
				t.Errorf("preset %s, %s: %s", name, stage, d)
			}
			if err := c.Fit(shapes[c.Data.Dataset]); err != nil {
				t.Error(err)
			}
		}
		if !c.IsClassifier() {
			_, err = unet.Layout(c.Model)
		} else if config := c.Classifier; err == nil {
			shape := shapes[c.Data.Dataset]
			config.InChannels, config.Height, config.Width, config.Classes = shape.Channels, shape.Height, shape.Width, 10
			var params *nn.Params
			if params, err = classifier.Layout(config); err == nil && params.Count() > 500_000 { // 1 MB in half precision
				t.Errorf("preset %s has %d parameters", name, params.Count())
			}
		}
		if err != nil {
			t.Errorf("preset %s: %v", name, err)
		}
	}
	if _, err := Preset("nits"); err == nil {
		t.Error("a preset that is not there")
	}
}

// Each key of a preset has a comment, on its line or right above.
func TestPresetsExplainEveryKey(t *testing.T) {
	for _, name := range Presets() {
		text, err := Preset(name)
		if err != nil {
			t.Fatal(err)
		}
		above := false
		for i, line := range strings.Split(string(text), "\n") {
			comment := strings.Contains(line, "#")
			if strings.Contains(line, " = ") && !comment && !above {
				t.Errorf("preset %s, line %d says nothing about its key: %s", name, i+1, line)
			}
			if len(line) > 130 {
				t.Errorf("preset %s, line %d is %d bytes long", name, i+1, len(line))
			}
			above = strings.HasPrefix(line, "#")
		}
	}
}

// What a package says of a value that cannot be has the key's name and the line that set it, whichever value it is.
func TestEveryErrorNamesAKey(t *testing.T) {
	own := 0
	for _, f := range fields {
		bad := []any{-7, int(1) << 40, -0.5, 1e300, "no such value", math.NaN(), []int{}, []int{3, -1}, []string{"x"}, []float64{7}}
		for _, v := range bad {
			c := parse(t, small)
			at, value := f.of(c), reflect.ValueOf(v)
			if value.Kind() != at.Kind() || value.Kind() == reflect.Slice && value.Type() != at.Type() {
				continue
			}
			at.Set(value)
			var e *Error
			switch err := c.Validate(); {
			case err == nil:
			case !errors.As(err, &e) || findField(e.Key) == nil || !strings.HasPrefix(e.Msg, e.Key):
				t.Errorf("%s = %v: %v, which names no key", f.key(), v, err)
			case e.Key == f.key():
				own++
			}
		}
	}
	if own < 90 {
		t.Errorf("only %d values were refused by the name of their own key", own)
	}
}
