// Package samples owns the format of a directory of samples: one PNG file an image, 00000.png, 00001.png ..., beside
// samples.json, which says how they are made. Image i depends on the settings and on i only, so a set that was cut
// short is finished later by the images that are missing, whichever they are.
//
// A file is written aside, under a name that does not end in .png, and renamed, so that the
// directory has whole images only at any time. The directory has exactly the PNG files of the set: tools that
// compare sets of images take every one that they find.
package samples

import (
	"errors"
	"fmt"
	"image"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"unstir/internal/atomicfile"
	"unstir/internal/dirlock"
	"unstir/internal/disk"
	"unstir/internal/images"
)

// ConflictError says why a directory cannot be used for a set: it has one with other settings or of more images, or
// someone else's pictures, or it cannot be written into.
type ConflictError struct{ reason string }

func (e *ConflictError) Error() string { return e.reason }

func conflict(format string, args ...any) error { return &ConflictError{fmt.Sprintf(format, args...)} }

// Dir is a directory of samples that is being written.
type Dir struct {
	Manifest Manifest // as it is in the directory
	Notes    []string // what a user should know, a line each

	path    string
	want    Manifest
	begun   bool  // samples.json is there
	missing []int // rising
	written []int // by Write, not yet durable
	lock    *dirlock.Lock
	write   func(path string, fill func(io.Writer) error) error
}

// Name is the file's name of image i: at least five digits, so that names sort by number up to 99999.
func Name(i int) string { return fmt.Sprintf("%05d.png", i) }

// number is the image that a file's name stands for.
func number(name string) (int, bool) {
	digits, ok := strings.CutSuffix(name, ".png")
	i, err := strconv.Atoi(digits)
	return i, ok && err == nil && i >= 0 && Name(i) == name
}

// Open reads a directory, which need not exist yet, and lists the images of want that are missing. It changes nothing.
// The error is a *ConflictError where the contents of the directory do not fit want. Images that are there by name are
// verified only where none is missing; Begin verifies all of them.
func Open(path string, want Manifest) (*Dir, error) {
	want.Format = Format
	d := &Dir{path: path, want: want, write: atomicfile.WriteUnsynced}
	if err := d.survey(); err != nil {
		return nil, err
	}
	if len(d.missing) == 0 {
		if err := d.verify(); err != nil {
			return nil, err
		}
	}
	return d, nil
}

// Begin prepares the directory for Write, and has to be called before it: it makes and locks the directory, checks it
// again under the lock, removes what killed processes left, and writes samples.json where it is not yet as wanted. If
// it fails, nothing else was changed; the error wraps dirlock.ErrLocked where another process writes there. A
// complete set needs no Begin.
func (d *Dir) Begin() (err error) {
	if err := os.MkdirAll(d.path, 0o755); err != nil {
		return conflict("the directory cannot be made: %v", reason(err))
	}
	if d.lock, err = dirlock.Take(d.path); err != nil {
		if errors.Is(err, dirlock.ErrLocked) {
			return fmt.Errorf("%w; wait until it has ended, or name another directory with --out", dirlock.ErrLocked)
		}
		return conflict("nothing can be written there: %v", reason(err))
	}
	if err := d.begin(); err != nil {
		d.Close()
		return err
	}
	return nil
}

func (d *Dir) begin() error {
	if err := d.survey(); err != nil {
		return err
	}
	if err := d.verify(); err != nil {
		return err
	}
	if d.begun && len(d.missing) > 0 {
		d.noteOrigin()
	}
	err := atomicfile.RemoveTemps(d.path, func(name string) bool {
		_, image := number(name)
		return image || name == ManifestName
	})
	if err != nil {
		return conflict("nothing can be written there: %v", reason(err))
	}
	if d.begun && d.Manifest.N == d.want.N {
		return nil
	}
	d.Manifest.N = d.want.N
	if err := d.Manifest.writeTo(d.path); err != nil {
		return fmt.Errorf("%s: %w", ManifestName, reason(err))
	}
	d.begun = true
	return nil
}

