package data

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"

	"golang.org/x/text/unicode/norm"
)

// folder is the pictures below a directory, in the order of their paths.
type folder struct {
	root    string
	paths   []string
	left    leftOut
	turned  int     // pictures whose EXIF orientation is not upright
	labels  []int32 // nil: no subdirectories
	classes []string
}

// openFolder decodes every picture below the directory. Its first level of
// subdirectories are the classes, in alphabetical order.
func openFolder(ctx context.Context, c Config, o Options) (*Memory, error) {
	if o.Dir == "" {
		return nil, wrong("dir", `""`, `dataset "folder" needs a directory of pictures (data.dir or --data-dir)`)
	}
	f, err := listFolder(ctx, o)
	if err != nil {
		return nil, err
	}
	sh := shape{c: 3}.with(c)
	if c.Size == (Size{}) {
		if sh.h, sh.w, err = f.commonSize(ctx); err != nil {
			return nil, err
		}
	}
	pixels, sums, err := f.decode(ctx, sh, o)
	if err != nil {
		return nil, err
	}
	if err := f.label(); err != nil {
		return nil, err
	}
	for _, line := range f.left.lines() {
		o.logf("data: %s: left out %s", f.root, line)
	}
	all := len(f.paths)
	if c.Holdout > 0 {
		if pixels, sums, err = f.split(sh, pixels, sums, c.Holdout, o.Split); err != nil {
			return nil, err
		}
		o.logf("data: %s: data.holdout = %g: %d of %d pictures are in the %s split", f.root, c.Holdout, len(f.paths), all, o.Split)
	}
	if f.turned > 0 {
		o.logf("data: %s: %d of %d pictures are turned upright, as their EXIF orientation says", f.root, f.turned, all)
	}
	info := Info{Name: c.Dataset, Split: o.Split, Source: "directory " + f.root, Classes: f.classes, Holdout: c.Holdout}
	return newMemory(info, sh, pixels, f.labels, hashSet(sh, len(f.paths), f.labels, sums)), nil
}

func listFolder(ctx context.Context, o Options) (*folder, error) {
	if err := checkDir(o.Dir); err != nil {
		return nil, err
	}
	root, err := filepath.EvalSymlinks(o.Dir)
	if err != nil {
		return nil, err
	}
	l := &lister{ctx: ctx, root: root, left: leftOut{root: root}}
	paths, err := l.list()
	if err != nil {
		return nil, fmt.Errorf("listing pictures: %w", err)
	}
	f := &folder{root: root, paths: paths, left: l.left}
	return f, f.notEmpty()
}

func (f *folder) notEmpty() error {
	if len(f.paths) > 0 {
		return nil
	}
	got := "none"
	if lines := f.left.lines(); len(lines) > 0 {
		got += "; left out " + strings.Join(lines, "; ")
	}
	return &FileError{Path: f.root, Want: "pictures (*" + strings.Join(pictureExtensions, ", *") + ") in it or below", Got: got}
}

// label sets classes and labels from the first part of each path below root.
func (f *folder) label() error {
	class := func(path string) string {
		rel, err := filepath.Rel(f.root, path)
		if err != nil {
			return ""
		}
		if i := strings.IndexRune(rel, filepath.Separator); i > 0 {
			return rel[:i]
		}
		return ""
	}
	for _, p := range f.paths {
		if c := class(p); c != "" {
			f.classes = append(f.classes, c)
		}
	}
	// The paths are sorted, directory by directory, so the classes are, too.
	if f.classes = slices.Compact(f.classes); len(f.classes) == 0 {
		f.classes = nil
		return nil
	}
	number, spelled := map[string]int{}, map[string]string{}
	for i, c := range f.classes {
		nfc := norm.NFC.String(c)
		if other, ok := spelled[nfc]; ok {
			return &FileError{Path: f.root, Want: "class directories that read differently",
				Got: fmt.Sprintf("%q twice, spelled %+q and %+q in Unicode; rename one or join them", nfc, other, c)}
		}
		number[c], spelled[nfc] = i, c
	}
	f.labels = make([]int32, len(f.paths))
	for i, p := range f.paths {
		f.labels[i] = -1
		if n, ok := number[class(p)]; ok {
			f.labels[i] = int32(n)
		}
	}
	return nil
}

// split keeps the pictures of one split, in place.
func (f *folder) split(sh shape, pixels, sums []byte, holdout float64, split Split) ([]byte, []byte, error) {
	n := 0
	for i := range f.paths {
		sum := sums[i*sha256.Size : (i+1)*sha256.Size]
		if heldOut(sum, holdout) != (split == Test) {
			continue
		}
		copy(pixels[n*sh.dim():], pixels[i*sh.dim():(i+1)*sh.dim()])
		copy(sums[n*sha256.Size:], sum)
		f.paths[n] = f.paths[i]
		if f.labels != nil {
			f.labels[n] = f.labels[i]
		}
		n++
	}
	if n == 0 {
		return nil, nil, wrong("holdout", strconv.FormatFloat(holdout, 'g', -1, 64),
			fmt.Sprintf("it leaves none of the %d pictures of %s in the %s split; give more pictures or another share", len(f.paths), f.root, split))
	}
	f.paths = f.paths[:n]
	if f.labels != nil {
		f.labels = f.labels[:n]
	}
	return pixels[:n*sh.dim()], sums[:n*sha256.Size], nil
}

