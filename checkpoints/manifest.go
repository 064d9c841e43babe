package checkpoints

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"

	"unstir/internal/ctxio"
	"unstir/internal/filekind"
	"unstir/internal/oneline"
)

const manifestVersion = 1

// manifest is manifest.json.
type manifest struct {
	Version int       `json:"version"`
	Files   []fileSum `json:"files"` // sorted by path
}

type fileSum struct {
	Path   string `json:"path"` // with forward slashes, inside the checkpoint
	Size   int64  `json:"size"`
	SHA256 string `json:"sha256"` // hexadecimal
}

func (m manifest) encode() []byte {
	text, err := json.MarshalIndent(m, "", "  ")
	if err != nil {
		panic(err) // numbers and strings only
	}
	return append(text, '\n')
}

// Verify checks every file of a checkpoint against its manifest: an error names
// each file that is missing, has another size or other contents.
func Verify(ctx context.Context, dir string) error {
	if err := verify(ctx, dir); err != nil {
		return oneline.Error(fmt.Errorf("checkpoint %s does not hold: %w", dir, err))
	}
	return nil
}

func verify(ctx context.Context, dir string) error {
	m, err := readManifest(dir)
	if err != nil {
		return err
	}
	errs := make([]error, len(m.Files))
	var wg sync.WaitGroup
	slots := make(chan struct{}, min(runtime.GOMAXPROCS(0), 4))
	for i, want := range m.Files {
		wg.Go(func() {
			slots <- struct{}{}
			defer func() { <-slots }()
			errs[i] = verifyFile(ctx, dir, want)
		})
	}
	wg.Wait()
	if err := ctx.Err(); err != nil {
		return err
	}
	return joined(errs)
}

// faults are several errors in one line.
type faults []error

func (f faults) Error() string {
	var list []string
	for _, err := range f {
		list = append(list, err.Error())
	}
	return strings.Join(list, "; ")
}

func (f faults) Unwrap() []error { return f }

// joined is errors.Join in one line.
func joined(errs []error) error {
	errs = slices.DeleteFunc(errs, func(err error) bool { return err == nil })
	if len(errs) == 0 {
		return nil
	}
	return faults(errs)
}

// readManifest reads manifest.json, which has to be exactly what was written.
func readManifest(dir string) (*manifest, error) {
	text, err := filekind.ReadFile(filepath.Join(dir, fileManifest), maxManifest)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, errors.New("it has no manifest.json, which is written last (an interrupted save or copy?)")
	}
	if err != nil {
		return nil, err
	}
	m := &manifest{}
	var version struct{ Version int }
	if err := json.Unmarshal(text, &version); err != nil {
		return nil, fmt.Errorf("manifest.json is damaged: %w", explain(err, text))
	}
	if version.Version != manifestVersion {
		return nil, fmt.Errorf("manifest.json has version %d, known is %d: damaged, or written by another version of the program", version.Version, manifestVersion)
	}
	if err := decodeStrictly(text, m); err != nil {
		return nil, fmt.Errorf("manifest.json is damaged: %w", err)
	}
	if !bytes.Equal(m.encode(), text) {
		return nil, errors.New("manifest.json is damaged: it is not as it was written")
	}
	for i, f := range m.Files {
		if !fs.ValidPath(f.Path) || !filepath.IsLocal(filepath.FromSlash(f.Path)) || i > 0 && f.Path <= m.Files[i-1].Path {
			return nil, fmt.Errorf("manifest.json is damaged: path %q is not inside the checkpoint, or not in order", f.Path)
		}
	}
	lists := func(path string) bool {
		return slices.ContainsFunc(m.Files, func(f fileSum) bool { return f.Path == path })
	}
	needed := modelFiles
	if lists(fileClassifier) {
		needed = classifierFiles
	}
	for _, path := range needed {
		if !lists(path) {
			return nil, fmt.Errorf("manifest.json is damaged: it does not list %s", path)
		}
	}
	return m, nil
}

func verifyFile(ctx context.Context, dir string, want fileSum) error {
	f, err := filekind.Open(in(dir, want.Path))
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%s is missing", want.Path)
	}
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if info.Size() != want.Size || !info.Mode().IsRegular() {
		return fmt.Errorf("%s has %d bytes, not the %d of manifest.json%s", want.Path, info.Size(), want.Size, insteadOf(dir, want.Path))
	}
	h := sha256.New()
	if _, err := io.CopyBuffer(h, ctxio.Reader(ctx, f), make([]byte, min(1<<18, info.Size()+1))); err != nil {
		return fmt.Errorf("%s: %w", want.Path, err)
	}
	if got := hex.EncodeToString(h.Sum(nil)); got != want.SHA256 {
		return fmt.Errorf("%s has changed: its SHA-256 is %s, not the %s of manifest.json%s", want.Path, got, want.SHA256, insteadOf(dir, want.Path))
	}
	return nil
}

// insteadOf says what is found in place of a checkpoint's file, where that is known, such as what a copy by git without
// LFS leaves.
func insteadOf(dir, file string) string {
	kind := filekind.JSON
	switch path.Ext(file) {
	case ".safetensors":
		kind = filekind.Weights
	case ".toml":
		return ""
	}
	if what := filekind.Of(in(dir, file), kind); what != "" {
		return ": " + filekind.Error(what).Error()
	}
	return ""
}
