package unstir

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"unstir/checkpoints"
)

// namedPipeline is a class-conditional model with room for some classes, of which the first have names.
func namedPipeline(t testing.TB, room int, names ...string) *Pipeline {
	t.Helper()
	c := testConfig()
	c.NumClassEmbeds = room
	p := testPipeline(t, c)
	if names != nil {
		p.Source.State = &checkpoints.State{Data: checkpoints.Data{Classes: names}}
	}
	return p
}

const composed, decomposed = "caf\u00e9", "cafe\u0301"

// labelCase is a list as --label takes it, and its labels, or the reason why it has none (or the reason's end, where
// want begins with "...").
type labelCase struct {
	list string
	want any
}

var labelCases = []struct {
	what  string
	room  int
	names []string
	cases []labelCase
}{
	{"names that are words", 3, []string{"cat", "dog", "Ankle boot"}, []labelCase{
		{"cat", []int{0}}, {"dog", []int{1}}, {"1", []int{1}}, {"dog,cat,dog", []int{1, 0, 1}}, {" dog , 0 ", []int{1, 0}},
		{"Ankle boot", []int{2}}, {"cat, Ankle boot", []int{0, 2}}, {"all", []int{0, 1, 2}}, {"01", []int{1}},
		{`"dog"`, []int{1}}, {`"dog" , "cat"`, []int{1, 0}}, {"\tdog\n", []int{1}},
		{"3", "the classes are 0 to 2: cat, dog, Ankle boot"},
		{"-1", "the classes are 0 to 2: cat, dog, Ankle boot"},
		{"99999999999999999999", "the classes are 0 to 2: cat, dog, Ankle boot"},
		{"1.0", "the classes are 0 to 2: cat, dog, Ankle boot"},
		{"Cat", "the classes are 0 to 2: cat, dog, Ankle boot (did you mean cat?)"},
		{"dgo", "the classes are 0 to 2: cat, dog, Ankle boot (did you mean dog?)"},
		{"ankle", "the classes are 0 to 2: cat, dog, Ankle boot (did you mean Ankle boot?)"},
		{"ｃａｔ", "the classes are 0 to 2: cat, dog, Ankle boot (did you mean cat?)"},
		{"elephant", "the classes are 0 to 2: cat, dog, Ankle boot"},
		{"", "the classes are 0 to 2: cat, dog, Ankle boot"},
		{"none", "the classes are 0 to 2: cat, dog, Ankle boot"},
		{"cat,,dog", "an item of the list is empty; the classes are 0 to 2: cat, dog, Ankle boot"},
		{"cat,", "an item of the list is empty; the classes are 0 to 2: cat, dog, Ankle boot (did you mean cat?)"},
		{"cat,all", "the classes are 0 to 2: cat, dog, Ankle boot"},
		{`" dog"`, "the classes are 0 to 2: cat, dog, Ankle boot (did you mean dog?)"},
		{"cat\ndog", "it has more than one line: a list is one line, with commas between names; the classes are 0 to 2: cat, dog, Ankle boot"},
		{`ca"t`, "it is not a CSV list: a name with a comma or a double quote is written in double quotes, and a double quote in it twice; the classes are 0 to 2: cat, dog, Ankle boot (did you mean cat?)"},
	}},
	{"names that are numbers in another order", 12, strings.Fields("0 1 10 11 2 3 4 5 6 7 8 9"), []labelCase{
		{"10", []int{2}}, {"2", []int{4}}, {"9,10,11", []int{11, 2, 3}}, {"all", []int{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11}},
		{"12", "the classes are 0, 1, 10, 11, 2, 3, 4, 5, 6, 7, 8, 9"},
	}},
	{"names that are numbers from 1", 3, []string{"1", "2", "3"}, []labelCase{
		{"1", []int{0}}, {"3", []int{2}},
		{"0", "the classes are 1, 2, 3"}, {"4", "the classes are 1, 2, 3"}, {"-1", "the classes are 1, 2, 3"},
		{"01", "the classes are 1, 2, 3 (did you mean 1?)"},
		{"+1", "the classes are 1, 2, 3 (did you mean 1?)"},
		{"1e0", "the classes are 1, 2, 3 (did you mean 1?)"},
	}},
	{"names that are numbers in other forms", 5, []string{"+1", "07", "1e3", "7", "x"}, []labelCase{
		{"07", []int{1}}, {"7", []int{3}}, {"+1", []int{0}}, {"1e3", []int{2}}, {"x", []int{4}},
		{"1", "the classes are +1, 07, 1e3, 7, x (did you mean +1?)"},
		{"1000", "the classes are +1, 07, 1e3, 7, x (did you mean 1e3?)"},
		{"0", "the classes are +1, 07, 1e3, 7, x"},
	}},
	{"one name that is a number", 3, []string{"a", "b", "7"}, []labelCase{
		{"7", []int{2}}, {"a", []int{0}}, {"0", "the classes are a, b, 7"},
	}},
	{"names that are fractions", 3, []string{"0.0", "0.5", "1.0"}, []labelCase{
		{"1.0", []int{2}}, {"1", "the classes are 0.0, 0.5, 1.0 (did you mean 1.0?)"},
	}},
	{"a number that float64 has no place for", 2, []string{"1" + strings.Repeat("0", 390), "x"}, []labelCase{
		{"0", "the classes are 1" + strings.Repeat("0", 390) + ", x"},
	}},
	{"words that ParseFloat knows are no numbers", 2, []string{"inf", "nan"}, []labelCase{{"nan", []int{1}}, {"1", []int{1}}}},
	{"digits", 10, strings.Fields("0 1 2 3 4 5 6 7 8 9"), []labelCase{{"7", []int{7}}, {"0,9", []int{0, 9}}}},
	{"names with commas", 2, []string{"goldfish, Carassius auratus", "tench, Tinca tinca"}, []labelCase{
		{"goldfish, Carassius auratus", []int{0}}, {"tench, Tinca tinca", []int{1}}, {"1,0", []int{1, 0}},
		{`"tench, Tinca tinca"`, []int{1}}, {`"tench, Tinca tinca" , 0`, []int{1, 0}},
		{`"tench, Tinca tinca","goldfish, Carassius auratus"`, []int{1, 0}},
		{"tench, Tinca", `the classes are 0 to 1: "goldfish, Carassius auratus", "tench, Tinca tinca" (did you mean "tench, Tinca tinca"?)`},
		{"tench, Tinca tinka", `the classes are 0 to 1: "goldfish, Carassius auratus", "tench, Tinca tinca" (did you mean "tench, Tinca tinca"?)`},
		{"tench, Tinca tinca,0", `the classes are 0 to 1: "goldfish, Carassius auratus", "tench, Tinca tinca" (did you mean "tench, Tinca tinca"?)`},
	}},
	{"names that are something else in a list", 9, []string{"all", "null", "none", "", "1,2", "a", "b", "a,b", `"a"`}, []labelCase{
		{"all", []int{0}}, {"null", []int{1}}, {"none", []int{2}}, {"", []int{3}}, {"1,2", []int{4}}, {"2,1", []int{2, 1}}, {"1, 2", []int{1, 2}},
		{"a,b", []int{7}}, {"b,a", []int{6, 5}}, {"a, b", []int{5, 6}}, {`"a"`, []int{8}}, {`"a",b`, []int{5, 6}}, {`"""a""",all`, []int{8, 0}},
		{`"",a`, []int{3, 5}},
	}},
	{"names with spaces at their ends", 4, []string{" a", "a", "a ", "b\nc"}, []labelCase{
		{" a", []int{0}}, {"a", []int{1}}, {"a ", []int{2}}, {"  a  ", []int{1}}, {`" a","a ",a`, []int{0, 2, 1}}, {"b\nc", []int{3}}, {"a,\"b\nc\",\" a\"", []int{1, 3, 0}},
		{"c", `the classes are 0 to 3: " a", a, "a ", "b\nc"`},
	}},
	{"an accent of its own", 2, []string{decomposed, "tea"}, []labelCase{
		{composed, []int{0}}, {decomposed, []int{0}}, {"tea," + composed, []int{1, 0}},
		{"cafe", "the classes are 0 to 1: " + decomposed + ", tea (did you mean " + decomposed + "?)"},
	}},
	{"a composed letter", 1, []string{composed}, []labelCase{{decomposed, []int{0}}}},
	{"a sign that NFC replaces", 1, []string{"\u212b"}, []labelCase{{"\u00c5", []int{0}}, {"A\u030a", []int{0}}}}, // angstrom
	{"names that look the same", 2, []string{composed + "e\u0301", decomposed + "\u00e9"}, []labelCase{
		{composed + "e\u0301", []int{0}}, {decomposed + "\u00e9", []int{1}}, {"0", []int{0}},
		{composed + "\u00e9", "the classes 0 and 1 have the same name, or names that look the same"},
	}},
	{"one name twice", 2, []string{"a", "a"}, []labelCase{
		{"a", "the classes 0 and 1 have the same name, or names that look the same"}, {"1", []int{1}},
	}},
	{"a name that is not UTF-8", 1, []string{"caf\ufffd\ufffd"}, []labelCase{{"caf\xe9\xe8", []int{0}}}}, // as JSON keeps it
	{"more room than names", 5, []string{"a", "b"}, []labelCase{
		{"all", []int{0, 1}}, {"2", "the classes are 0 to 1: a, b"},
	}},
	{"no names", 4, nil, []labelCase{
		{"3", []int{3}}, {"0, 2", []int{0, 2}}, {"all", []int{0, 1, 2, 3}}, {"07", "the classes are 0 to 3"}, {"02", []int{2}},
		{"4", "the classes are 0 to 3"}, {"cat", "the classes are 0 to 3"}, {"", "the classes are 0 to 3"},
	}},
	{"no classes", 0, nil, []labelCase{
		{"0", "the model is not class-conditional"}, {"all", "the model is not class-conditional"}, {"", "the model is not class-conditional"},
	}},
}

