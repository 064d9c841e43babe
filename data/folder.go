package data

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"image"
	_ "image/jpeg" // decoders of the folder's files
	_ "image/png"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
)

// maxImagePixels is the largest image that is decoded: 16384 x 4096.
const maxImagePixels = 1 << 26

// folder is the images below a directory, in the order of their paths.
type folder struct {
	root    string
	paths   []string
	labels  []int32 // nil: no subdirectories
	classes []string
}

// openFolder decodes every PNG and JPEG file below the directory. Its first
// level of subdirectories are the classes, in alphabetical order.
func openFolder(ctx context.Context, c Config, o Options) (*Memory, error) {
	if o.Dir == "" {
		return nil, &ConfigError{"data.dir", `""`, `dataset "folder" needs a directory of PNG or JPEG files (data.dir or --data-dir)`}
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
	info := Info{Name: c.Dataset, Split: Train, Source: "directory " + f.root, Classes: f.classes}
	return newMemory(info, sh, pixels, f.labels, hashSet(sh, len(f.paths), f.labels, sums)), nil
}

func listFolder(ctx context.Context, o Options) (*folder, error) {
	if err := checkDir(o.Dir); err != nil {
		return nil, err
	}
	// WalkDir does not follow a link, not even at its root.
	root, err := filepath.EvalSymlinks(o.Dir)
	if err != nil {
		return nil, err
	}
	f := &folder{root: root}
	skipped := 0
	err = filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		if path != root && strings.HasPrefix(d.Name(), ".") {
			if d.IsDir() {
				return fs.SkipDir
			}
			return nil
		}
		switch strings.ToLower(filepath.Ext(path)) {
		case ".png", ".jpg", ".jpeg":
			if st, err := os.Stat(path); err == nil && st.Mode().IsRegular() {
				f.paths = append(f.paths, path)
			}
		default:
			if !d.IsDir() {
				skipped++
			}
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("listing images: %w", err)
	}
	if len(f.paths) == 0 {
		return nil, &FileError{Path: root, Want: "files *.png, *.jpg or *.jpeg in it or below", Got: fmt.Sprintf("none among %d files", skipped)}
	}
	if skipped > 0 {
		o.logf("data: %s: %d files that are neither PNG nor JPEG are left out", root, skipped)
	}
	f.label()
	return f, nil
}

// label sets classes and labels from the first part of each path below root.
func (f *folder) label() {
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
		return
	}
	f.labels = make([]int32, len(f.paths))
	for i, p := range f.paths {
		f.labels[i] = int32(slices.Index(f.classes, class(p)))
	}
}

// commonSize is the size that all images have.
func (f *folder) commonSize(ctx context.Context) (h, w int, err error) {
	for i, p := range f.paths {
		if err := ctx.Err(); err != nil {
			return 0, 0, err
		}
		b, err := os.ReadFile(p)
		if err != nil {
			return 0, 0, err
		}
		c, err := checkImage(p, b)
		if err != nil {
			return 0, 0, err
		}
		if i == 0 {
			h, w = c.Height, c.Width
		}
		if c.Height != h || c.Width != w {
			return 0, 0, &FileError{Path: p, Want: fmt.Sprintf("an image of %d x %d like %s (or set data.size to resize them all)", h, w, f.paths[0]),
				Got: fmt.Sprintf("%d x %d", c.Height, c.Width)}
		}
		if h > MaxSide || w > MaxSide {
			return 0, 0, &FileError{Path: p, Want: fmt.Sprintf("an image of at most %d x %d (or set data.size to resize it)", MaxSide, MaxSide),
				Got: fmt.Sprintf("%d x %d", h, w)}
		}
	}
	return h, w, nil
}

// checkImage looks at an image's header before anything of its size is
// allocated: a header may promise any size.
func checkImage(path string, b []byte) (image.Config, error) {
	c, format, err := image.DecodeConfig(bytes.NewReader(b))
	if err != nil {
		return c, &FileError{Path: path, Want: "a PNG or JPEG image", Got: fmt.Sprintf("%d bytes that do not decode (%v)", len(b), err), Err: err}
	}
	// Deflate's best is 1032, and a byte holds eight pixels of one bit.
	n := int64(c.Width) * int64(c.Height)
	if c.Width < 1 || c.Height < 1 || n > maxImagePixels || n > 8*deflateRatio*int64(len(b)) {
		return c, &FileError{Path: path, Want: fmt.Sprintf("an image of 1 to %d pixels that its bytes can hold", maxImagePixels),
			Got: fmt.Sprintf("%d x %d in the header of a %s file of %d bytes", c.Height, c.Width, format, len(b))}
	}
	return c, nil
}

// decode returns the images as planes and the SHA-256 of each file.
func (f *folder) decode(ctx context.Context, sh shape, o Options) (pixels, sums []byte, err error) {
	if pixels, err = sh.alloc(len(f.paths)); err != nil {
		return nil, nil, err
	}
	sums = make([]byte, sha256.Size*len(f.paths))
	report := newReporter(&o, "reading "+f.root, "images", int64(len(f.paths)))
	var done atomic.Int64
	err = forEach(ctx, len(f.paths), func() func(int) error {
		fit := newFitter(sh)
		return func(i int) error {
			b, err := os.ReadFile(f.paths[i])
			if err != nil {
				return err
			}
			if _, err := checkImage(f.paths[i], b); err != nil {
				return err
			}
			img, format, err := image.Decode(bytes.NewReader(b))
			if err != nil {
				return &FileError{Path: f.paths[i], Want: "a whole " + format + " image", Got: fmt.Sprintf("%d bytes that do not decode (%v)", len(b), err), Err: err}
			}
			fit.fit(pixels[i*sh.dim():(i+1)*sh.dim()], img)
			sum := sha256.Sum256(b)
			copy(sums[i*sha256.Size:], sum[:])
			report.at(done.Add(1))
			return nil
		}
	})
	return pixels, sums, err
}
