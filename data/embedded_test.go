package data

import (
	"context"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestEmbeddedSetIsTheHeadOfMNISTsTrainingSplit(t *testing.T) {
	ds, err := Open(context.Background(), Config{Dataset: MNIST10K}, Options{CacheDir: "/nonexistent", Offline: true})
	if err != nil {
		t.Fatal(err)
	}
	in := ds.Info()
	if in.Count != 10000 || in.Channels != 1 || in.Height != 28 || in.Width != 28 || in.Name != MNIST10K {
		t.Errorf("%+v", in)
	}
	// The hash of the first 10,000 images and labels of the published files.
	if want := "29f2b16c7b2af585d42a99f2a0ce4a23c3aba810444ddac612d33e3409ee87bb"; in.Hash != want {
		t.Errorf("hash %s, want %s", in.Hash, want)
	}
	var first []int
	count := make([]int, 10)
	for i := range in.Count {
		if i < 10 {
			first = append(first, ds.Label(i))
		}
		count[ds.Label(i)]++
	}
	if d := cmp.Diff([]int{5, 0, 4, 1, 9, 2, 1, 3, 1, 4}, first); d != "" {
		t.Errorf("first labels (-want +got):\n%s", d)
	}
	if d := cmp.Diff([]int{1001, 1127, 991, 1032, 980, 863, 1014, 1070, 944, 978}, count); d != "" {
		t.Errorf("images of each class (-want +got):\n%s", d)
	}
	if n := len(embeddedImages) + len(embeddedLabels); n > 2_000_000 {
		t.Errorf("%d bytes are embedded, want less than 2 MB", n)
	}
}

func TestMNIST10KReadsANamedDirectoryToo(t *testing.T) {
	dir := t.TempDir()
	images, labels := idxPair(10001, 1, 2)
	write(t, filepath.Join(dir, "mnist", "train-images.gz"), gz(images))
	write(t, filepath.Join(dir, "mnist", "train-labels.gz"), gz(labels))
	c := Config{Dataset: MNIST10K}
	ds, err := Open(context.Background(), c, Options{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	if in := ds.Info(); in.Count != 10000 || in.Width != 2 {
		t.Errorf("%+v", in)
	}
	images, labels = idxPair(9999, 1, 2)
	write(t, filepath.Join(dir, "mnist", "train-images.gz"), gz(images))
	write(t, filepath.Join(dir, "mnist", "train-labels.gz"), gz(labels))
	_, err = Open(context.Background(), c, Options{Dir: dir})
	wantError(t, err, "at least 10000 images", "9999")
	_, err = Open(context.Background(), c, Options{Dir: t.TempDir()})
	wantError(t, err, "train-images-idx3-ubyte.gz", "none of them")
	_, err = Open(context.Background(), c, Options{Split: Test})
	wantError(t, err, "no test split")
}
