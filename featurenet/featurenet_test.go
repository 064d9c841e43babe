package featurenet

import (
	"context"
	"errors"
	"path/filepath"
	"slices"
	"testing"

	"unstir/checkpoints/safetensors"
	"unstir/classifier"
	"unstir/data"
	"unstir/internal/rng"
	"unstir/metrics"
	"unstir/nn/kernel"
)

func embedded(t *testing.T, dataset string) *Net {
	t.Helper()
	n, err := Embedded(t.Context(), dataset)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// The program's networks are the ones that docs/evaluation.md has figures of, small, and as accurate as they have to be.
func TestEmbeddedNetworks(t *testing.T) {
	for _, c := range []struct {
		dataset, name string
		accuracy      float64 // at least
	}{
		{data.MNIST, "mnist-classifier 30c60010a2bb", 0.994},
		{data.MNIST10K, "mnist-classifier 30c60010a2bb", 0.994},
		{data.FashionMNIST, "fashion-mnist-classifier 2b60406ed905", 0.92},
	} {
		n := embedded(t, c.dataset)
		if n.Name != c.name || *n.Accuracy < c.accuracy || len(n.Classes) != 10 {
			t.Errorf("%s: %s of accuracy %.4f, classes %q", c.dataset, n.Name, *n.Accuracy, n.Classes)
		}
		if got := n.Config(); got.InChannels != 1 || got.Height != 28 || got.Width != 28 || got.Features != 64 || got.Noisy {
			t.Errorf("%s: %+v", c.dataset, got)
		}
		f, ok, err := n.References()
		if ok != (c.dataset != data.FashionMNIST) || err != nil {
			t.Errorf("%s: references %v, %v", c.dataset, ok, err)
		}
		if ok && (f.N != 10000 || f.D != 64) {
			t.Errorf("%s: references [%d, %d]", c.dataset, f.N, f.D)
		}
	}
	files, err := assets.ReadDir("assets")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		info, err := f.Info()
		if err != nil {
			t.Fatal(err)
		}
		if most := int64(1e6); info.Size() > most && f.Name() != "mnist-test.safetensors" {
			t.Errorf("%s has %d bytes, more than %d", f.Name(), info.Size(), most)
		}
	}
	for _, dataset := range []string{data.CIFAR10, data.Folder, ""} {
		if _, err := Embedded(t.Context(), dataset); err == nil || HasEmbedded(dataset) {
			t.Errorf("%q has a network", dataset)
		}
	}
	n := embedded(t, data.MNIST)
	n.Name = "another"
	if _, _, err := n.References(); err == nil {
		t.Error("features of another network are taken for references")
	}
}

// digitsOf are the first n of the program's digits, changed by f.
func digitsOf(t *testing.T, n int, f func(x []float32)) Images {
	t.Helper()
	d, err := data.Open(t.Context(), data.Config{Dataset: data.MNIST10K}, data.Options{})
	if err != nil {
		t.Fatal(err)
	}
	im := FromDataset(d)
	return Images{N: n, Read: func(i int, x []float32) {
		im.Read(i, x)
		f(x)
	}}
}

// blur replaces each pixel by the mean of those within r rows and columns.
func blur(x []float32, r int) {
	old := slices.Clone(x)
	for i := range x {
		sum, count := float32(0), float32(0)
		for y := i/28 - r; y <= i/28+r; y++ {
			for z := i%28 - r; z <= i%28+r; z++ {
				if y >= 0 && y < 28 && z >= 0 && z < 28 {
					sum, count = sum+old[y*28+z], count+1
				}
			}
		}
		x[i] = sum / count
	}
}

