package data

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// lister finds the pictures below a directory. Links to files are files of
// their own, like copies; a directory is read once, however many links lead to
// it, and under its own name if it has one below the root.
type lister struct {
	ctx   context.Context
	root  string
	paths []string
	left  leftOut
	links []string                // to directories, not followed yet
	seen  map[int64][]fs.FileInfo // the directories that are read, by their time: [os.SameFile] compares two
}

// list returns the paths in the order of [filepath.WalkDir].
func (l *lister) list() ([]string, error) {
	st, err := os.Stat(l.root)
	if err != nil {
		return nil, err
	}
	l.visit(st)
	if err := l.dir(l.root); err != nil {
		return nil, err
	}
	if len(l.links) == 0 {
		return l.paths, nil
	}
	for len(l.links) > 0 {
		link := l.links[0]
		l.links = l.links[1:]
		if err := l.follow(link); err != nil {
			return nil, err
		}
	}
	sortAsWalked(l.paths)
	return l.paths, nil
}

// visit reports whether a directory is met for the first time, and remembers it.
func (l *lister) visit(st fs.FileInfo) bool {
	if l.seen == nil {
		l.seen = map[int64][]fs.FileInfo{}
	}
	key := st.ModTime().UnixNano()
	if slices.ContainsFunc(l.seen[key], func(s fs.FileInfo) bool { return os.SameFile(s, st) }) {
		return false
	}
	l.seen[key] = append(l.seen[key], st)
	return true
}

func (l *lister) dir(dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if err := l.ctx.Err(); err != nil {
			return err
		}
		if strings.HasPrefix(e.Name(), ".") {
			continue
		}
		if err := l.entry(filepath.Join(dir, e.Name()), e); err != nil {
			return err
		}
	}
	return nil
}

func (l *lister) entry(path string, e fs.DirEntry) error {
	mode := e.Type()
	if mode&(fs.ModeSymlink|fs.ModeIrregular) != 0 { // a junction of Windows is irregular
		st, err := os.Stat(path)
		switch {
		case errors.Is(err, fs.ErrPermission):
			return err
		case err != nil:
			l.left.add(dangling, path)
			return nil
		case st.IsDir():
			l.links = append(l.links, path)
			return nil
		}
		mode = st.Mode().Type()
	}
	if !mode.IsDir() {
		l.file(path, mode)
		return nil
	}
	st, err := e.Info()
	if err != nil {
		return err
	}
	if l.visit(st) {
		return l.dir(path)
	}
	l.left.add(readTwice, path)
	return nil
}

// follow reads the directory that a link leads to.
func (l *lister) follow(link string) error {
	st, err := os.Stat(link)
	if err != nil {
		return err
	}
	up, err := isAbove(link, filepath.Dir(link), l.root)
	switch {
	case err != nil:
		return err
	case up:
		l.left.add(leadsUp, link)
		return nil
	case !l.visit(st):
		l.left.add(readAlready, link)
		return nil
	}
	return l.dir(link)
}

// isAbove reports whether a directory is one of the others or contains one, with
// links followed.
func isAbove(dir string, others ...string) (bool, error) {
	paths := append([]string{dir}, others...)
	for i, p := range paths {
		p, err := filepath.Abs(p)
		if err == nil {
			p, err = filepath.EvalSymlinks(p)
		}
		if err != nil {
			return false, err
		}
		paths[i] = p
	}
	return slices.ContainsFunc(paths[1:], func(other string) bool {
		rel, err := filepath.Rel(paths[0], other)
		return err == nil && rel != ".." && !strings.HasPrefix(rel, ".."+string(filepath.Separator))
	}), nil
}

// file takes what is a picture by its name, whose content is looked at when it
// is read; for a name without an extension the content decides at once. The
// rest is classified and left out.
func (l *lister) file(path string, mode fs.FileMode) {
	if !mode.IsRegular() {
		l.left.add(notRegular, path)
		return
	}
	extension := strings.ToLower(filepath.Ext(path))
	if slices.Contains(pictureExtensions, extension) {
		l.paths = append(l.paths, path)
		return
	}
	head, err := readHead(path)
	f, other := formatOf(head), otherFormat(head)
	switch {
	case err != nil:
		l.left.add(unreadable, path)
	case f != nil && (extension == "" || extension == "."):
		l.paths = append(l.paths, path)
	case f != nil:
		l.left.add(misnamed, path)
	case other != nil:
		l.left.add(other.reason(), path)
	default:
		l.left.add(notPicture, path)
	}
}

// readHead reads a file's first bytes.
func readHead(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b := make([]byte, maxHeader)
	n, err := io.ReadFull(f, b)
	if err == io.EOF || err == io.ErrUnexpectedEOF {
		err = nil
	}
	return b[:n], err
}

// sortAsWalked sorts paths name by name, in the order of a walk that enters each
// directory where its name stands.
func sortAsWalked(paths []string) {
	slices.SortFunc(paths, func(a, b string) int {
		n := 0
		for n < min(len(a), len(b)) && a[n] == b[n] {
			n++
		}
		switch {
		case n == len(a) || n == len(b):
			return len(a) - len(b)
		case os.IsPathSeparator(a[n]):
			return -1
		case os.IsPathSeparator(b[n]):
			return 1
		}
		return int(a[n]) - int(b[n])
	})
}
