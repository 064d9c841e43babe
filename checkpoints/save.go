package checkpoints

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"unstir/checkpoints/safetensors"
	"unstir/internal/dirlock"
	"unstir/internal/disk"
)

// defaultDiffusers is the release of diffusers whose files these are.
const defaultDiffusers = "0.26.3"

// ErrLocked says that another process, or another part of this one, works in the directory.
var ErrLocked = dirlock.ErrLocked

// Save writes a checkpoint into a run's directory and returns the checkpoint's
// own, checkpoints/step-NNNNNNNN. It is there whole or not at all: on an error,
// a cancelled context or a crash, what was there before stays, and the next Save
// clears away what was left.
//
// A checkpoint of the same step that is whole is an error that wraps
// fs.ErrExist; one that is not whole is replaced. A second Save into the same
// run at the same time is an error that wraps ErrLocked.
func Save(ctx context.Context, run string, c *Checkpoint) (string, error) {
	dir, err := save(ctx, run, c)
	if err != nil {
		return "", fmt.Errorf("saving step %d to %s: %w", c.State.Step, Dir(run), err)
	}
	return dir, nil
}

func save(ctx context.Context, run string, c *Checkpoint) (string, error) {
	files, err := c.files()
	if err != nil {
		return "", err
	}
	parent := Dir(run)
	if err := makeParent(parent); err != nil {
		return "", err
	}
	lock, err := dirlock.Take(parent)
	if err != nil {
		return "", err
	}
	defer lock.Unlock()
	removeLeftovers(parent) // of those that cannot be removed only temp matters, which is removed below
	name := stepName(c.State.Step)
	final, temp := filepath.Join(parent, name), filepath.Join(parent, hidden(name, tempSuffix))
	if err := disk.RemoveAll(temp); err != nil {
		return "", fmt.Errorf("removing what an interrupted save left: %w", err)
	}
	broken, err := existing(ctx, final)
	if err != nil {
		return "", err
	}
	done := false
	defer func() {
		if !done {
			disk.RemoveAll(temp)
		}
	}()
	if err := writeAll(ctx, temp, files); err != nil {
		return "", err
	}
	if broken {
		old := filepath.Join(parent, hidden(name, oldSuffix))
		if err := disk.Rename(final, old); err != nil {
			return "", err
		}
		defer disk.RemoveAll(old)
	}
	if err := disk.Rename(temp, final); err != nil {
		return "", err
	}
	done = true
	return final, disk.SyncDir(parent)
}

// makeParent makes the directory of a run's checkpoints, durably.
func makeParent(parent string) error {
	if isDir(parent) {
		return nil
	}
	if err := disk.MkdirAll(parent, 0o777); err != nil {
		return err
	}
	run := filepath.Dir(parent)
	return errors.Join(disk.SyncDir(run), disk.SyncDir(filepath.Dir(run)))
}

// existing looks at what has the checkpoint's name already: an error if it is
// whole, which is then as durable as what Save has written, or if it is not a
// directory; true if it is a checkpoint that is not whole.
func existing(ctx context.Context, final string) (broken bool, err error) {
	info, err := os.Lstat(final)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return false, nil
	case err != nil:
		return false, err
	case !info.IsDir():
		return false, fmt.Errorf("%s is in the way: it is not a checkpoint's directory; move it away", final)
	case verify(ctx, final) != nil:
		return true, ctx.Err()
	}
	if err := disk.SyncDir(filepath.Dir(final)); err != nil {
		return false, err
	}
	return false, fmt.Errorf("%s: %w, and it is whole", final, fs.ErrExist)
}

// RemoveLeftovers removes what interrupted calls of Save and Prune left in a run's directory.
func RemoveLeftovers(run string) error {
	parent := Dir(run)
	if !isDir(parent) {
		return nil
	}
	lock, err := dirlock.Take(parent)
	if err != nil {
		return err
	}
	defer lock.Unlock()
	return removeLeftovers(parent)
}