// A class is asked for by its name first; a number is a label only where no name is a number.
func TestLabelsByNameThenByNumber(t *testing.T) {
	for _, m := range labelCases {
		p := namedPipeline(t, m.room, m.names...)
		for _, c := range m.cases {
			got, err := p.ParseLabels(c.list)
			if want, ok := c.want.([]int); ok {
				if err != nil || !slices.Equal(got, want) {
					t.Errorf("%s: %q is %v, %v; want %v", m.what, c.list, got, err, want)
				}
				continue
			}
			var l *LabelError
			if !errors.As(err, &l) || l.Reason != c.want {
				t.Errorf("%s: %q is %v, %v; want an error: %s", m.what, c.list, got, err, c.want)
			}
		}
	}
}

// FormatLabels writes what ParseLabels reads, whatever the names.
func TestFormatLabelsIsRead(t *testing.T) {
	for _, m := range labelCases {
		p := namedPipeline(t, m.room, m.names...)
		for i, name := range m.names {
			l, err := p.ParseLabels(FormatLabels([]string{name, name}))
			if m.what != "one name twice" && m.what != "a name that is not UTF-8" && (err != nil || !slices.Equal(l, []int{i, i})) {
				t.Errorf("%s: %q, written twice, is %v, %v", m.what, name, l, err)
			}
		}
	}
}

