package main

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"unstir/checkpoints"
	"unstir/configs"
	"unstir/train"
)

// ofRun is the configuration that a run was made with, and the run's directory, where only --resume and --out say
// what to go on with.
func (f trainFlags) ofRun() (config, dir string, err error) {
	presets := strings.Join(configs.Presets(), ", ")
	switch {
	case f.resume == "":
		return "", "", usagef("--config is missing: a file, or one of the presets %s", presets)
	case f.resume == train.Auto && f.out == "":
		return "", "", usagef("--resume auto: which run? --out names its directory, or --config its configuration: a file, or one of the presets %s", presets)
	case f.resume == train.Auto:
		config = filepath.Join(f.out, checkpoints.ConfigName)
		if !isFile(config) {
			return "", "", usagef("--out %s: there is no run to go on with, as there is no %s; a new run needs --config", f.out, config)
		}
		return config, f.out, nil
	}
	for _, place := range []struct{ config, run string }{
		{filepath.Join(f.resume, checkpoints.ConfigName), filepath.Clean(f.resume)},
		{checkpoints.ConfigFile(f.resume), checkpoints.RunOf(f.resume)},
	} {
		if !isFile(place.config) {
			continue
		}
		if dir := cmp.Or(f.out, place.run); dir != "" {
			return place.config, dir, nil
		}
		return "", "", usagef("--resume %s: the checkpoint does not lie in a run's directory; --out names the one to go on in", f.resume)
	}
	return "", "", usagef("--resume %s: it is neither a run nor a checkpoint of one, as it has neither %s nor %s", f.resume, checkpoints.ConfigName,
		checkpoints.ConfigFile(""))
}

// checkDir refuses to go on from a named checkpoint in a directory whose own checkpoints tell another story: they
// would be taken for the run's newest ones.
func (f trainFlags) checkDir(ctx context.Context, dir string, cfg *configs.Config) error {
	if f.resume == "" || f.resume == train.Auto {
		return nil
	}
	newest, _, err := checkpoints.Latest(ctx, dir)
	if err != nil {
		return nil // nothing there that could be taken
	}
	m, err := checkpoints.Load(ctx, f.resume)
	if err != nil {
		return nil // the trainer says what is wrong with it
	}
	defer m.Close()
	if !within(checkpoints.Dir(dir), m.Dir) {
		return usagef("--resume %s: %s holds another run already; give this one a directory of its own with --out", f.resume, dir)
	}
	if filepath.Base(newest) <= filepath.Base(m.Dir) {
		return nil
	}
	var changes []string
	for _, c := range changedSince(m.Dir, cfg) {
		if key, _, _ := strings.Cut(c, " "); !harmless(key) {
			changes = append(changes, c)
		}
	}
	if len(changes) > 0 {
		return usagef("--resume %s: the run has gone on to %s already, and with other settings (%s) it would come out differently; --out names a directory for that, or move the newer checkpoints away",
			f.resume, filepath.Base(newest), strings.Join(changes, "; "))
	}
	return nil
}

// within tells whether a path lies in a directory, whatever the two are called.
func within(dir, path string) bool {
	a, err := os.Stat(dir)
	if err != nil {
		return false
	}
	b, err := os.Stat(filepath.Dir(path))
	return err == nil && os.SameFile(a, b)
}

// harmless tells whether a key changes nothing in the numbers.
func harmless(key string) bool {
	table, _, _ := strings.Cut(key, ".")
	return slices.Contains([]string{"name", "data.dir", "train.log_every"}, key) || slices.Contains([]string{"checkpoint", "preview", "log"}, table)
}

// changedSince lists the settings that differ from those a checkpoint was made with, each as "KEY was A and is now B".
func changedSince(checkpoint string, cfg *configs.Config) []string {
	file := checkpoints.ConfigFile(checkpoint)
	text, err := os.ReadFile(file)
	if err != nil {
		return nil // the checkpoint is good for training without it
	}
	old, err := configs.Parse(text, file, nil)
	if err != nil {
		return nil // written by another version
	}
	was, now := settings(old), settings(cfg)
	// What follows from the data is filled in later, and the trainer compares it.
	apart := []string{"data.dir", "model.in_channels", "model.out_channels", "model.sample_size"}
	var list []string
	for _, key := range configs.Keys() {
		if was[key] != now[key] && !slices.Contains(apart, key) {
			list = append(list, fmt.Sprintf("%s was %s and is now %s", key, cmp.Or(was[key], "not given"), cmp.Or(now[key], "not given")))
		}
	}
	return list
}

// settings is every setting as TOML, by key.
func settings(c *configs.Config) map[string]string {
	text, err := c.TOML()
	if err != nil {
		return nil
	}
	all, table := map[string]string{}, ""
	for line := range strings.Lines(string(text)) {
		line = strings.TrimSpace(line)
		if name, ok := strings.CutPrefix(line, "["); ok && strings.HasSuffix(name, "]") && !strings.Contains(line, "=") {
			table = strings.TrimSuffix(name, "]") + "."
			continue
		}
		if key, value, ok := strings.Cut(line, " = "); ok {
			all[table+key] = value
		}
	}
	return all
}

func isFile(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode().IsRegular()
}
