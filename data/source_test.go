package data

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// small is the MNIST of the tests: its files by name, and a spec with their
// checksums.
func small(t testing.TB) (*spec, map[string][]byte) {
	t.Helper()
	s := *catalog[MNIST]
	s.files = map[Split][]file{}
	files := map[string][]byte{}
	n := 400
	for _, split := range []Split{Train, Test} {
		images, labels := idxPair(n, 7, 9)
		n = 30
		for i, b := range [][]byte{gz(images), gz(labels)} {
			f := catalog[MNIST].files[split][i]
			f.size, f.sha256 = int64(len(b)), hexSum(b)
			s.files[split] = append(s.files[split], f)
			files[f.name] = b
		}
	}
	return &s, files
}

func hexSum(b []byte) string {
	h := sha256.Sum256(b)
	return hex.EncodeToString(h[:])
}

func TestANamedDirectoryIsTheOnlySource(t *testing.T) {
	s, files := small(t)
	cache := t.TempDir()
	for n, b := range files {
		write(t, filepath.Join(cache, MNIST, n), b)
	}
	read := func(dir string, parts ...string) {
		t.Helper()
		_, _, err := s.open(context.Background(), Options{Dir: dir, CacheDir: cache, Split: Train, Mirrors: []string{}})
		wantError(t, err, parts...)
	}
	dir := t.TempDir()
	read(dir, dir, filepath.Join(dir, "mnist"), "train-images-idx3-ubyte.gz", "train-labels-idx1-ubyte.gz", "none of them")
	missing := filepath.Join(dir, "missing")
	read(missing, missing, "--data-dir")
	file := write(t, filepath.Join(dir, "file"), nil)
	read(file, file, "a directory")
	write(t, filepath.Join(dir, "train-images-idx3-ubyte.gz"), files["train-images-idx3-ubyte.gz"])
	read(dir, dir, "no train-labels-idx1-ubyte.gz")
	// Config.Dir is such a directory, too, and Options.Dir takes its place.
	c := Config{Dataset: MNIST, Dir: missing}
	if _, err := Open(context.Background(), c, Options{CacheDir: cache}); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("%v, want one of a missing directory", err)
	}
	for n, b := range files {
		write(t, filepath.Join(dir, MNIST, n), b)
	}
	ds, err := Open(context.Background(), c, Options{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	if in := ds.Info(); in.Count != 400 || in.Source != "directory "+filepath.Join(dir, MNIST) {
		t.Errorf("%+v", in)
	}
	if ds, err = Open(context.Background(), c, Options{Dir: dir, Split: Test}); err != nil || ds.Info().Count != 30 {
		t.Errorf("test split: %v", err)
	}
}

func TestTheCacheIsReadBeforeTheNetwork(t *testing.T) {
	s, files := small(t)
	cache := t.TempDir()
	for n, b := range files {
		write(t, filepath.Join(cache, MNIST, n), b)
	}
	o := Options{CacheDir: cache, Split: Train, Mirrors: []string{"https://127.0.0.1:1/"}}
	r, from, err := s.open(context.Background(), o)
	if err != nil || r.count() != 400 || from != "cache "+filepath.Join(cache, MNIST) {
		t.Fatalf("%q, %v", from, err)
	}
	// A damaged file of the cache is named, and not used.
	name := filepath.Join(cache, MNIST, "train-labels-idx1-ubyte.gz")
	bad := gz(idxBytes(idxLabels, []uint32{400}, make([]byte, 400)))
	write(t, name, bad)
	_, _, err = s.open(context.Background(), o)
	wantError(t, err, name, hexSum(files["train-labels-idx1-ubyte.gz"]), hexSum(bad), "delete")
	// One that a user put there under another name is read as it is.
	if err := os.Rename(name, filepath.Join(cache, MNIST, "train-labels.gz")); err != nil {
		t.Fatal(err)
	}
	if r, _, err = s.open(context.Background(), o); err != nil || r.labels[5] != 0 {
		t.Fatal(err)
	}
}

func TestMNISTWithoutNetworkIsTheEmbeddedSetAndSaysSo(t *testing.T) {
	gone := []string{"https://127.0.0.1:1/", "https://[::1]:1/"}
	for _, o := range []Options{{Offline: true}, {Mirrors: gone}} {
		var log bytes.Buffer
		o.CacheDir, o.Log = t.TempDir(), &log
		ds, err := Open(context.Background(), Config{Dataset: MNIST}, o)
		if err != nil {
			t.Fatal(err)
		}
		if in := ds.Info(); in.Name != MNIST || in.Count != 10000 || !strings.HasPrefix(in.Source, "embedded") {
			t.Errorf("%+v", in)
		}
		line := log.String()
		for _, part := range []string{"no network", "10000 images", "embedded", "60,000", "--data-dir"} {
			if !strings.Contains(line, part) {
				t.Errorf("log %q does not hold %q", line, part)
			}
		}
		if strings.Count(line, "\n") != 1 {
			t.Errorf("log %q is not one line", line)
		}
		if left, _ := filepath.Glob(filepath.Join(o.CacheDir, "*", "*ubyte*")); len(left) > 0 {
			t.Errorf("%v was left behind", left)
		}
		// Only the training split of MNIST is embedded.
		o.Split = Test
		_, err = Open(context.Background(), Config{Dataset: MNIST}, o)
		wantError(t, err, "no network", "t10k-images-idx3-ubyte.gz")
		o.Split = Train
		_, err = Open(context.Background(), Config{Dataset: FashionMNIST}, o)
		wantError(t, err, "fashion-mnist", "no network", "train-images-idx3-ubyte.gz")
		_, err = Open(context.Background(), Config{Dataset: CIFAR10}, o)
		wantError(t, err, "cifar10", "no network")
	}
}

// Where the cache cannot be made, found or locked, only MNIST's training split
// has something to fall back to.
func TestWithoutACacheMNISTIsTheEmbeddedSetAndTheOthersAreErrors(t *testing.T) {
	check := func(cache string, parts ...string) {
		t.Helper()
		var log bytes.Buffer
		o := Options{CacheDir: cache, Log: &log, Mirrors: []string{}}
		ds, err := Open(context.Background(), Config{Dataset: MNIST}, o)
		if err != nil {
			t.Fatal(err)
		}
		if in := ds.Info(); in.Name != MNIST || in.Count != 10000 || !strings.HasPrefix(in.Source, "embedded") {
			t.Errorf("%+v", in)
		}
		parts = append(parts, "no place for downloads", "--data-dir")
		for _, part := range append(parts, "10000 images", "embedded", "60,000") {
			if !strings.Contains(log.String(), part) {
				t.Errorf("log %q does not hold %q", log.String(), part)
			}
		}
		if strings.Count(log.String(), "\n") != 1 {
			t.Errorf("log %q is not one line", log.String())
		}
		for _, name := range []string{FashionMNIST, CIFAR10} {
			_, err = Open(context.Background(), Config{Dataset: name}, o)
			wantError(t, err, append(parts, name)...)
		}
		o.Split = Test
		_, err = Open(context.Background(), Config{Dataset: MNIST}, o)
		wantError(t, err, parts...)
	}
	file := write(t, filepath.Join(t.TempDir(), "file"), nil)
	check(file, "making the cache", file)
	locked := t.TempDir()
	for _, name := range []string{MNIST, FashionMNIST, CIFAR10} {
		if err := os.MkdirAll(filepath.Join(locked, name, ".lock"), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	check(locked, "locking ", locked)
	for _, v := range []string{"HOME", "home", "XDG_CACHE_HOME", "LocalAppData"} {
		t.Setenv(v, "")
	}
	check("")
}

func TestTheCatalogIsWhole(t *testing.T) {
	for _, name := range Names() {
		s := catalog[name]
		if s == nil || s.name != name {
			t.Fatalf("%s is not in the catalog", name)
		}
		if name == Folder {
			continue
		}
		if len(s.classes) != 10 || s.read == nil || s.dirs[0] != "" {
			t.Errorf("%s: %+v", name, s)
		}
		for _, split := range []Split{Train, Test} {
			for _, f := range s.files[split] {
				if len(f.sha256) != 64 || f.size == 0 {
					t.Errorf("%s: %+v", name, f)
				}
			}
		}
		for _, m := range s.mirrors {
			if !strings.HasPrefix(m, "https://") || !strings.HasSuffix(m, "/") {
				t.Errorf("%s has the mirror %s, want one with TLS", name, m)
			}
		}
		if name != MNIST10K && len(s.mirrors) < 2 {
			t.Errorf("%s has %d mirrors, want two or more", name, len(s.mirrors))
		}
	}
}