// A message names a thousand classes only in part, and says how many there are.
func TestManyClassesAreCut(t *testing.T) {
	names := make([]string, 1000)
	for i := range names {
		names[i] = fmt.Sprintf("class of things, kind %c%d", 'a'+i%26, i)
	}
	p := namedPipeline(t, len(names), names...)
	_, err := p.Label("x")
	if err == nil || len(err.Error()) > 600 || !strings.HasSuffix(err.Error(), `"class of things, kind o14" and 985 more`) {
		t.Errorf("the error is %v", err)
	}
	if all := p.ClassList(0); !strings.HasPrefix(all, `0 to 999: "class of things, kind a0", `) || strings.Count(all, "kind") != 1000 {
		t.Errorf("the list of all names is %.80s... of %d letters", all, len(all))
	}
	names[0] = strings.Repeat("long", 60)
	if list := p.ClassList(10); list != "0 to 999: "+names[0]+" and 999 more" {
		t.Errorf("a list that is too narrow is %.80s...", list)
	}
}

// The library's look-up leads to the class's images.
func TestSampleByName(t *testing.T) {
	p := trainedPipeline(t)
	if got := p.Classes(); !slices.Equal(got, []string{"dark", "bright"}) || p.NumClasses() != 2 {
		t.Fatalf("%d classes, %q", p.NumClasses(), got)
	}
	for name, sign := range map[string]float32{"dark": -1, "bright": 1} {
		l, err := p.Label(name)
		if err != nil {
			t.Fatal(err)
		}
		s, err := p.Sample(context.Background(), SampleOptions{N: 1, Sampler: "ddim", Steps: 20, Seed: 5, Labels: []int{l}})
		if err != nil {
			t.Fatal(err)
		}
		sum := float32(0)
		for _, v := range s.Data {
			sum += v
		}
		if sum*sign < 0 {
			t.Errorf("the image of class %s has the sum %g", name, sum)
		}
	}
	p.Classes()[0] = "changed"
	if got := p.Classes()[0]; got != "dark" {
		t.Errorf("a caller renamed a class to %s", got)
	}
}

// Whatever is asked for is a class of the model, or a LabelError in one line.
func FuzzParseLabels(f *testing.F) {
	for _, m := range labelCases {
		for _, c := range m.cases {
			f.Add(c.list)
		}
	}
	var models []*Pipeline
	for _, m := range labelCases {
		if m.room > 0 {
			models = append(models, namedPipeline(f, m.room, m.names...))
		}
	}
	f.Fuzz(func(t *testing.T, list string) {
		for _, p := range models {
			labels, err := p.ParseLabels(list)
			var l *LabelError
			switch {
			case err == nil && len(labels) == 0, err != nil && !errors.As(err, &l), err != nil && strings.Contains(err.Error(), "\n"):
				t.Errorf("%q is %v, %v", list, labels, err)
			}
			for _, v := range labels {
				if err == nil && (v < 0 || v >= p.NumClasses()) {
					t.Errorf("%q is %v of %d classes", list, labels, p.NumClasses())
				}
			}
		}
	})
}
