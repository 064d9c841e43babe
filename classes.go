package unstir

import (
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/text/unicode/norm"

	"unstir/internal/oneline"
	"unstir/internal/spell"
)

// LabelError is the error of Label and ParseLabels: what was asked for is not a class of the model.
type LabelError struct {
	Label  string // what was asked for
	Reason string // what is wrong with it, and what would be right
}

func (e *LabelError) Error() string { return fmt.Sprintf("unstir: label %q: %s", e.Label, e.Reason) }

// NumClasses is the number of classes that can be asked for: those of the data that the model was trained on, as far as its
// checkpoint names them, or else all that it has room for but the null class; 0 for a model that is not class-conditional.
// They are the labels 0 to NumClasses()-1, unless WithNullClass has named one among these: Labels lists them.
func (p *Pipeline) NumClasses() int {
	classes := p.model.Config.NumClassEmbeds
	if _, ok := p.NullClass(); ok {
		classes--
	}
	if names := p.classNames(); names != nil {
		return min(classes, len(names))
	}
	return classes
}

// Labels are the labels of the classes that can be asked for, rising.
func (p *Pipeline) Labels() []int {
	null, end := p.labelRange()
	labels := make([]int, 0, end)
	for l := range end {
		if l != null {
			labels = append(labels, l)
		}
	}
	return labels
}

// labelRange says that the labels are those below end, but for the null class; null is -1 where it is none of them.
func (p *Pipeline) labelRange() (null, end int) {
	end = p.NumClasses()
	if null, ok := p.NullClass(); ok && null < end {
		return null, end + 1
	}
	return -1, end
}

// labelWords are the labels in words.
func (p *Pipeline) labelWords() string {
	switch null, end := p.labelRange(); null {
	case -1:
		return fmt.Sprintf("0 to %d", end-1)
	case 0:
		return fmt.Sprintf("1 to %d", end-1)
	default:
		return fmt.Sprintf("0 to %d but %d", end-1, null)
	}
}

// Classes are the names of the classes in the order of their labels. They are nil for a model that is not
// class-conditional, and for one that came without names: its classes have only numbers.
func (p *Pipeline) Classes() []string {
	if names := p.classNames(); names != nil {
		return slices.Clone(names[:p.NumClasses()])
	}
	return nil
}

func (p *Pipeline) classNames() []string {
	if st := p.Source.State; st != nil && len(st.Data.Classes) > 0 && p.model.Config.NumClassEmbeds > 0 {
		return st.Data.Classes
	}
	return nil
}

// Label is the label of the class of that name, compared in Unicode's normal form NFC: an accent may be a letter's part
// or a character of its own. Where no class has the name and it is a whole number, it is the label itself, one of
// Labels, unless classes are named by numbers: then a number is a name and nothing else. The error is a
// *LabelError.
func (p *Pipeline) Label(name string) (int, error) {
	names := p.Classes()
	if p.NumClasses() == 0 {
		return 0, &LabelError{name, "the model is not class-conditional"}
	}
	switch found := withName(names, name); {
	case len(found) == 1:
		return found[0], nil
	case len(found) > 1:
		return 0, &LabelError{name, fmt.Sprintf("the classes %d and %d have the same name, or names that look the same", found[0], found[1])}
	}
	null, end := p.labelRange()
	if l, err := strconv.Atoi(name); err == nil && l >= 0 && l < end && l != null && !slices.ContainsFunc(names, isNumber) {
		return l, nil
	}
	return 0, &LabelError{name, "the classes are " + p.ClassList(messageWidth) + didYouMean(names, name)}
}

// ParseLabels reads a list of classes as the program's --label takes it. The whole of it may be one class's name; or it
// is "all", for each class in turn; or it is a line of CSV, whose items are each what Label takes, in double quotes
// where a name has a comma, a double quote (written twice) or spaces at its ends:
//
//	cat
//	3, 1, dog
//	"goldfish, Carassius auratus", tench
//
// The error is a *LabelError.
func (p *Pipeline) ParseLabels(list string) ([]int, error) {
	if p.NumClasses() == 0 {
		return nil, &LabelError{list, "the model is not class-conditional"}
	}
	names := p.Classes()
	if len(withName(names, list)) > 0 {
		l, err := p.Label(list)
		return []int{l}, err
	}
	if list == "all" {
		return p.Labels(), nil
	}
	items, err := splitLabels(list)
	if err != nil {
		return nil, &LabelError{list, err.Error() + "; the classes are " + p.ClassList(messageWidth) + didYouMean(names, list)}
	}
	labels := make([]int, len(items))
	for i, item := range items {
		if labels[i], err = p.Label(item); err != nil {
			if near := didYouMean(names, list); near != "" { // the whole was meant to be one name
				return nil, &LabelError{list, "the classes are " + p.ClassList(messageWidth) + near}
			}
			return nil, err
		}
	}
	return labels, nil
}