// removeLeftovers removes what interrupted calls left, as much as can be
// removed. The caller holds the lock.
func removeLeftovers(parent string) error {
	entries, err := os.ReadDir(parent)
	if err != nil {
		return err
	}
	var errs []error
	for _, e := range entries {
		if isLeftover(e.Name()) {
			errs = append(errs, disk.RemoveAll(filepath.Join(parent, e.Name())))
		}
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("removing what an interrupted save left: %w", err)
	}
	return nil
}

// file is one file to be written.
type file struct {
	path  string
	write func(ctx context.Context, w io.Writer) error
}

// files checks the checkpoint and returns its files, but for the manifest, in
// the manifest's order.
func (c *Checkpoint) files() ([]file, error) {
	state := c.State
	state.Version = StateVersion
	if err := state.validate(); err != nil {
		return nil, fmt.Errorf("state: %w", err)
	}
	stateJSON, err := json.MarshalIndent(state, "", "  ")
	if err != nil {
		return nil, err
	}
	if n := len(stateJSON) + 1; n > maxState {
		return nil, fmt.Errorf("state: with the names of %d classes it has %d bytes; it must have at most %d", len(state.Data.Classes), n, maxState)
	}
	names, contents := modelFiles, map[string]func(context.Context, io.Writer) error{}
	switch {
	case c.Classifier != nil && c.UNet != nil:
		return nil, errors.New("it is either a unet's or a classifier's, not both")
	case c.Classifier != nil:
		names = classifierFiles
		if c.Scheduler != nil {
			names = noisyFiles
		}
		contents[fileClassifier], contents[fileClassifierWeights] = text(c.Classifier), tensors(c.EMA)
	default:
		unet, _, version, err := diffusersJSON(c.UNet, classUNet)
		if err != nil {
			return nil, fmt.Errorf("the unet's config: %w", err)
		}
		contents[fileIndex] = text(modelIndex("DDPMScheduler", version))
		contents[fileUNet], contents[fileWeights] = text(unet), tensors(c.EMA)
	}
	if slices.Contains(names, fileScheduler) {
		scheduler, _, _, err := diffusersJSON(c.Scheduler, "DDPMScheduler")
		if err != nil {
			return nil, fmt.Errorf("the scheduler's config: %w", err)
		}
		contents[fileScheduler] = text(scheduler)
	}
	if err := c.checkTensors(); err != nil {
		return nil, err
	}
	optimizer := slices.Concat(prefixed(ExpAvg, c.ExpAvg), prefixed(ExpAvgSq, c.ExpAvgSq))
	contents[fileState], contents[fileConfig] = text(append(stateJSON, '\n')), text(c.Config)
	contents[fileRaw], contents[fileOptimizer] = tensors(c.Raw), tensors(optimizer)
	list := make([]file, len(names))
	for i, path := range names {
		list[i] = file{path, contents[path]}
	}
	return list, nil
}

// checkTensors checks that the four lists describe the same parameters.
func (c *Checkpoint) checkTensors() error {
	if len(c.EMA) == 0 {
		return errors.New("there are no tensors")
	}
	shapes := map[string][]int{}
	for _, t := range c.EMA {
		shapes[t.Name] = t.Shape
	}
	for _, list := range []struct {
		what    string
		tensors []Tensor
	}{{"EMA", c.EMA}, {"Raw", c.Raw}, {"ExpAvg", c.ExpAvg}, {"ExpAvgSq", c.ExpAvgSq}} {
		if len(list.tensors) != len(shapes) {
			return fmt.Errorf("%s has %d tensors, EMA has names for %d", list.what, len(list.tensors), len(shapes))
		}
		for _, t := range list.tensors {
			if shape, ok := shapes[t.Name]; !ok || !slices.Equal(shape, t.Shape) {
				return fmt.Errorf("tensor %q of %s has shape %d, in EMA %d", t.Name, list.what, t.Shape, shape)
			}
		}
	}
	return nil
}

func prefixed(prefix string, list []Tensor) []Tensor {
	list = slices.Clone(list)
	for i := range list {
		list[i].Name = prefix + list[i].Name
	}
	return list
}

func text(b []byte) func(context.Context, io.Writer) error {
	return func(_ context.Context, w io.Writer) error { _, err := w.Write(b); return err }
}

