package checkpoints

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// The cache of Hugging Face's hub keeps a model in models--OWNER--NAME: blobs/ with the files by their hash,
// snapshots/COMMIT/ with links to them by their names, and refs/BRANCH with the commit of a branch.
const (
	hubSnapshots = "snapshots"
	hubRefs      = "refs"
	hubPrefix    = "models--"
)

func isHubCache(dir string) bool { return isDir(filepath.Join(dir, hubSnapshots)) }

// hubSnapshot is the snapshot of a model in the hub's cache that diffusers would open: that of the branch main, or
// else the only one.
func hubSnapshot(dir string) (string, error) {
	if commit, err := readSmall(filepath.Join(dir, hubRefs, "main")); err == nil {
		name := strings.TrimSpace(string(commit))
		if path := filepath.Join(dir, hubSnapshots, name); name != "" && filepath.Base(name) == name && filepath.IsLocal(name) && isDir(path) {
			return path, nil
		}
	}
	entries, err := os.ReadDir(filepath.Join(dir, hubSnapshots))
	if err != nil {
		return "", err
	}
	var found []string
	for _, e := range entries {
		if path := filepath.Join(dir, hubSnapshots, e.Name()); isDir(path) {
			found = append(found, path)
		}
	}
	switch len(found) {
	case 0:
		return "", fmt.Errorf("%s is a model of the hub's cache without a snapshot: download it again", dir)
	case 1:
		return found[0], nil
	}
	return "", fmt.Errorf("%s is a model of the hub's cache with %d snapshots and no branch main; name one: %s", dir, len(found), strings.Join(found, ", "))
}

// hubModels lists the models in a directory of the hub's cache, to be added to an error.
func hubModels(dir string) string {
	found, _ := filepath.Glob(filepath.Join(dir, hubPrefix+"*"))
	if len(found) == 0 {
		return ""
	}
	return "; it is a cache of the hub, name a model in it: " + strings.Join(found[:min(len(found), 8)], ", ")
}
