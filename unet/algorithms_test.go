package unet_test

import (
	"cmp"
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"unstir/configs"
	"unstir/data"
	"unstir/nn/engine"
	"unstir/nn/kernel"
	"unstir/unet"
)

var updateAlgorithms = flag.Bool("update", false, "write testdata/algorithms.txt instead of comparing with it")

// machines are those that the algorithms are pinned for: their caches differ in how filters are packed.
var machines = []struct {
	name string
	cpu  kernel.CPU
}{
	{"generic", kernel.CPU{Level: kernel.Generic}},
	{"avx2 512 KB", kernel.CPU{Level: kernel.AVX2, L2: 512 << 10}},
	{"avx512 1 MB", kernel.CPU{Level: kernel.AVX512, L2: 1 << 20}},
	{"avx512 2 MB", kernel.CPU{Level: kernel.AVX512, L2: 2 << 20}},
}

const threads = 2

// The algorithm of every convolution of the compared models and the presets, in sampling and training, on every machine, is
// that of a committed table: a change of what is chosen shows as a change of the table, also on a machine without the level.
func TestAlgorithms(t *testing.T) {
	got := algorithms(t)
	path := filepath.Join("testdata", "algorithms.txt")
	if *updateAlgorithms {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	want := strings.ReplaceAll(string(text), "\r\n", "\n")
	if got == want {
		return
	}
	had := strings.Split(want, "\n")
	for i, line := range strings.Split(got, "\n") {
		if i >= len(had) || line != had[i] {
			t.Fatalf("line %d of %s is another than what is chosen:\n\t%s\nif that was meant to change, run the test with -update and look at what it changes in the file", i+1, path, line)
		}
	}
	t.Fatalf("%s goes on behind what there is", path)
}

func algorithms(t *testing.T) string {
	var b strings.Builder
	fmt.Fprintf(&b, "The algorithms of convolutions with %d threads, written by TestAlgorithms with -update: how many there are, the pass, the\n", threads)
	fmt.Fprintf(&b, "shape, and the algorithm, by machine (level and second-level cache) where they differ.\n")
	files, err := filepath.Glob(filepath.Join("..", "bench", "models", "*.toml"))
	if err != nil || len(files) == 0 {
		t.Fatal("no compared models", err)
	}
	for _, name := range append(files, configs.Presets()...) {
		c, err := configs.Load(name, nil)
		if err != nil {
			t.Fatal(err)
		}
		if c.IsClassifier() {
			continue
		}
		info := data.Info{Name: c.Data.Dataset, Channels: 1, Height: 28, Width: 28, Count: 1}
		if c.Data.Dataset == data.CIFAR10 {
			info.Channels, info.Height, info.Width = 3, 32, 32
		}
		if err := c.Fit(info); err != nil {
			t.Fatal(err)
		}
		slice := min(cmp.Or(c.Train.Slice, unet.DefaultSlice(c.Model, info.Height, info.Width)), c.Train.BatchSize)
		for _, use := range []struct {
			name   string
			images int
			train  bool
		}{{"sampling", 1, false}, {"sampling", 16, false}, {"training", slice, true}} {
			ops, err := unet.Operations(c.Model, use.images, info.Height, info.Width, use.train)
			if err != nil {
				t.Fatal(err)
			}
			fmt.Fprintf(&b, "\n%s, %s on %d images\n", c.Name, use.name, use.images)
			for _, line := range lines(t, use.train, ops) {
				fmt.Fprintln(&b, line)
			}
		}
	}
	return b.String()
}

// lines are the table of some operations' convolutions.
func lines(t *testing.T, train bool, ops []*engine.Op) (table []string) {
	type conv struct {
		pass  kernel.Pass
		shape kernel.ConvShape
	}
	count := map[conv]int{}
	for _, op := range ops {
		if (len(op.Convs) > 0) == (op.Method != "") {
			t.Errorf("%s has %d convolutions and the method %q", op.Name, len(op.Convs), op.Method)
		}
		if op.Pass != kernel.Forward && !train {
			t.Errorf("%s, in sampling, is of the pass %v", op.Name, op.Pass)
		}
		for _, s := range op.Convs {
			count[conv{op.Pass, s}]++
		}
	}
	list := slices.SortedFunc(maps.Keys(count), func(a, b conv) int {
		x, y := a.shape, b.shape
		return cmp.Or(cmp.Compare(a.pass, b.pass), cmp.Compare(y.H*y.W, x.H*x.W), cmp.Compare(y.R, x.R), cmp.Compare(x.C, y.C), cmp.Compare(x.K, y.K),
			strings.Compare(x.String(), y.String()))
	})
	for _, c := range list {
		var algorithms []string
		on := map[string][]string{}
		for _, m := range machines {
			a := kernel.Choose(c.shape, c.pass, threads, m.cpu).String()
			if on[a] == nil {
				algorithms = append(algorithms, a)
			}
			on[a] = append(on[a], m.name)
		}
		for i, a := range algorithms {
			if len(algorithms) > 1 {
				algorithms[i] = fmt.Sprintf("%s (%s)", a, strings.Join(on[a], ", "))
			}
		}
		table = append(table, fmt.Sprintf("%3d %s: %v: %s", count[c], c.pass, c.shape, strings.Join(algorithms, "; ")))
	}
	return table
}