// heldOut tells whether a picture of that SHA-256 is in the test split.
func heldOut(sum []byte, holdout float64) bool {
	return float64(binary.BigEndian.Uint32(sum)) < holdout*(1<<32)
}

// keep drops the pictures of unsupported kinds: unread[i] is nil for the others.
func (f *folder) keep(unread []*unread) error {
	kept := f.paths[:0]
	for i, p := range f.paths {
		if unread[i] != nil {
			f.left.add(unread[i].reason(), p)
			continue
		}
		kept = append(kept, p)
	}
	f.paths = kept
	return f.notEmpty()
}

// loadPicture reads a picture's file and header. For an unsupported kind it returns the
// kind alone.
func loadPicture(path string) (*picture, *unread, error) {
	b, err := readPictureFile(path)
	if err != nil {
		return nil, nil, err
	}
	p, err := parsePicture(path, b)
	var u *unread
	if errors.As(err, &u) {
		return nil, u, nil
	}
	return p, nil, err
}

// commonSize is the size that all pictures have.
func (f *folder) commonSize(ctx context.Context) (h, w int, err error) {
	unread := make([]*unread, len(f.paths))
	first := ""
	for i, path := range f.paths {
		if err := ctx.Err(); err != nil {
			return 0, 0, err
		}
		var p *picture
		if p, unread[i], err = loadPicture(path); err != nil {
			return 0, 0, err
		}
		if p == nil {
			continue
		}
		s := p.size()
		if first == "" {
			first, h, w = path, s.Y, s.X
		}
		if s.Y != h || s.X != w {
			return 0, 0, &FileError{Path: path, Want: fmt.Sprintf("an image of %d x %d like %s (or set data.size to resize them all)", h, w, first),
				Got: fmt.Sprintf("%d x %d", s.Y, s.X)}
		}
		if h > MaxSide || w > MaxSide {
			return 0, 0, &FileError{Path: path, Want: fmt.Sprintf("an image of at most %d x %d (or set data.size to resize it)", MaxSide, MaxSide),
				Got: fmt.Sprintf("%d x %d", h, w)}
		}
	}
	return h, w, f.keep(unread)
}

// decode returns the pictures as planes and a SHA-256 of each.
func (f *folder) decode(ctx context.Context, sh shape, o Options) (pixels, sums []byte, err error) {
	if pixels, err = sh.alloc(len(f.paths)); err != nil {
		return nil, nil, err
	}
	sums = make([]byte, sha256.Size*len(f.paths))
	unread := make([]*unread, len(f.paths))
	report := newReporter(&o, "reading "+f.root, "images", int64(len(f.paths)))
	var done, turned atomic.Int64
	err = forEach(ctx, len(f.paths), func() func(int) error {
		fit := newFitter(sh)
		return func(i int) error {
			p, u, err := loadPicture(f.paths[i])
			if unread[i] = u; p != nil {
				var sum [sha256.Size]byte
				if sum, err = p.fit(fit, pixels[i*sh.dim():(i+1)*sh.dim()]); p.orientation != upright {
					turned.Add(1)
				}
				copy(sums[i*sha256.Size:], sum[:])
			}
			report.at(done.Add(1))
			return err
		}
	})
	if err != nil {
		return nil, nil, err
	}
	n := 0
	for i, u := range unread {
		if u == nil {
			copy(pixels[n*sh.dim():], pixels[i*sh.dim():(i+1)*sh.dim()])
			copy(sums[n*sha256.Size:], sums[i*sha256.Size:(i+1)*sha256.Size])
			n++
		}
	}
	f.turned = int(turned.Load())
	return pixels[:n*sh.dim()], sums[:n*sha256.Size], f.keep(unread)
}

// fit decodes the picture to planes. Its sum is the file's SHA-256; where the
// picture is turned, the sum includes the orientation, since the pixels differ
// from the file's.
func (p *picture) fit(f *fitter, dst []byte) (sum [sha256.Size]byte, err error) {
	img, err := p.decode()
	if err != nil {
		return sum, err
	}
	f.fit(dst, img)
	sum = sha256.Sum256(p.bytes)
	if p.orientation != upright {
		sum = sha256.Sum256(fmt.Appendf(sum[:], "EXIF orientation %d", p.orientation))
	}
	return sum, nil
}
