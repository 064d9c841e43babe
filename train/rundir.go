package train

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// What a run's directory holds.
const (
	logName       = "log.jsonl"
	plotName      = "loss.png"
	configName    = "config.toml"
	previewDir    = "previews"
	checkpointDir = "checkpoints"
)

// ErrRunExists is wrapped by New's error when the directory holds a run already.
var ErrRunExists = errors.New("the directory holds a run already")

// claim makes the directory of a new run. A directory that holds a run is never written into.
func claim(dir string) error {
	for _, name := range []string{logName, configName, checkpointDir} {
		_, err := os.Lstat(filepath.Join(dir, name))
		if err == nil {
			return fmt.Errorf("train: %w: %s has %s; go on with it by --resume auto, or give the new run another directory with --out", ErrRunExists, dir, name)
		}
		if !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("train: look into the run's directory: %w", err)
		}
	}
	return nil
}
