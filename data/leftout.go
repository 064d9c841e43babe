package data

import (
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"unicode"
)

// reason is why something in a folder is left out, for one and for several.
type reason struct{ noun, one, many string }

var (
	notPicture  = reason{"file", "not a picture", "not pictures"}
	misnamed    = reason{"file", "a picture without a picture's extension; rename it to have it read", "pictures without a picture's extension; rename them to have them read"}
	notRegular  = reason{"file", "a pipe, socket or device", "pipes, sockets or devices"}
	readAlready = reason{"link", "its directory is read already", "their directories are read already"}
	readTwice   = reason{"folder", "it is read already, through a link", "they are read already, through links"}
	leadsUp     = reason{"link", "it leads to a directory that it lies in", "they lead to directories that they lie in"}
	dangling    = reason{"link", "its target is missing", "their targets are missing"}
	unreadable  = reason{"file", "it cannot be read", "they cannot be read"}
)

func (u *unread) reason() reason { return reason{"file", u.one + "; " + u.do, u.many + "; " + u.do} }

// leftOut is what is left out of a folder, by reason, in the order in which it was found.
type leftOut struct {
	root    string
	reasons []reason
	paths   map[reason][]string
}

func (l *leftOut) add(why reason, path string) {
	if l.paths == nil {
		l.paths = map[reason][]string{}
	}
	if !slices.Contains(l.reasons, why) {
		l.reasons = append(l.reasons, why)
	}
	l.paths[why] = append(l.paths[why], path)
}

// lines has a line for each reason, with the number of files and the first
// names, such as "2 files (a.txt, b.csv): not pictures".
func (l *leftOut) lines() []string {
	const named = 3
	var lines []string
	for _, why := range l.reasons {
		paths := l.paths[why]
		var names []string
		for _, p := range paths[:min(len(paths), named)] {
			if rel, err := filepath.Rel(l.root, p); err == nil {
				p = rel
			}
			if strings.ContainsFunc(p, func(r rune) bool { return !unicode.IsPrint(r) }) {
				p = strconv.Quote(p)
			}
			names = append(names, p)
		}
		if n := len(paths) - named; n > 0 {
			names = append(names, fmt.Sprintf("and %d more", n))
		}
		noun, words := why.noun, why.one
		if len(paths) > 1 {
			noun, words = noun+"s", why.many
		}
		lines = append(lines, fmt.Sprintf("%d %s (%s): %s", len(paths), noun, strings.Join(names, ", "), words))
	}
	return lines
}
