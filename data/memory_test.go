package data

import (
	"bytes"
	"context"
	"image"
	"image/color"
	"path/filepath"
	"testing"
)

func TestNewMemoryHoldsWhatItIsGiven(t *testing.T) {
	info := Info{Name: "mine", Channels: 3, Height: 2, Width: 2, Classes: []string{"a", "b"}, Source: "me", Count: 99, Hash: "x"}
	m, err := NewMemory(info, counting(36), []int{1, -1, 0})
	if err != nil {
		t.Fatal(err)
	}
	in := m.Info()
	if in.Count != 3 || in.Name != "mine" || in.Source != "me" || len(in.Hash) != 64 {
		t.Errorf("%+v", in)
	}
	if !bytes.Equal(pixels(m, 2), counting(36)[24:]) || m.Label(0) != 1 || m.Label(1) != -1 {
		t.Error("images or labels are not those that were given")
	}
	if m, err = NewMemory(info, counting(36), nil); err != nil || m.Label(2) != -1 {
		t.Errorf("without labels: label %d, %v", m.Label(2), err)
	}
}

func TestNewMemoryErrors(t *testing.T) {
	for _, tt := range []struct {
		c, h, w, n int
		labels     []int
		parts      []string
	}{
		{2, 2, 2, 8, nil, []string{"2 channels", "1 (gray) or 3 (RGB)"}},
		{1, 0, 2, 8, nil, []string{"0 x 2", "1 to 4096"}},
		{1, 2, 5000, 8, nil, []string{"2 x 5000"}},
		{1, 2, 2, 9, nil, []string{"9 bytes", "4 bytes each"}},
		{1, 2, 2, 0, nil, []string{"0 bytes"}},
		{1, 2, 2, 8, []int{1}, []string{"1 labels for 2 images"}},
		{1, 2, 2, 8, []int{1, 2}, []string{"label 2 of image 1", "0 to 1"}},
		{1, 2, 2, 8, []int{-2, 1}, []string{"label -2 of image 0"}},
	} {
		_, err := NewMemory(Info{Channels: tt.c, Height: tt.h, Width: tt.w, Classes: []string{"a", "b"}}, make([]byte, tt.n), tt.labels)
		wantError(t, err, tt.parts...)
	}
}

func TestHashFollowsPixelsLabelsAndShape(t *testing.T) {
	hash := func(c, h, w int, pix []byte, labels []int) string {
		m, err := NewMemory(Info{Channels: c, Height: h, Width: w}, pix, labels)
		if err != nil {
			t.Fatal(err)
		}
		return m.Info().Hash
	}
	base := hash(1, 3, 4, counting(36), []int{0, 1, 2})
	if base != hash(1, 3, 4, counting(36), []int{0, 1, 2}) {
		t.Error("the hash is not a function of the data")
	}
	other := counting(36)
	other[35]++
	for what, h := range map[string]string{
		"pixels": hash(1, 3, 4, other, []int{0, 1, 2}),
		"labels": hash(1, 3, 4, counting(36), []int{0, 1, 1}),
		"none":   hash(1, 3, 4, counting(36), nil),
		"shape":  hash(1, 4, 3, counting(36), []int{0, 1, 2}),
		"planes": hash(3, 1, 4, counting(36), []int{0, 1, 2}),
	} {
		if h == base {
			t.Errorf("other %s, the same hash", what)
		}
	}
}

func TestSizeAndChannelsOfAConfigResizeAnyDataset(t *testing.T) {
	dir := t.TempDir()
	images, labels := idxPair(5, 28, 28)
	write(t, filepath.Join(dir, "train-images"), images)
	write(t, filepath.Join(dir, "train-labels"), labels)
	open := func(c Config) Dataset {
		t.Helper()
		c.Dataset, c.Dir = MNIST, dir
		ds, err := Open(context.Background(), c, Options{})
		if err != nil {
			t.Fatal(err)
		}
		return ds
	}
	native, big, colour := open(Config{}), open(Config{Size: Size{32, 40}, Channels: 3}), open(Config{Channels: 3})
	if in := big.Info(); in.Count != 5 || in.Channels != 3 || in.Height != 32 || in.Width != 40 {
		t.Fatalf("%+v", in)
	}
	if big.Info().Hash == native.Info().Hash || big.Info().Hash == colour.Info().Hash {
		t.Error("another shape, the same hash")
	}
	for i := range 5 {
		if big.Label(i) != i {
			t.Errorf("label %d of image %d", big.Label(i), i)
		}
		gray := pixels(native, i)
		for c := range 3 {
			if !bytes.Equal(pixels(colour, i)[c*784:(c+1)*784], gray) {
				t.Errorf("image %d: channel %d is not the gray", i, c)
			}
		}
		want := make([]byte, 3*32*40)
		newFitter(shape{3, 32, 40}).fit(want, newPlanes(shape{1, 28, 28}).image(gray))
		if !bytes.Equal(pixels(big, i), want) {
			t.Errorf("image %d is not resized as fit does it", i)
		}
	}
	_, err := Open(context.Background(), Config{Dataset: MNIST, Dir: dir}, Options{Split: "valid"})
	wantError(t, err, `"valid"`, `"train"`, `"test"`)
}

func TestFromImages(t *testing.T) {
	two := []image.Image{plain(6, 6, red), plain(6, 6, color.White)}
	m, err := FromImages("mine", two, []int{4, -1}, Size{}, 1)
	if err != nil {
		t.Fatal(err)
	}
	if in := m.Info(); in.Count != 2 || in.Height != 6 || in.Width != 6 || in.Name != "mine" || m.Label(0) != 4 {
		t.Errorf("%+v", in)
	}
	if p := pixels(m, 1); p[35] != 255 {
		t.Errorf("white is %d", p[35])
	}
	if m, err = FromImages("mine", append(two, plain(9, 3, blue)), nil, Size{2, 4}, 3); err != nil || m.Info().Count != 3 {
		t.Errorf("%v", err)
	}
	big := image.NewUniform(red) // of almost endless bounds
	for _, tt := range []struct {
		images   []image.Image
		labels   []int
		size     Size
		channels int
		parts    []string
	}{
		{nil, nil, Size{}, 1, []string{"no images"}},
		{two, []int{1}, Size{}, 1, []string{"1 labels for 2 images"}},
		{two, nil, Size{3, -1}, 1, []string{"[3, -1]"}},
		{two, nil, Size{}, 4, []string{"4 channels"}},
		{append(two, plain(5, 6, red)), nil, Size{}, 1, []string{"image 2 is 6 x 5", "image 0 is 6 x 6"}},
		{append(two, plain(0, 6, red)), nil, Size{4, 4}, 1, []string{"image 2 is empty"}},
		{[]image.Image{big}, nil, Size{}, 1, []string{"1 to 4096"}},
	} {
		_, err := FromImages("x", tt.images, tt.labels, tt.size, tt.channels)
		wantError(t, err, tt.parts...)
	}
}

func TestTooMuchMemoryIsAnErrorNotACrash(t *testing.T) {
	_, err := shape{3, 4096, 4096}.alloc(1 << 20)
	wantError(t, err, "1048576 images", "GiB", "data.size")
}