func tensors(list []Tensor) func(context.Context, io.Writer) error {
	return func(ctx context.Context, w io.Writer) error {
		return safetensors.Write(ctx, w, list, safetensors.Options{})
	}
}

// diffusersJSON checks a config's class, where one is wanted, and lays it out as diffusers does.
func diffusersJSON(config json.RawMessage, wantClass string) (laidOut []byte, class, version string, err error) {
	class, version, err = classOf(config)
	if err != nil {
		return nil, "", "", err
	}
	if class == "" || wantClass != "" && class != wantClass {
		return nil, "", "", fmt.Errorf(`"_class_name" is %q, want %q`, class, cmp.Or(wantClass, "a scheduler's"))
	}
	var b bytes.Buffer
	if err := json.Indent(&b, bytes.TrimSpace(config), "", "  "); err != nil {
		return nil, "", "", err
	}
	b.WriteByte('\n')
	return b.Bytes(), class, version, nil
}

// modelIndex is model_index.json of a pipeline with a scheduler of that class.
func modelIndex(scheduler, version string) []byte {
	pipeline := "DDPMPipeline"
	if scheduler == "DDIMScheduler" {
		pipeline = "DDIMPipeline"
	}
	quoted := func(s string) string {
		text, _ := json.Marshal(s) // a string: cannot fail
		return string(text)
	}
	return []byte(strings.NewReplacer("PIPELINE", quoted(pipeline), "VERSION", quoted(cmp.Or(version, defaultDiffusers)), "SCHEDULER", quoted(scheduler)).Replace(`{
  "_class_name": PIPELINE,
  "_diffusers_version": VERSION,
  "scheduler": [
    "diffusers",
    SCHEDULER
  ],
  "unet": [
    "diffusers",
    "UNet2DModel"
  ]
}
`))
}

// writeAll writes the files and, last, their manifest into a new directory, and
// makes all of it durable.
func writeAll(ctx context.Context, dir string, files []file) error {
	sums, err := writeFiles(ctx, dir, files)
	if err != nil {
		return err
	}
	m := manifest{Version: manifestVersion, Files: sums}
	if _, err := writeFile(ctx, filepath.Join(dir, fileManifest), file{fileManifest, text(m.encode())}); err != nil {
		return fmt.Errorf("%s: %w", fileManifest, err)
	}
	if err := disk.SyncDir(dir); err != nil {
		return err
	}
	return ctx.Err()
}

// writeFiles writes the files into a new directory and its subdirectories and
// makes them durable.
func writeFiles(ctx context.Context, dir string, files []file) (sums []fileSum, err error) {
	if err := disk.Mkdir(dir, 0o777); err != nil {
		return nil, err
	}
	dirs := []string{dir}
	for _, f := range files {
		path := in(dir, f.path)
		if sub := filepath.Dir(path); !slices.Contains(dirs, sub) {
			if err := disk.Mkdir(sub, 0o777); err != nil {
				return nil, err
			}
			dirs = append(dirs, sub)
		}
		sum, err := writeFile(ctx, path, f)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", f.path, err)
		}
		sums = append(sums, sum)
	}
	for _, d := range slices.Backward(dirs) {
		if err := disk.SyncDir(d); err != nil {
			return nil, err
		}
	}
	return sums, ctx.Err()
}

// writeFile writes and syncs a file and sums it up on the way.
func writeFile(ctx context.Context, path string, what file) (sum fileSum, err error) {
	if err := ctx.Err(); err != nil {
		return sum, err
	}
	f, err := disk.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o666)
	if err != nil {
		return sum, err
	}
	defer f.Close()
	h, size := sha256.New(), counter(0)
	if err := what.write(ctx, io.MultiWriter(f, h, &size)); err != nil {
		return sum, err
	}
	if err := f.Sync(); err != nil {
		return sum, err
	}
	return fileSum{what.path, int64(size), hex.EncodeToString(h.Sum(nil))}, f.Close()
}

// counter counts the bytes written to it.
type counter int64

func (c *counter) Write(p []byte) (int, error) {
	*c += counter(len(p))
	return len(p), nil
}
