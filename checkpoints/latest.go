package checkpoints

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"unstir/internal/dirlock"
	"unstir/internal/disk"
)

// ErrNone says that a directory has no checkpoint at all, not even a damaged one.
var ErrNone = errors.New("no checkpoint")

// Skipped is a checkpoint that is newer than the one taken and does not hold.
type Skipped struct {
	Dir string
	Err error // why, naming the file
}

// Latest returns the directory of a run's newest checkpoint whose manifest
// holds, and the newer ones that it had to skip. A run without any checkpoint
// gives an error that wraps ErrNone; one whose checkpoints are all damaged gives
// another error, so that nobody begins anew over them unasked.
func Latest(ctx context.Context, run string) (dir string, skipped []Skipped, err error) {
	return latest(ctx, Dir(run))
}

func latest(ctx context.Context, parent string) (string, []Skipped, error) {
	steps, err := listSteps(parent)
	if err != nil {
		return "", nil, err
	}
	if len(steps) == 0 {
		return "", nil, fmt.Errorf("%w in %s (looked for directories %s*)", ErrNone, parent, stepPrefix)
	}
	var skipped []Skipped
	var reasons []error
	for _, dir := range steps {
		err := Verify(ctx, dir)
		if err == nil {
			return dir, skipped, nil
		}
		if ctx.Err() != nil {
			return "", nil, ctx.Err()
		}
		skipped = append(skipped, Skipped{dir, err})
		reasons = append(reasons, err)
	}
	return "", skipped, fmt.Errorf("none of the %d checkpoints in %s holds: %w", len(steps), parent, joined(reasons))
}

// Prune removes a run's older checkpoints until keep of them are left, and
// returns what it removed. The newest one that is whole is never removed, nor is
// anything newer than it, nor one that has files in it which are not Save's. A
// keep of 0 keeps all.
func Prune(ctx context.Context, run string, keep int) (removed []string, err error) {
	if keep < 0 {
		return nil, fmt.Errorf("keeping %d checkpoints: the number cannot be negative", keep)
	}
	parent := Dir(run)
	steps, err := listSteps(parent)
	if err != nil || keep == 0 || len(steps) <= keep {
		return nil, err
	}
	lock, err := dirlock.Take(parent)
	if err != nil {
		return nil, fmt.Errorf("removing old checkpoints: %w", err)
	}
	defer lock.Unlock()
	newest, _, err := latest(ctx, parent)
	if err != nil {
		return nil, fmt.Errorf("no old checkpoint is removed: %w", err)
	}
	keep = max(keep, slices.Index(steps, newest)+1)
	for _, dir := range slices.Backward(steps[min(keep, len(steps)):]) { // from the oldest: cut short, it leaves no gap
		if err := ctx.Err(); err != nil {
			return removed, err
		}
		if hasOthers(dir) {
			continue
		}
		if err := remove(dir); err != nil {
			return removed, fmt.Errorf("removing old checkpoint: %w", err)
		}
		removed = append(removed, dir)
	}
	return removed, nil
}

// hasOthers reports whether a checkpoint has files that Save did not write, other
// than those that file managers leave.
func hasOthers(dir string) bool {
	found := errors.New("found")
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		file, err := filepath.Rel(dir, path)
		if err != nil {
			return err
		}
		file = filepath.ToSlash(file)
		switch name := e.Name(); {
		case isOwn(file):
		case name == ".DS_Store", name == "Thumbs.db", name == "desktop.ini", strings.HasPrefix(name, "._"):
		default:
			return found
		}
		return nil
	})
	return err == found
}

// remove renames a checkpoint before it removes its files, so that it is never
// seen in part.
func remove(dir string) error {
	parent, name := filepath.Split(dir)
	old := filepath.Join(parent, hidden(name, oldSuffix))
	if err := disk.RemoveAll(old); err != nil {
		return err
	}
	if err := disk.Rename(dir, old); err != nil {
		return err
	}
	if err := disk.RemoveAll(old); err != nil {
		return err
	}
	return disk.SyncDir(parent)
}

// NewestRun returns the run in a directory of runs whose last checkpoint was
// written last. It looks at the manifests' times only; Open checks the contents.
// Classifiers are passed over: it is for what is sampled.
func NewestRun(runs string) (string, error) {
	entries, err := os.ReadDir(runs)
	if errors.Is(err, fs.ErrNotExist) {
		return "", fmt.Errorf("there is no directory %s with runs in it: train a model first, or name one", runs)
	}
	if err != nil {
		return "", err
	}
	newest, at := "", time.Time{}
	var classifiers []string
	for _, e := range entries {
		run := filepath.Join(runs, e.Name())
		steps, err := listSteps(Dir(run))
		if err != nil {
			continue // a file, or a run of someone else
		}
		for _, dir := range steps {
			info, err := os.Stat(filepath.Join(dir, fileManifest))
			if err != nil {
				continue
			}
			if isClassifier(dir) {
				classifiers = append(classifiers, run)
				break
			}
			if newest == "" || info.ModTime().After(at) {
				newest, at = run, info.ModTime()
			}
			break
		}
	}
	if newest == "" && len(classifiers) > 0 {
		return "", fmt.Errorf("%w of a diffusion model in any run of %s, only of classifiers (%s)", ErrNone, runs, strings.Join(classifiers, ", "))
	}
	if newest == "" {
		return "", fmt.Errorf("%w in any run (looked for %s)", ErrNone,
			filepath.Join(runs, "*", "checkpoints", stepPrefix+"*", fileManifest))
	}
	return newest, nil
}
