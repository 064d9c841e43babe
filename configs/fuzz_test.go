package configs

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"unstir/internal/alloctest"
	"unstir/internal/errortest"
)

// oddTexts are texts that a parser of TOML could stumble over.
var oddTexts = []string{
	"", "=", "[", "[[", "a.b.c = 1", "[train]\n[train]", "train.lr = {a = [{}, [[]]]}", "\xef\xbb\xbfseed = 1",
	"\xff\xfes\x00", "seed = 1e999", "seed = 0x_", "name = \"\\u12", "name = '''", "[data]\nsize = [1, {}]", "\"\" = 1", "[\"\"]\n\"\" = []",
	"[model]\nblock_out_channels = []", "[model]\nblock_out_channels = [-2]", "[model]\nblock_out_channels = [9223372036854775807]",
	"model = [{}]", "a = 1979-05-27T07:32:00Z", "[data]\nsize = -9223372036854775808", strings.Repeat("{a=", 500),
	"\"a\\nb\" = 1", "a" + strings.Repeat(".a", 200) + " = 1", "name = '''\n\n'''\n'x\x7f' = 1",
}

// FuzzParse: whatever a file and a flag say, they give an Error for each wrong key, of one line, or a config that is
// written and read back the same; and the parser allocates no more than the bytes allow.
func FuzzParse(f *testing.F) {
	for _, name := range Presets() {
		text, _ := Preset(name)
		f.Add(string(text), "train.lr=1")
	}
	for _, s := range oddTexts {
		f.Add(s, s)
		f.Add(small+s, "model.sample_size="+s)
	}
	f.Fuzz(func(t *testing.T, text, set string) {
		for _, sets := range [][]string{nil, {set}} {
			var c *Config
			var err error
			alloctest.Parse(t, len(text)+len(set), func() { c, err = Parse([]byte(text), "fuzz.toml", sets) })
			if err != nil {
				checkErrors(t, err)
				continue
			}
			again, err := c.TOML()
			if err != nil {
				t.Fatal(err)
			}
			if c2, err := Parse(again, "again.toml", nil); err != nil || !c.Equal(*c2) {
				t.Errorf("%v\n%s", err, again)
			}
		}
	})
}

// checkErrors checks that an error of Parse is one Error or several.
func checkErrors(t *testing.T, err error) {
	t.Helper()
	list := []error{err}
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		list = joined.Unwrap()
	}
	for _, err := range list {
		if _, ok := err.(*Error); !ok {
			t.Errorf("%T is not an *Error: %v", err, err)
		}
		errortest.OneLine(t, err)
	}
}

// FuzzSet: whatever --set gives to a key, the value is taken and written back the same, or is refused in one line that
// names the flag.
func FuzzSet(f *testing.F) {
	const quick = small + "[preview]\nevery = 0\n" // otherwise each execution computes a schedule, for the previews' sampler
	for i, value := range append(oddTexts, "true", `"a"`, "[1, 2]", "[a, b]", "['a', \"b\"]", " 28", "1e-4", "-0.0", "inf", "nan", "1_000", "0b11", "a\x00", "[a,]") {
		f.Add(uint8(7*i), value)
	}
	f.Fuzz(func(t *testing.T, which uint8, value string) {
		key := fields[int(which)%len(fields)].key()
		var c *Config
		var err error
		alloctest.Parse(t, len(value), func() { c, err = Parse([]byte(quick), "small.toml", []string{key + "=" + value}) })
		if err != nil {
			checkErrors(t, err)
			if !strings.Contains(err.Error(), key) && !strings.Contains(err.Error(), "small.toml") {
				t.Errorf("%q names neither %s nor the file", err, key)
			}
			return
		}
		text, err := c.TOML()
		if err != nil {
			t.Fatal(err)
		}
		if again, err := Parse(text, "small.toml", nil); err != nil || !c.Equal(*again) {
			t.Errorf("--set %s=%s: %v\n%s", key, value, err, text)
		}
	})
}

// A text that is cheap to write and expensive to parse is refused before it is parsed, or takes the memory that its
// bytes allow.
func TestTextsThatAreExpensiveToParse(t *testing.T) {
	if testing.Short() {
		t.Skip("it parses megabytes")
	}
	times := func(before, s, after string) string {
		return before + strings.Repeat(s, (maxBytes-len(before)-len(after))/len(s)) + after
	}
	numbered := func(format string) string {
		var b strings.Builder
		for i := 0; b.Len() < maxBytes-40; i++ {
			fmt.Fprintf(&b, format, i)
		}
		return b.String()
	}
	strs := func() string { // every key with a string of several lines
		var b strings.Builder
		for _, f := range fields {
			fmt.Fprintf(&b, "%s = '''\n'''\n", f.key())
		}
		return times(b.String()+strings.Repeat("\n", 16000), "#", "")
	}
	for name, text := range map[string]string{
		"dotted key": times("a", ".a", "=1"), "dotted table": times("[a", ".a", "]"), "quoted parts": times("'='", `."="`, "=1"),
		"spaced parts": times("a", " .\ta", "=1"), "after a carriage return": times("#\ra", ".a", "=1"), "in an inline table": times("a={x=1, b", ".a", "=1}"),
		"many dotted keys": numbered("a%x.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a=1\n"), "keys": numbered("%x=0\n"), "tables": numbered("[%x]\n"),
		"arrays of tables": times("", "[[a]]\n", ""), "arrays": times("a=[", "[],", "]"), "inline tables": times("a=[", "{},", "]"),
		"numbers": times("a=[", "0,", "]"), "betas": times("[scheduler]\ntrained_betas=[", "0,", "]"), "strings": times("[model]\ndown_block_types=[", `"",`, "]"),
		"comments": times("", "#\n", ""), "commas in a comment": times("#", ",", ""), "one string": times("name='", "a", "'"), "strings of several lines": strs(),
		"long key": times("", "a", "=1"), "long quoted key": times(`"`, `\n`, `"=1`),
	} {
		alloctest.Parse(t, len(text), func() {
			if _, err := Parse([]byte(text), "dear.toml", nil); err == nil {
				t.Errorf("%s: no error", name)
			} else {
				checkErrors(t, err)
			}
		})
		if t.Failed() {
			t.Fatal(name)
		}
	}
}

// Real configs are far from these limits.
func TestLongConfigsAreRead(t *testing.T) {
	c := parse(t, small+strings.Repeat("# a.b.c.d = {}, [1.5, 2.5]\n", 1000))
	c.Scheduler.NumTrainTimesteps = 10000
	for range 10000 {
		c.Scheduler.TrainedBetas = append(c.Scheduler.TrainedBetas, 1.2345678901234567e-05)
	}
	text, err := c.TOML()
	if err != nil {
		t.Fatal(err)
	}
	if again := parse(t, string(text)); !c.Equal(*again) {
		t.Error("10,000 betas come back otherwise")
	}
}

// A file that is too long is not read to its end.
func TestAFileThatIsTooLongIsRefused(t *testing.T) {
	path := filepath.Join(t.TempDir(), "long.toml")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(f.Truncate(1<<32), f.Close()); err != nil { // with a hole
		t.Skip(err)
	}
	alloctest.Parse(t, 0, func() {
		if _, err := Load(path, nil); err == nil || !strings.Contains(err.Error(), "longer than 262144 bytes") {
			t.Errorf("error %v", err)
		}
	})
}
