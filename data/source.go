package data

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"unstir/internal/ctxio"
)

// byHand ends an error about files that could not be had.
const byHand = "; data.dir or --data-dir can name a directory that holds the files"

// open finds the dataset's files and reads them. It returns where they were, in
// words.
func (s *spec) open(ctx context.Context, o Options) (*rawSet, string, error) {
	if o.Dir != "" {
		return s.openNamed(ctx, o.Dir, o.Split)
	}
	dir, err := s.cacheDir(o)
	from := ""
	if err == nil {
		from, err = s.fill(ctx, dir, o)
	}
	if s.embedded && o.Split == Train {
		for _, why := range []error{errNoNetwork, errNoCache} {
			if errors.Is(err, why) {
				o.logf("data: %s: %v: going on with the %d images that are embedded in the program instead of all 60,000 [%v]",
					s.name, why, embeddedCount, err)
				return openEmbedded(ctx)
			}
		}
	}
	if err != nil {
		return nil, "", err
	}
	paths, missing := s.find(dir, o.Split)
	if len(missing) > 0 {
		return nil, "", fmt.Errorf("%s: %s is not there", dir, missing[0])
	}
	if err := s.verify(ctx, paths, o.Split); err != nil {
		return nil, "", err
	}
	r, err := s.read(ctx, s, paths)
	return r, from, err
}

// cacheDir is where the dataset's files are kept.
func (s *spec) cacheDir(o Options) (string, error) {
	if o.CacheDir != "" {
		return filepath.Join(o.CacheDir, s.name), nil
	}
	base, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("%w (%w)%s", errNoCache, err, byHand)
	}
	return filepath.Join(base, "unstir", s.name), nil
}

// openNamed reads the files in a directory that the user named; they need not
// be the published ones.
func (s *spec) openNamed(ctx context.Context, dir string, split Split) (*rawSet, string, error) {
	if err := checkDir(dir); err != nil {
		return nil, "", err
	}
	partial := error(nil)
	for _, sub := range s.dirs {
		d := filepath.Join(dir, filepath.FromSlash(sub))
		paths, missing := s.find(d, split)
		if len(missing) == 0 {
			r, err := s.read(ctx, s, paths)
			return r, "directory " + d, err
		}
		if s.archive != nil {
			a := filepath.Join(d, s.archive.name)
			if _, err := os.Stat(a); err == nil {
				r, err := openCIFARArchive(ctx, a, s.fileNames(split), len(s.classes))
				return r, "archive " + a, err
			}
		}
		if len(missing) < len(s.files[split]) && partial == nil {
			partial = &FileError{Path: d, Want: strings.Join(s.fileNames(split), ", ") + " (as gzip or plain)",
				Got: "no " + strings.Join(missing, ", no ")}
		}
	}
	if partial != nil {
		return nil, "", partial
	}
	places := dir
	for _, sub := range s.dirs[1:] {
		places += " or " + filepath.Join(dir, filepath.FromSlash(sub))
	}
	want := strings.Join(s.fileNames(split), ", ") + " (as gzip or plain)"
	if s.archive != nil {
		want = s.archive.name + " or " + strings.Join(s.fileNames(split), ", ")
	}
	return nil, "", &FileError{Path: places, Want: want, Got: "none of them", Err: fs.ErrNotExist}
}

func checkDir(dir string) error {
	st, err := os.Stat(dir)
	if err != nil {
		return fmt.Errorf("the directory of the dataset (data.dir or --data-dir): %w", err)
	}
	if !st.IsDir() {
		return &FileError{Path: dir, Want: "a directory (data.dir or --data-dir)", Got: "a file"}
	}
	return nil
}

func (s *spec) fileNames(split Split) []string {
	var names []string
	for _, f := range s.files[split] {
		names = append(names, f.name)
	}
	return names
}

// find returns the split's files in dir, or the names of those that are missing.
func (s *spec) find(dir string, split Split) (paths, missing []string) {
	for _, f := range s.files[split] {
		found := ""
		for _, name := range f.names() {
			p := filepath.Join(dir, name)
			if st, err := os.Stat(p); err == nil && !st.IsDir() {
				found = p
				break
			}
		}
		if found == "" {
			missing = append(missing, f.name)
			continue
		}
		paths = append(paths, found)
	}
	return paths, missing
}

// fill brings what is missing into the cache. It returns where the files came
// from.
func (s *spec) fill(ctx context.Context, dir string, o Options) (string, error) {
	_, missing := s.find(dir, o.Split)
	if len(missing) == 0 {
		return "cache " + dir, nil
	}
	if o.Offline {
		return "", fmt.Errorf("%w: downloads are off and %s has no %s%s", errNoNetwork, dir, missing[0], byHand)
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", fmt.Errorf("%w: making the cache: %w%s", errNoCache, err, byHand)
	}
	unlock, err := lockDir(ctx, dir, &o)
	if err != nil {
		return "", err
	}
	defer unlock()
	if _, missing = s.find(dir, o.Split); len(missing) == 0 {
		return "cache " + dir, nil // another program has filled it
	}
	d := newDownloader(s, o)
	if s.archive != nil {
		return d.archive(ctx, dir, s)
	}
	from := ""
	for _, f := range s.files[o.Split] {
		if !slices.Contains(missing, f.name) {
			continue
		}
		url, err := d.file(ctx, dir, f)
		if err != nil {
			return "", err
		}
		if from == "" {
			from = url
		}
	}
	return downloaded(from, dir), nil
}

// verify checks the SHA-256 of the cache's files. One that was put there under
// another name than the published one is left to its structure.
func (s *spec) verify(ctx context.Context, paths []string, split Split) error {
	for i, f := range s.files[split] {
		if filepath.Base(paths[i]) != f.name {
			continue
		}
		sum, _, err := sumFile(ctx, paths[i])
		if err != nil {
			return err
		}
		if sum != f.sha256 {
			return &FileError{Path: paths[i], Want: "SHA-256 " + f.sha256,
				Got: sum + "; delete the file to have it downloaded again"}
		}
	}
	return nil
}

func sumFile(ctx context.Context, path string) (sum string, size int64, err error) {
	f, err := os.Open(path)
	if err != nil {
		return "", 0, err
	}
	defer f.Close()
	h := sha256.New()
	size, err = io.Copy(h, ctxio.Reader(ctx, f))
	return hex.EncodeToString(h.Sum(nil)), size, err
}
