package golden

import (
	"fmt"
	"math"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"unstir/checkpoints/safetensors"
)

// Weights is where a fixture's model has its weights from: a file whose path, from the fixture's directory, ends the
// rule, or values by a recipe. names are the names of all parameters.
func (f *Fixture) Weights(t testing.TB, rule string, names []string) func(name string, shape []int, dst []float32) error {
	t.Helper()
	if strings.HasPrefix(rule, "recipe") {
		return recipe(rule, names)
	}
	words := strings.Fields(rule) // a path, perhaps after some words
	if len(words) == 0 {
		t.Fatalf("%s does not say where the weights are", f.Dir)
	}
	r, err := safetensors.Open(filepath.Join(f.Dir, filepath.FromSlash(words[len(words)-1])))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close() })
	return func(name string, _ []int, dst []float32) error { return r.ReadFloat32(name, dst) }
}

// recipe fills element j of tensor i of the sorted names from a hash of (seed, i, j), which gives u in [-1, 1):
// u sqrt(3 / fan_in) where the tensor has two or more dimensions, 1 + 0.1 u where its name ends in ".weight", 0.05 u
// elsewhere. The rule ends in "seed S"; 1 where it does not.
func recipe(rule string, names []string) func(name string, shape []int, dst []float32) error {
	seed := uint64(1)
	if i := strings.LastIndex(rule, "seed "); i >= 0 {
		fmt.Sscan(rule[i+5:], &seed)
	}
	sorted := slices.Sorted(slices.Values(names))
	return func(name string, shape []int, dst []float32) error {
		at, ok := slices.BinarySearch(sorted, name)
		if !ok {
			return fmt.Errorf("no parameter of the recipe has the name %q", name)
		}
		fanIn := 1
		for _, d := range shape[1:] {
			fanIn *= d
		}
		for j := range dst {
			z := seed<<48 + uint64(at)<<32 + uint64(j) + 0x9E3779B97F4A7C15
			z = (z ^ z>>30) * 0xBF58476D1CE4E5B9
			z = (z ^ z>>27) * 0x94D049BB133111EB
			z ^= z >> 31
			u := float64(z>>40)/8388608 - 1
			switch {
			case len(shape) > 1:
				dst[j] = float32(u * math.Sqrt(3/float64(fanIn)))
			case strings.HasSuffix(name, ".weight"):
				dst[j] = float32(1 + 0.1*u)
			default:
				dst[j] = float32(0.05 * u)
			}
		}
		return nil
	}
}