// survey reads the manifest, compares what is wanted with it and lists the images that are missing, by name.
func (d *Dir) survey() error {
	d.Manifest, d.Notes, d.missing = d.want, nil, nil
	entries, err := os.ReadDir(d.path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return conflict("it cannot be read: %v", reason(err))
	}
	have, err := ReadManifest(d.path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if d.begun = err == nil; d.begun {
		if err := have.accepts(d.want); err != nil {
			return err
		}
		d.Manifest = have
	}
	var hidden []string
	there := make([]bool, d.want.N)
	for _, e := range entries {
		name := e.Name()
		if !strings.EqualFold(filepath.Ext(name), ".png") {
			continue
		}
		i, ok := number(name)
		switch {
		case !d.begun && !strings.HasPrefix(name, "."):
			return conflict("it has %s, but no %s that says how it was made: name another directory with --out, or move the pictures away", name, ManifestName)
		case ok && i < d.want.N:
			there[i] = true
		case strings.HasPrefix(name, "."):
			hidden = append(hidden, name)
		default:
			return conflict("it has %s, which is not one of the %d samples, and which other tools would take for one: move it away", name, d.want.N)
		}
	}
	if len(hidden) > 0 {
		d.Notes = append(d.Notes, firstOf(hidden)+" not of the samples, but tools that look at hidden files take them for some")
	}
	d.noteBelow(entries)
	for i, ok := range there {
		if !ok {
			d.missing = append(d.missing, i)
		}
	}
	return nil
}

// noteOrigin notes what has changed since the set was begun, other than settings.
func (d *Dir) noteOrigin() {
	was, is := d.Manifest.Origin, d.want.Origin
	if is.Kernels != was.Kernels {
		d.Notes = append(d.Notes, fmt.Sprintf("the set was begun with the kernels %s and goes on with %s: images made by the two differ by rounding", was.Kernels, is.Kernels))
	}
	if is.Program != was.Program {
		d.Notes = append(d.Notes, fmt.Sprintf("the set was begun by %s and goes on with %s: images made by the two may differ by rounding", was.Program, is.Program))
	}
}

// noteBelow warns of the first picture in a subdirectory.
func (d *Dir) noteBelow(entries []os.DirEntry) {
	for _, e := range entries {
		if !e.IsDir() {
			continue
		}
		found := ""
		filepath.WalkDir(filepath.Join(d.path, e.Name()), func(path string, e fs.DirEntry, err error) error {
			if err == nil && !e.IsDir() && strings.EqualFold(filepath.Ext(path), ".png") {
				found = path
				return fs.SkipAll
			}
			return nil
		})
		if found != "" {
			d.Notes = append(d.Notes, found+" is not of the samples, but tools that look into subdirectories take it for one")
			return
		}
	}
}

// firstOf names the first of some files, with the verb of a sentence.
func firstOf(names []string) string {
	switch n := len(names); n {
	case 1:
		return names[0] + " is"
	case 2:
		return names[0] + " and " + names[1] + " are"
	default:
		return fmt.Sprintf("%s, %s and %d more are", names[0], names[1], n-2)
	}
}

// verify checks every image that is there. A damaged one counts as missing.
func (d *Dir) verify() error {
	var missing []int
	var damaged []string
	next := d.missing
	for i := range d.want.N {
		if len(next) > 0 && next[0] == i {
			missing, next = append(missing, i), next[1:]
			continue
		}
		whole, err := d.Manifest.check(d.path, i)
		if err != nil {
			return err
		}
		if !whole {
			missing = append(missing, i)
			damaged = append(damaged, Name(i))
		}
	}
	d.missing = missing
	if len(damaged) > 0 {
		d.Notes = append(d.Notes, firstOf(damaged)+" damaged and made again")
	}
	return nil
}

// Missing lists the images that are still to be made, rising, as Open or, later, Begin has found them.
func (d *Dir) Missing() []int { return d.missing }

// Write writes image i, whole or not at all. Finish makes it safe from a power cut; until then an image may be lost or
// damaged by one, which the next Open finds.
func (d *Dir) Write(i int, m image.Image) error {
	if i < 0 || i >= d.Manifest.N {
		return fmt.Errorf("image %d: the set has images 0 to %d", i, d.Manifest.N-1)
	}
	texts := d.Manifest.textsOf(i, d.want.Origin.Program)
	err := d.write(filepath.Join(d.path, Name(i)), func(w io.Writer) error { return images.EncodePNG(w, m, texts) })
	if err != nil {
		return fmt.Errorf("%s: %w", Name(i), reason(err))
	}
	d.written = append(d.written, i)
	return nil
}

// Finish makes durable what was written, all at once: a wait for the disk at each image would be longer than a small
// model needs for it.
func (d *Dir) Finish() error {
	for _, i := range d.written {
		if err := atomicfile.Sync(filepath.Join(d.path, Name(i))); err != nil {
			return fmt.Errorf("%s: %w", Name(i), reason(err))
		}
	}
	if len(d.written) == 0 {
		return nil
	}
	d.written = nil
	return errors.Join(disk.SyncDir(d.path), disk.SyncDir(filepath.Dir(d.path)))
}

// Close unlocks the directory.
func (d *Dir) Close() error {
	if d.lock == nil {
		return nil
	}
	return d.lock.Unlock()
}

// reason is an error of the file system without the path, which the caller names.
func reason(err error) error {
	var path *fs.PathError
	var link *os.LinkError
	switch {
	case errors.As(err, &path):
		return path.Err
	case errors.As(err, &link):
		return link.Err
	}
	return err
}