// FormatLabels lists names as ParseLabels reads them.
func FormatLabels(names []string) string {
	quoted := make([]string, len(names))
	for i, s := range names {
		if s == "" || s != strings.TrimSpace(s) || strings.ContainsAny(s, ",\"\r\n") {
			s = `"` + strings.ReplaceAll(s, `"`, `""`) + `"`
		}
		quoted[i] = s
	}
	return strings.Join(quoted, ", ")
}

// afterQuotes are the spaces between an item in quotes and the comma behind it, which encoding/csv does not expect.
var afterQuotes = regexp.MustCompile(`((?:^|,)\s*"(?:[^"]|"")*")\s+(,|$)`)

// splitLabels takes a list apart. Items that are not in quotes lose the spaces around them.
func splitLabels(list string) ([]string, error) {
	items, err := splitCSV(list)
	if err != nil {
		if trimmed, err := splitCSV(afterQuotes.ReplaceAllString(list, "$1$2")); err == nil {
			return trimmed, nil
		}
	}
	return items, err
}

func splitCSV(list string) ([]string, error) {
	r := csv.NewReader(strings.NewReader(list))
	r.TrimLeadingSpace = true
	items, err := r.Read()
	if errors.Is(err, io.EOF) {
		return []string{""}, nil
	}
	if err != nil {
		return nil, errors.New("it is not a CSV list: a name with a comma or a double quote is written in double quotes, and a double quote in it twice")
	}
	lines := strings.SplitAfter(list, "\n")
	for i, item := range items {
		if line, column := r.FieldPos(i); strings.HasPrefix(lines[line-1][column-1:], `"`) {
			continue
		}
		if items[i] = strings.TrimSpace(item); items[i] == "" && len(items) > 1 {
			return nil, errors.New("an item of the list is empty")
		}
	}
	if _, err := r.Read(); !errors.Is(err, io.EOF) {
		return nil, errors.New("it has more than one line: a list is one line, with commas between names")
	}
	return items, nil
}

// withName are the classes of a name: those that have it exactly, or else those that have it in normal form.
func withName(names []string, name string) []int {
	var exact, same []int
	want := normal(name)
	for i, n := range names {
		if n == name {
			exact = append(exact, i)
		}
		if normal(n) == want {
			same = append(same, i)
		}
	}
	if len(exact) > 0 {
		return exact
	}
	return same
}

// normal is a name as names are compared. A file's name need not be UTF-8; what is not has become U+FFFD on its way
// through JSON.
func normal(name string) string { return norm.NFC.String(string([]rune(name))) }

// isNumber reports whether a name is a number: where a class's is, no number is a label.
func isNumber(name string) bool {
	_, ok := number(name)
	return ok
}

func number(name string) (float64, bool) {
	if !strings.ContainsAny(name, "0123456789") { // not inf, nor nan
		return 0, false
	}
	v, err := strconv.ParseFloat(strings.TrimSpace(name), 64)
	return v, err == nil || errors.Is(err, strconv.ErrRange)
}

// messageWidth is about how many letters of names a message shows.
const messageWidth = 400

// ClassList lists the classes in one line, for a message: the numbers that can be asked for, and as many names as fit in
// about so many letters, but at least one; 0 lists all.
func (p *Pipeline) ClassList(width int) string {
	names := p.Classes()
	numbers := p.labelWords()
	if len(names) == 0 {
		return numbers
	}
	var list []string
	length := 0
	for _, n := range names {
		if length > 0 && width > 0 && length+len(n) > width {
			break
		}
		length += len(n) + len(", ")
		list = append(list, shown(n))
	}
	text := strings.Join(list, ", ")
	if more := len(names) - len(list); more > 0 {
		text += fmt.Sprintf(" and %d more", more)
	}
	if slices.ContainsFunc(names, isNumber) {
		return text
	}
	return numbers + ": " + text
}

// shown is a name in a message of one line, as ParseLabels reads it.
func shown(name string) string { return oneline.Text(FormatLabels([]string{name})) }

// didYouMean names the classes that were probably meant: those of the same letters in another case or width, of the
// same number, of a name that begins so, or of one that few letters away; empty where there are none or many.
func didYouMean(names []string, asked string) string {
	fold := func(s string) string { return strings.ToLower(norm.NFKC.String(strings.TrimSpace(s))) }
	a := fold(asked)
	value, numeric := number(a)
	letters := len([]rune(a))
	for _, near := range []func(b string) bool{
		func(b string) bool { return a == b },
		func(b string) bool { v, ok := number(b); return numeric && ok && v == value },
		func(b string) bool { return !numeric && letters > 2 && strings.HasPrefix(b, a) },
		func(b string) bool { return !numeric && letters > 2 && spell.Distance(a, b) <= max(1, letters/4) },
	} {
		var found []string
		for _, n := range names {
			if near(fold(n)) {
				found = append(found, shown(n))
			}
		}
		if len(found) > 0 && len(found) <= 3 {
			return " (did you mean " + strings.Join(found, " or ") + "?)"
		}
	}
	return ""
}
