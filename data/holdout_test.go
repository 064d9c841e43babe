package data

import (
	"context"
	"fmt"
	"image/color"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// halves opens both splits of a folder.
func halves(t *testing.T, dir string, holdout float64) (train, test Dataset) {
	t.Helper()
	c := Config{Dataset: Folder, Dir: dir, Holdout: holdout}
	var sets [2]Dataset
	for i, split := range []Split{Train, Test} {
		var err error
		if sets[i], err = Open(context.Background(), c, Options{Split: split}); err != nil {
			t.Fatal(err)
		}
		if in := sets[i].Info(); in.Split != split || in.Holdout != holdout {
			t.Errorf("%s: %+v", split, in)
		}
	}
	return sets[0], sets[1]
}

// inSplit lists the pictures of a set by their first pixel, with their labels.
func inSplit(ds Dataset) map[byte]int {
	m := map[byte]int{}
	for i := range ds.Info().Count {
		m[pixels(ds, i)[0]] = ds.Label(i)
	}
	return m
}

// A part of a folder is held out by content: every picture is in one split, with its label, and stays there whatever its
// name is and whatever else there is.
func TestHoldout(t *testing.T) {
	dir, renamed := t.TempDir(), t.TempDir()
	for i := range 200 {
		b := pngBytes(t, plain(4, 4, color.Gray{byte(i)}))
		write(t, filepath.Join(dir, "ab"[i%2:i%2+1], fmt.Sprintf("%03d.png", i)), b)
		if i%3 > 0 {
			write(t, filepath.Join(renamed, "ab"[i%2:i%2+1], fmt.Sprintf("x%03d.png", 999-i)), b)
		}
	}
	train, test := halves(t, dir, 0.25)
	a, b := inSplit(train), inSplit(test)
	if len(a)+len(b) != 200 || train.Info().Count != len(a) || len(b) < 30 || len(b) > 70 {
		t.Errorf("%d pictures for training and %d held out", len(a), len(b))
	}
	if !slices.Equal(train.Info().Classes, []string{"a", "b"}) || !slices.Equal(test.Info().Classes, []string{"a", "b"}) || train.Info().Hash == test.Info().Hash {
		t.Errorf("%+v, %+v", train.Info(), test.Info())
	}
	for v := range 200 {
		label, trained := a[byte(v)]
		held, tested := b[byte(v)]
		if trained == tested || label+held != v%2 {
			t.Errorf("picture %d: in training %v, held out %v, label %d", v, trained, tested, label+held)
		}
	}
	train, test = halves(t, renamed, 0.25)
	for v := range inSplit(train) {
		if _, ok := a[v]; !ok {
			t.Errorf("picture %d has changed sides", v)
		}
	}
	for v := range inSplit(test) {
		if _, ok := b[v]; !ok {
			t.Errorf("picture %d has changed sides", v)
		}
	}
	_, more := halves(t, dir, 0.5)
	for v := range maps.Keys(b) {
		if _, ok := inSplit(more)[v]; !ok {
			t.Errorf("picture %d is held out of a smaller share only", v)
		}
	}
}

func TestHoldoutThatCannotBe(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "a.png"), pngBytes(t, plain(4, 4, red)))
	for _, c := range []struct {
		config Config
		split  Split
		want   string
	}{
		{Config{Dataset: Folder, Dir: dir, Holdout: 1}, Train, "data.holdout is 1; it must be at least 0 and less than 1"},
		{Config{Dataset: Folder, Dir: dir, Holdout: -0.1}, Train, "data.holdout is -0.1; it must be at least 0"},
		{Config{Dataset: MNIST, Holdout: 0.1}, Train, `data.holdout is 0.1; it must be 0, as only of a "folder" a part is held out`},
		{Config{Dataset: Folder, Dir: dir, Holdout: 1e-9}, Test, "it leaves none of the 1 pictures of "},
		{Config{Dataset: Folder, Dir: dir, Holdout: 0.999999999}, Train, "it leaves none of the 1 pictures of "},
		{Config{Dataset: Folder, Dir: dir}, Test, "it has no test split"},
	} {
		_, err := Open(context.Background(), c.config, Options{Split: c.split})
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%+v: error %v, want %q", c.config, err, c.want)
		}
	}
}