// The distance from the test images orders real images, blurred ones and noise as one would, and the network tells digits.
func TestRealImagesAreNearerThanBlurredOnesThanNoise(t *testing.T) {
	net := embedded(t, data.MNIST)
	references, _, err := net.References()
	if err != nil {
		t.Fatal(err)
	}
	const n = 600
	last := 0.0
	for _, c := range []struct {
		name  string
		im    Images
		least float64 // times the distance of the one before
	}{
		{"real images", digitsOf(t, n, func([]float32) {}), 0},
		{"blurred once", digitsOf(t, n, func(x []float32) { blur(x, 1) }), 3},
		{"blurred twice", digitsOf(t, n, func(x []float32) { blur(x, 2) }), 2},
		{"noise", Images{n, func(i int, x []float32) {
			rng.Uniform32(x, 0, rng.UniformImage, uint64(i), 0)
			for j, v := range x {
				x[j] = 2*v - 1
			}
		}}, 1.2},
	} {
		f, classes, err := net.Measure(t.Context(), c.im, nil)
		if err != nil {
			t.Fatal(err)
		}
		d, err := metrics.Frechet(f, references)
		if err != nil {
			t.Fatal(err)
		}
		t.Logf("%s: %.3f", c.name, d)
		if d < c.least*last {
			t.Errorf("%s have the distance %.3f, the ones before %.3f", c.name, d, last)
		}
		if last == 0 {
			set, err := data.Open(t.Context(), data.Config{Dataset: data.MNIST10K}, data.Options{})
			if err != nil {
				t.Fatal(err)
			}
			wrong := 0
			for i, class := range classes {
				if class != set.Label(i) {
					wrong++
				}
			}
			if wrong > 6 {
				t.Errorf("%d of %d digits are told wrong", wrong, n)
			}
		}
		last = d
	}
}

// Features depend neither on what is measured together nor on the number of threads.
func TestMeasureDoesNotDependOnBatchesOrThreads(t *testing.T) {
	net := embedded(t, data.FashionMNIST)
	im := digitsOf(t, 70, func([]float32) {})
	defer kernel.SetThreads(kernel.Threads())
	kernel.SetThreads(1)
	var seen []int
	all, classes, err := net.Measure(t.Context(), im, func(n int) { seen = append(seen, n) })
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(seen, []int{64, 70}) {
		t.Errorf("progress %v", seen)
	}
	kernel.SetThreads(3)
	for i := range 5 {
		one, class, err := net.Measure(t.Context(), Images{1, func(_ int, x []float32) { im.Read(i, x) }}, nil)
		if err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(one.Data, all.Data[i*all.D:(i+1)*all.D]) || class[0] != classes[i] {
			t.Errorf("image %d has other features alone", i)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, _, err := net.Measure(ctx, im, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
}

// What WriteAssets writes has the accuracy that was measured, and a noisy classifier is none that measures images.
func TestWriteAssets(t *testing.T) {
	c := classifier.Config{Channels: []int{8}, Features: 5, InChannels: 1, Height: 4, Width: 4, Classes: 2}
	m := untrained(t, c)
	set, err := data.NewMemory(data.Info{Name: "marks", Channels: 1, Height: 4, Width: 4, Classes: []string{"a", "b"}}, make([]byte, 16*4), []int{0, 1, 1, 1})
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	n, err := WriteAssets(t.Context(), dir, "marks-classifier", m, set, true)
	if err != nil {
		t.Fatal(err)
	}
	if a := *n.Accuracy; a != 0.25 && a != 0.75 { // equal images are of one class
		t.Errorf("accuracy %g", a)
	}
	r, err := safetensors.Open(filepath.Join(dir, "marks.safetensors"))
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	again, err := load(t.Context(), r)
	if err != nil {
		t.Fatal(err)
	}
	if again.Name != n.Name || *again.Accuracy != *n.Accuracy || !slices.Equal(again.Classes, []string{"a", "b"}) {
		t.Errorf("read again: %s of accuracy %g, classes %q", again.Name, *again.Accuracy, again.Classes)
	}
	if before, err := New(t.Context(), "marks-classifier", m, nil, nil); err != nil || before.Name == n.Name {
		t.Errorf("rounded weights have the version of those before, %s (%v)", n.Name, err)
	}
	f, err := safetensors.Open(filepath.Join(dir, "marks-test.safetensors"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if info, _ := f.Lookup(featuresTensor); !slices.Equal(info.Shape, []int{4, 5}) || f.Metadata()[metaNetwork] != n.Name {
		t.Errorf("features %v of %q", info.Shape, f.Metadata()[metaNetwork])
	}
	c.Noisy = true
	if _, err := New(t.Context(), "noisy", untrained(t, c), nil, nil); err == nil {
		t.Error("a noisy classifier is taken")
	}
}

func untrained(t *testing.T, c classifier.Config) *classifier.Model {
	t.Helper()
	params, err := classifier.Layout(c)
	if err != nil {
		t.Fatal(err)
	}
	flat := make([]float32, params.Len())
	params.Initialize(flat, 1)
	m, err := classifier.FromFlat(c, params, flat)
	if err != nil {
		t.Fatal(err)
	}
	return m
}
