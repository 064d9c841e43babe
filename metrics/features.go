package metrics

import (
	"fmt"
	"math"

	"unstir/internal/npy"
	"unstir/internal/rng"
)

// Features are N rows of D numbers, one after the other.
type Features struct {
	N, D int
	Data []float64 // [N, D]
}

// ReadFeatures reads a .npy file of shape [n, d], of float32 or float64.
func ReadFeatures(path string) (Features, error) {
	a, err := npy.ReadFile[float64](path)
	if err != nil {
		return Features{}, fmt.Errorf("metrics: features: %w", err)
	}
	if err := a.CheckShape(-1, -1); err != nil {
		return Features{}, fmt.Errorf("metrics: features: %s: %w", path, err)
	}
	return Features{a.Shape[0], a.Shape[1], a.Data}, nil
}

// WriteFile writes a .npy file of float64.
func (f Features) WriteFile(path string) error {
	if err := f.checkShape(); err != nil {
		return fmt.Errorf("metrics: features: %w", err)
	}
	return npy.WriteFile(path, npy.Array[float64]{Shape: []int{f.N, f.D}, Data: f.Data})
}

// part is rows first to end; they share the numbers.
func (f Features) part(first, end int) Features {
	return Features{end - first, f.D, f.Data[first*f.D : end*f.D]}
}

func (f Features) row(i int) []float64 { return f.Data[i*f.D : (i+1)*f.D] }

// choose copies the rows of the given numbers.
func (f Features) choose(rows []int32) Features {
	out := Features{len(rows), f.D, make([]float64, len(rows)*f.D)}
	for i, j := range rows {
		copy(out.row(i), f.row(int(j)))
	}
	return out
}

// random are n rows drawn without replacement.
func (f Features) random(n int, seed, which uint64) Features {
	if n == f.N {
		return f
	}
	return f.choose(permutation(f.N, seed, which)[:n])
}

// The permutations that subsets are cut from, by the second index of their draws. Subset i of the kernel distance uses 2i
// for the samples and 2i+1 for the references.
const (
	sampleSubset    = 1 << 32 // of precision, recall, density and coverage
	referenceSubset = sampleSubset + 1
	trainingDraws   = sampleSubset + 2
)

func permutation(n int, seed, which uint64) []int32 {
	p := make([]int32, n)
	rng.Perm(p, seed, rng.Subset, which)
	return p
}

// maxFeature bounds features so that no statistic overflows: the kernel distance squares differences of sixth powers.
const maxFeature = 1e20

func (f Features) checkShape() error {
	if f.N < 1 || f.D < 1 || f.N > math.MaxInt/f.D || len(f.Data) != f.N*f.D {
		return fmt.Errorf("%d numbers for shape [%d, %d]: they must be as many as rows times columns, at least one of each", len(f.Data), f.N, f.D)
	}
	return nil
}

func (f Features) check() error {
	if err := f.checkShape(); err != nil {
		return err
	}
	for i, v := range f.Data {
		if !(math.Abs(v) <= maxFeature) { // NaN too
			return fmt.Errorf("row %d has %v in column %d: features must be finite, and from %g to %g", i/f.D, v, i%f.D, -maxFeature, maxFeature)
		}
	}
	return nil
}

// checkPair checks both sides of a comparison.
func checkPair(samples, references Features) error {
	if err := samples.check(); err != nil {
		return fmt.Errorf("metrics: samples: %w", err)
	}
	return checkWith("references", references, samples.D)
}

func checkWith(what string, f Features, d int) error {
	if err := f.check(); err != nil {
		return fmt.Errorf("metrics: %s: %w", what, err)
	}
	if f.D != d {
		return fmt.Errorf("metrics: the samples have %d features, the %s %d: they must come from one network", d, what, f.D)
	}
	return nil
}
