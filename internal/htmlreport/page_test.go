package htmlreport

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/xml"
	"errors"
	"fmt"
	"image"
	"image/color"
	"image/gif"
	"image/png"
	"io"
	"math"
	"math/rand/v2"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"unicode"
)

// element is an element of a page.
type element struct {
	name string
	attr map[string]string
	text string // directly in it
}

// write is a page, and its elements in their order.
func write(t *testing.T, p Page) (string, []*element) {
	t.Helper()
	var b bytes.Buffer
	if err := Write(&b, p); err != nil {
		t.Fatal(err)
	}
	if b.Len() > MaxBytes {
		t.Errorf("the page has %d bytes, more than %d", b.Len(), MaxBytes)
	}
	d := xml.NewDecoder(bytes.NewReader(b.Bytes()))
	d.Strict, d.AutoClose, d.Entity = false, xml.HTMLAutoClose, xml.HTMLEntity
	var all, open []*element
	for {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatalf("the page is not well-formed: %v", err)
		}
		switch token := token.(type) {
		case xml.StartElement:
			e := &element{name: token.Name.Local, attr: map[string]string{}}
			for _, a := range token.Attr {
				if _, twice := e.attr[a.Name.Local]; twice {
					t.Errorf("<%s> has %s twice", e.name, a.Name.Local)
				}
				e.attr[a.Name.Local] = a.Value
			}
			all, open = append(all, e), append(open, e)
		case xml.EndElement:
			open = open[:len(open)-1]
		case xml.CharData:
			if len(open) > 0 {
				open[len(open)-1].text += string(token)
			}
		}
	}
	return b.String(), all
}

// named lists the elements of a name.
func named(all []*element, name string) (list []*element) {
	for _, e := range all {
		if e.name == name {
			list = append(list, e)
		}
	}
	return list
}

