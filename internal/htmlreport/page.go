// Package htmlreport writes a page about a training run: one HTML file that refers to nothing outside of itself.
package htmlreport

import (
	"bytes"
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"fmt"
	"html/template"
	"io"
	"strings"

	"unstir/internal/oneline"
)

// MaxBytes is more than a page ever has.
const MaxBytes = 10_000_000

// Page is what a page shows. Texts may be anything: they are escaped, and what is not printable is written as in a
// string literal of Go.
type Page struct {
	Title      string // the run's name
	Classifier bool   // it makes no images: nothing is said of previews, evaluation and samplers
	Status     string // one sentence
	Facts      []Fact
	Missing    []string // sentences about what the run does not have, for the top
	Curves     []Curve
	Previews   []Picture // in the order of the steps

	PreviewNote string // below them; may be empty
	Evaluation  *Evaluation
	Bound       *Picture // the plot of its bits per dimension; nil: there is none
	NoteOnEval  string   // below it, or why there is none
	Samplers    []Picture
	NoSamplers  string // what to do where there are no such pictures
	Commands    []Command
	Config      string // TOML
	Made        string // when and by what the page was made
}

// Fact is a line of a list.
type Fact struct{ Label, Value string }

// Command is a line to type.
type Command struct{ Purpose, Line string }

var (
	//go:embed page.html
	page string
	//go:embed page.css
	style string
	//go:embed page.js
	script string

	pageTemplate = template.Must(template.New("page").Parse(page))
)

// maxConfig is how much of a configuration is shown, in bytes.
const maxConfig = 1 << 16

// Write writes the page.
func Write(w io.Writer, p Page) error {
	all := []*string{&p.Title, &p.Status, &p.PreviewNote, &p.NoteOnEval, &p.NoSamplers, &p.Made}
	for i := range p.Facts {
		all = append(all, &p.Facts[i].Value)
	}
	if e := p.Evaluation; e != nil {
		for i := range e.How {
			all = append(all, &e.How[i].Value)
		}
		for i := range e.Measures {
			all = append(all, &e.Measures[i].Value, &e.Measures[i].Beside)
		}
	}
	for i := range p.Missing {
		all = append(all, &p.Missing[i])
	}
	for i := range p.Commands {
		all = append(all, &p.Commands[i].Line)
	}
	var bound []Picture
	if p.Bound != nil {
		bound = append(bound, *p.Bound)
	}
	for _, list := range [][]Picture{p.Previews, p.Samplers, bound} {
		for i := range list {
			all = append(all, &list[i].Alt, &list[i].Caption)
		}
	}
	for _, s := range all {
		*s = clean(*s)
	}
	view := struct {
		Page
		Policy, Style, Script any
		Drawings              []*drawing
		NoCurves              []string
		Previews, Samplers    []figure
		Bound                 []figure
		Bars                  []bar
		MoreBars              int
	}{
		Page: p, Style: template.CSS(style), Script: template.JS(script),
		Policy:   fmt.Sprintf("default-src 'none'; img-src data:; style-src %s; script-src %s; base-uri 'none'; form-action 'none'", hash(style), hash(script)),
		Previews: figures(p.Previews, budgetPreviews), Samplers: figures(p.Samplers, budgetSamples),
		Bound: figures(bound, budgetBound),
	}
	for i, c := range p.Curves {
		if d := layOut(fmt.Sprintf("curve-%d", i+1), c); d != nil {
			view.Drawings = append(view.Drawings, d)
		} else {
			view.NoCurves = append(view.NoCurves, c.Name)
		}
	}
	view.Config = cleanLines(p.Config)
	if e := p.Evaluation; e != nil {
		view.Bars = e.bars()
		view.MoreBars = len(e.Classes) - len(view.Bars)
	}
	var b bytes.Buffer
	if err := pageTemplate.Execute(&b, view); err != nil {
		return fmt.Errorf("write the page: %w", err)
	}
	_, err := w.Write(b.Bytes())
	return err
}

// hash lets a browser run or apply this text and no other.
func hash(text string) string {
	sum := sha256.Sum256([]byte(text))
	return "'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'"
}

// clean is a text in one line of printable characters: names must not turn the text around them, for one.
func clean(s string) string { return oneline.Text(s) }

// cleanLines is a text whose lines are such, and whose end is left out where it is too long.
func cleanLines(text string) string {
	var b strings.Builder
	for line := range strings.Lines(text) {
		line = clean(strings.TrimRight(line, "\r\n"))
		if b.Len()+len(line) > maxConfig {
			b.WriteString("... and more\n")
			break
		}
		b.WriteString(line + "\n")
	}
	return b.String()
}