func noise(t *testing.T, w, h int) []byte {
	t.Helper()
	r := rand.New(rand.NewPCG(1, uint64(w)))
	m := image.NewNRGBA(image.Rect(0, 0, w, h))
	for i := range m.Pix {
		m.Pix[i] = byte(r.Uint32()) | byte(i%4/3)*255
	}
	var b bytes.Buffer
	if err := png.Encode(&b, m); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func animation(t *testing.T, w, h int) []byte {
	t.Helper()
	r := rand.New(rand.NewPCG(1, 2))
	m := image.NewPaletted(image.Rect(0, 0, w, h), color.Palette{color.Black, color.White, color.Gray{99}, color.Gray{200}})
	for i := range m.Pix {
		m.Pix[i] = byte(r.IntN(4))
	}
	var b bytes.Buffer
	if err := gif.Encode(&b, m, nil); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func points(n int, f func(i int) float64) (list []Point) {
	for i := range n {
		list = append(list, Point{1 + 10*i, f(i)})
	}
	return list
}

// whole is a page that has everything.
func whole(t *testing.T) Page {
	e := &Evaluation{
		Measures: []Measure{{"Fréchet distance", "2", "real images 0.4", "lower is better"}, {Name: "Recall", Value: "0.5", Means: "share of real images"}},
		How:      []Fact{{"Sampler", "ddim, 50 steps"}},
		Classes:  []Class{{"zero", 120}, {"one", 0}, {"two", 80}},
	}
	return Page{
		Title: "digits", Status: "All done.", Facts: []Fact{{"Seed", "3"}, {"Data", "mnist"}}, Missing: []string{"Nothing much."},
		Curves: []Curve{
			{Name: "Loss", Unit: "mean squared error", Log: true, Smooth: true, Points: points(40, func(i int) float64 { return 1 / float64(1+i) })},
			{Name: "Learning rate", Unit: "step size", Points: points(3000, func(i int) float64 { return 1e-4 * float64(i) })},
		},
		Previews:    []Picture{{noise(t, 8, 8), "Grid at step 1", "step 1"}, {noise(t, 9, 8), "Grid at step 2", "step 2"}},
		PreviewNote: "By ddim.", Evaluation: e, Bound: &Picture{noise(t, 9, 4), "Two curves", "Terms."}, NoteOnEval: "An older one.",
		Samplers: []Picture{{noise(t, 20, 8), "ddpm beside ddim", "ddpm; ddim"}, {animation(t, 8, 8), "A walk", "walk"}},
		Commands: []Command{{"Draw samples:", "diffusion sample --model runs/digits"}}, Config: "name = \"digits\"\n[train]\nsteps = 30\n", Made: "Made today.",
	}
}

// outline is what a page consists of, without its texts.
const outline = `html
head
title: digits: training run
body
main
header
h1: digits
nav Contents
a #curves
a #previews
a #evaluation
a #samplers
a #go-on
a #configuration
section missing
h2: What is missing
section The run
section curves
h2: Curves
figure
h3: Loss
svg curve-1 curve-1-summary
path frame
path values
path mean
table
figure
h3: Learning rate
svg curve-2 curve-2-summary
path frame
path values alone
table
section previews
h2: Previews over time
figure
img Grid at step 1
figure
img Grid at step 2
section evaluation
h2: Evaluation
table
table
figure
img Two curves
section samplers
h2: Samplers side by side
figure
img ddpm beside ddim
figure
img A walk
section go-on
h2: How to go on
section configuration
h2: Configuration
pre The configuration, in TOML
footer
script
`

func TestAPageHasItsParts(t *testing.T) {
	text, all := write(t, whole(t))
	var got strings.Builder
	for _, e := range all {
		label := e.attr["aria-label"] + e.attr["aria-labelledby"]
		switch e.name {
		case "html", "head", "body", "main", "header", "figure", "table", "footer", "script":
			fmt.Fprintln(&got, e.name)
		case "title", "h1", "h2", "h3":
			fmt.Fprintf(&got, "%s: %s\n", e.name, e.text)
		case "a":
			fmt.Fprintln(&got, "a", e.attr["href"])
		case "img":
			fmt.Fprintln(&got, "img", e.attr["alt"])
		case "path":
			fmt.Fprintln(&got, "path", e.attr["class"])
		case "section", "nav", "svg", "pre":
			if label != "" {
				fmt.Fprintln(&got, e.name, label)
			}
		}
	}
	if got.String() != outline {
		t.Errorf("the page consists of\n%s\nwant\n%s", &got, outline)
	}
	for _, want := range []string{
		"<!DOCTYPE html>", `<html lang="en">`, "All done.", "Nothing much.", "By ddim.", "An older one.", "Made today.",
		"steps = 30", "diffusion sample --model runs/digits", "Fréchet distance", "real images 0.4", "lower is better", ">zero<", ">120<",
		`<rect width="100" height="10"/>`, "ddim, 50 steps", "Terms.", "Loss over steps 1 to 391: from 1 to 0.025, lowest 0.025 at step 391, highest 1 at step 1.",
		"mean squared error, by training step; logarithmic axis",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("the page does not have %q", want)
		}
	}
}

// A page refers to nothing but itself: each reference within it leads somewhere, and there are no others.
func TestAPageRefersToItselfOnly(t *testing.T) {
	text, all := write(t, whole(t))
	ids := map[string]bool{}
	for _, e := range all {
		if id, ok := e.attr["id"]; ok {
			if ids[id] {
				t.Errorf("the id %q is there twice", id)
			}
			ids[id] = true
		}
	}
	for _, e := range all {
		for name, value := range e.attr {
			switch name {
			case "href":
				if !strings.HasPrefix(value, "#") || !ids[value[1:]] {
					t.Errorf("a link leads to %q", value)
				}
			case "aria-labelledby":
				for id := range strings.FieldsSeq(value) {
					if !ids[id] {
						t.Errorf("a label is %q, which is not there", id)
					}
				}
			case "src":
				if !strings.HasPrefix(value, "data:image/") {
					t.Errorf("a picture comes from %q", value)
				}
			case "style", "srcset", "action", "background", "poster", "ping":
				t.Errorf("there is an attribute %s", name)
			}
		}
		if e.name == "link" || e.name == "iframe" || e.name == "object" || e.name == "base" {
			t.Errorf("there is a <%s>", e.name)
		}
	}
	for _, img := range named(all, "img") {
		kind, data, _ := strings.Cut(strings.TrimPrefix(img.attr["src"], "data:image/"), ";base64,")
		file, err := base64.StdEncoding.DecodeString(data)
		if err != nil {
			t.Fatal(err)
		}
		c, found, err := image.DecodeConfig(bytes.NewReader(file))
		if err != nil || found != kind || strconv.Itoa(c.Width) != img.attr["width"] || strconv.Itoa(c.Height) != img.attr["height"] || img.attr["alt"] == "" {
			t.Errorf("a picture of %q is a %s of %dx%d (%v)", img.attr["alt"], found, c.Width, c.Height, err)
		}
	}
	if found := regexp.MustCompile(`(?i)https?:|url\(|@import|fetch\(|XMLHttp|[^:]//[a-z]+\.`).FindString(text); found != "" {
		t.Errorf("the page has %q", found)
	}
}

// The policy lets a browser load nothing and run only the page's own script, and has no effect on that.
func TestThePolicyAllowsThePage(t *testing.T) {
	_, all := write(t, whole(t))
	policy := ""
	for _, m := range named(all, "meta") {
		if m.attr["http-equiv"] == "Content-Security-Policy" {
			policy = m.attr["content"]
		}
	}
	if !strings.HasPrefix(policy, "default-src 'none'; img-src data:; ") || strings.Contains(policy, "unsafe") {
		t.Errorf("the policy is %q", policy)
	}
	for _, name := range []string{"style", "script"} {
		list := named(all, name)
		if len(list) != 1 || list[0].text == "" {
			t.Fatalf("there are %d <%s>", len(list), name)
		}
		sum := sha256.Sum256([]byte(list[0].text))
		if !strings.Contains(policy, name+"-src 'sha256-"+base64.StdEncoding.EncodeToString(sum[:])+"'") {
			t.Errorf("the policy %q does not allow the page's %s", policy, name)
		}
	}
}

// hostile texts try to leave their place, and to be something else.
var hostile = []string{
	`</title></style></script><script>alert(1)</script>`, `"><img src=x onerror=alert(1)>`, `' onload='alert(1)`, "{{.Config}} {{end}}", "<!-- -->", "]]>",
	"a\u202etxt.exe\u2066", "line\nbreak\x00\x1b[31m", "\xff\xfe", "javascript:alert(1)", strings.Repeat("long", 3000), "&lt;b&gt;", "--></desc></svg>",
}

func TestHostileTextsStayTexts(t *testing.T) {
	_, plain := write(t, whole(t))
	for _, bad := range hostile {
		p := whole(t)
		p.Title, p.Status, p.PreviewNote, p.NoteOnEval, p.NoSamplers, p.Made, p.Config = bad, bad, bad, bad, bad, bad, "a = 1\n"+bad
		p.Missing = []string{bad}
		*p.Bound = Picture{p.Bound.Data, bad, bad}
		p.Facts[0].Value, p.Commands[0].Line = bad, bad
		for i := range p.Previews {
			p.Previews[i].Alt, p.Previews[i].Caption = bad, bad
		}
		for i := range p.Samplers {
			p.Samplers[i].Alt, p.Samplers[i].Caption = bad, bad
		}
		for i := range p.Evaluation.Classes {
			p.Evaluation.Classes[i].Name = bad
		}
		p.Evaluation.How[0].Value, p.Evaluation.Measures[0].Value, p.Evaluation.Measures[0].Beside = bad, bad, bad
		text, all := write(t, p)
		if len(all) != len(plain) {
			t.Errorf("with %.40q the page has %d elements, want %d", bad, len(all), len(plain))
			continue
		}
		for i, e := range all {
			for name := range e.attr {
				if _, ok := plain[i].attr[name]; !ok {
					t.Errorf("with %.40q <%s> has an attribute %s", bad, e.name, name)
				}
			}
		}
		if i := strings.IndexFunc(text, func(r rune) bool {
			return !unicode.IsPrint(r) && r != '\n' && r != '\t' || r == unicode.ReplacementChar
		}); i >= 0 && bad != "\xff\xfe" {
			t.Errorf("with %.40q the page has the character %q", bad, text[i:i+1])
		}
	}
}

// A page of which everything is missing is a page.
func TestAnEmptyPage(t *testing.T) {
	text, all := write(t, Page{NoSamplers: "No samplers.", NoteOnEval: "No evaluation.", PreviewNote: "No previews.", Curves: []Curve{{Name: "Loss"}, {Name: "Speed", Points: points(1, func(int) float64 { return 1 })}}})
	for _, want := range []string{"No samplers.", "No evaluation.", "No previews.", "Loss: there are fewer than two values to draw.", "Speed: there are fewer than two values to draw."} {
		if !strings.Contains(text, want) {
			t.Errorf("the page does not have %q", want)
		}
	}
	if n := len(named(all, "h2")); n != 6 {
		t.Errorf("the page has %d parts, want 6", n)
	}
}

// However much a run has, its page is smaller than 10 MB: pictures are made smaller, and what cannot be is left out.
func TestAPageIsSmall(t *testing.T) {
	p := whole(t)
	p.Previews, p.Samplers = nil, nil
	large := noise(t, 900, 900)
	p.Bound.Data = large
	for range 12 {
		p.Previews = append(p.Previews, Picture{large, "large", strings.Repeat("<", 5000)})
	}
	for range 7 {
		p.Samplers = append(p.Samplers, Picture{large, "large", "large"})
	}
	p.Samplers = append(p.Samplers, Picture{animation(t, 3000, 3000), "a walk", "walk"}, Picture{[]byte("text"), "text", "text"})
	p.Config = strings.Repeat("key = \"<<<<<<<<<<<<<<<<<<<<<<<<<<<<<<<<<<\"\n", 1e5)
	for i := range 5000 {
		p.Evaluation.Classes = append(p.Evaluation.Classes, Class{strings.Repeat("<", 2000), i})
	}
	for i := range p.Curves {
		p.Curves[i].Points = points(200_000, func(i int) float64 { return 1 + math.Sin(float64(i))/2 })
	}
	text, all := write(t, p) // which checks the size
	if n := len(named(all, "img")); n != 20 {
		t.Errorf("%d pictures are shown, want 20", n)
	}
	for _, want := range []string{"made smaller for this page", "is too large for this page", "no picture that can be read", "... and more", "and 4903 more classes"} {
		if !strings.Contains(text, want) {
			t.Errorf("the page does not say %q", want)
		}
	}
}

// luminance is the relative luminance of a colour, as WCAG 2 defines it.
func luminance(t *testing.T, hex string) float64 {
	t.Helper()
	n, err := strconv.ParseUint(strings.TrimPrefix(hex, "#"), 16, 32)
	if err != nil {
		t.Fatal(err)
	}
	sum := 0.0
	for i, weight := range []float64{0.0722, 0.7152, 0.2126} {
		v := float64(n>>(8*i)&255) / 255
		if v <= 0.03928 {
			v /= 12.92
		} else {
			v = math.Pow((v+0.055)/1.055, 2.4)
		}
		sum += weight * v
	}
	return sum
}

// Texts have a contrast of at least 4.5, and lines of 3, in both schemes.
func TestContrasts(t *testing.T) {
	roots := regexp.MustCompile(`(?s):root \{(.*?)\}`).FindAllStringSubmatch(style, -1)
	if len(roots) != 2 {
		t.Fatalf("there are %d schemes", len(roots))
	}
	for i, root := range roots {
		colors := map[string]string{}
		for _, m := range regexp.MustCompile(`--([a-z-]+): (#[0-9a-f]{6});`).FindAllStringSubmatch(root[1], -1) {
			colors[m[1]] = m[2]
		}
		for _, pair := range []struct {
			above, below string
			least        float64
		}{
			{"ink", "paper", 7}, {"ink", "panel", 7}, {"quiet", "paper", 4.5}, {"quiet", "panel", 4.5}, {"accent", "paper", 4.5},
			{"accent", "panel", 4.5}, {"warn", "warn-panel", 4.5}, {"ink", "warn-panel", 7}, {"mean", "panel", 3}, {"line", "panel", 3}, {"mean", "paper", 3},
		} {
			a, b := luminance(t, colors[pair.above]), luminance(t, colors[pair.below])
			if ratio := (max(a, b) + 0.05) / (min(a, b) + 0.05); ratio < pair.least {
				t.Errorf("scheme %d: the contrast of %s on %s is %.2f, want %g", i, pair.above, pair.below, ratio, pair.least)
			}
		}
	}
}

func TestNumbers(t *testing.T) {
	for v, want := range map[float64]string{
		0: "0", 1: "1", -3: "-3", 999: "999", 1000: "1,000", -1234567: "-1,234,567", 12345.6: "12,346", 0.25: "0.25", 0.123456: "0.1235", 12.3456: "12.35",
		0.001: "0.001", 0.0002: "2e-4", 0.00015: "1.5e-4", 1e-8: "1e-8", 1.5e20: "1.5e20", -2.5e-5: "-2.5e-5",
	} {
		if got := Number(v); got != want {
			t.Errorf("%g is %q, want %q", v, got, want)
		}
	}
}

func TestTicks(t *testing.T) {
	for _, tc := range []struct {
		got  []float64
		want string
	}{
		{linearTicks(1, 400, 5), "[100 200 300 400]"},
		{linearTicks(0, 0.002, 5), "[0 0.0005 0.001 0.0015 0.002]"},
		{linearTicks(0, 1, 5), "[0 0.2 0.4 0.6 0.8 1]"},
		{linearTicks(1, 8, 5), "[2 4 6 8]"},
		{linearTicks(-1, 1, 5), "[-1 -0.5 0 0.5 1]"},
		{logTicks(0.02, 1.1), "[0.02 0.05 0.1 0.2 0.5 1]"},
		{logTicks(1e-5, 1e5), "[1e-05 0.001 0.1 10 1000 100000]"},
		{logTicks(0.93, 1.05), "[0.95 1 1.05]"},
	} {
		for i, v := range tc.got {
			tc.got[i], _ = strconv.ParseFloat(strconv.FormatFloat(v, 'g', 12, 64), 64)
		}
		if got := fmt.Sprint(tc.got); got != tc.want || math.Signbit(tc.got[0]) && tc.got[0] == 0 {
			t.Errorf("ticks %s, want %s", got, tc.want)
		}
	}
}

// A long curve is thinned out without losing a spike, its mean follows it, and what cannot be drawn is left out.
func TestCurves(t *testing.T) {
	list := points(100_000, func(i int) float64 { return 2 })
	list[54_321].Value = 1000
	thinned := extremes(list)
	if len(thinned) > 2*maxShown+2 || !slices.Contains(thinned, list[54_321]) || thinned[0] != list[0] || thinned[len(thinned)-1] != list[99_999] {
		t.Errorf("%d points are left, from %v to %v", len(thinned), thinned[0], thinned[len(thinned)-1])
	}
	if !slices.IsSortedFunc(thinned, func(a, b Point) int { return a.Step - b.Step }) {
		t.Error("the points are out of order")
	}
	for _, log := range []bool{false, true} {
		mean := smooth(points(50, func(i int) float64 { return math.Exp(float64(i) / 10) }), log)
		if want := math.Exp(2); log && math.Abs(mean[20].Value/want-1) > 1e-12 || !log && mean[20].Value <= want {
			t.Errorf("the mean is %g around %g", mean[20].Value, want)
		}
	}
	zigzag := smooth(points(60, func(i int) float64 { return 1 + float64(i%2) }), false)
	if first, last := zigzag[0].Value, zigzag[59].Value; first != 1 || last < 1.4 || last > 1.6 {
		t.Errorf("the mean of a zigzag between 1 and 2 begins at %g and ends at %g", first, last)
	}
	d := layOut("x", Curve{Log: true, Points: []Point{{1, 0.5}, {2, math.NaN()}, {3, 0}, {4, math.Inf(1)}, {5, -1}, {6, 0.25}}})
	if d == nil || d.Line != "M92 18L620 256" || len(d.Points) != 2 || d.Shown != "1;0.5;92;18 6;0.25;620;256" {
		t.Errorf("the curve is %+v", d)
	}
	for last := 2; last < 40; last++ {
		d := layOut("x", Curve{Points: []Point{{1, 1}, {last, 2}}})
		if len(d.XTicks) == 0 {
			t.Errorf("steps 1 to %d have no ticks", last)
		}
		for _, tick := range d.XTicks {
			if _, err := strconv.Atoi(tick.Label); err != nil {
				t.Errorf("steps 1 to %d have the tick %s", last, tick.Label)
			}
		}
	}
	for _, few := range [][]Point{nil, {{1, 2}}, {{1, 2}, {1, 3}}, {{1, 2}, {2, math.NaN()}}} {
		if d := layOut("x", Curve{Points: few}); d != nil {
			t.Errorf("%v is drawn as %+v", few, d)
		}
	}
	for _, level := range []float64{0, 1e-30, 3, 1e30} { // a line that does not divide by zero
		for _, log := range []bool{false, true} {
			if d := layOut("x", Curve{Log: log, Points: []Point{{1, level}, {9, level}}}); d != nil && strings.Contains(d.Line+d.Shown, "NaN") {
				t.Errorf("a curve at %g is %+v", level, d)
			}
		}
	}
}
