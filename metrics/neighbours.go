package metrics

import (
	"context"
	"fmt"
	"math"
	"sync"
)

// Manifold compares the neighbourhoods of samples and references. A row's neighbourhood is the open ball to its k-th
// nearest other row of its own side.
type Manifold struct {
	Precision float64 // share of samples in a reference's neighbourhood
	Recall    float64 // share of references in a sample's neighbourhood
	Density   float64 // references in whose neighbourhood a sample is, divided by k: the mean, which may be above 1
	Coverage  float64 // share of references that have a sample in their neighbourhood
}

// CompareManifolds computes precision and recall (Kynkäänniemi et al., "Improved Precision and Recall Metric for Assessing
// Generative Models", 2019), density and coverage (Naeem et al., "Reliable Fidelity and Diversity Metrics for Generative
// Models", 2020) with the second paper's definitions, in which a neighbourhood does not include its border. Coverage in
// particular depends on the numbers of rows. k is from 1 to one less than the number of rows of either side.
func CompareManifolds(ctx context.Context, samples, references Features, k int) (Manifold, error) {
	if err := checkPair(samples, references); err != nil {
		return Manifold{}, err
	}
	if k < 1 || k >= min(samples.N, references.N) {
		return Manifold{}, fmt.Errorf("metrics: the %d-th neighbour among %d samples and %d references: it must be at least the first, and less than either number", k, samples.N, references.N)
	}
	s, r := pack(samples), pack(references)
	sampleRadii, err := radii(ctx, samples, s, k)
	if err != nil {
		return Manifold{}, err
	}
	referenceRadii, err := radii(ctx, references, r, k)
	if err != nil {
		return Manifold{}, err
	}
	var mu sync.Mutex
	around := make([]int, samples.N) // references in whose neighbourhood a sample is
	recalled, covered := 0, 0
	err = eachTile(ctx, references.N, func(first, end int, tile []float64) {
		counts := make([]int, samples.N)
		var isRecalled, isCovered [tileRows]bool
		s.distances(references, first, end, tile, func(i, j int, squared []float64) {
			radius := referenceRadii[i]
			for l, d := range squared {
				if d < radius {
					counts[j+l]++
					isCovered[i-first] = true
				}
				if d < sampleRadii[j+l] {
					isRecalled[i-first] = true
				}
			}
		})
		mu.Lock()
		defer mu.Unlock()
		for j, c := range counts {
			around[j] += c
		}
		for i := range tileRows {
			recalled += count(isRecalled[i])
			covered += count(isCovered[i])
		}
	})
	if err != nil {
		return Manifold{}, err
	}
	precise, total := 0, 0
	for _, c := range around {
		precise += count(c > 0)
		total += c
	}
	n, m := float64(samples.N), float64(references.N)
	return Manifold{
		Precision: float64(precise) / n,
		Recall:    float64(recalled) / m,
		Density:   float64(total) / (float64(k) * n),
		Coverage:  float64(covered) / m,
	}, nil
}

func count(b bool) int {
	if b {
		return 1
	}
	return 0
}

// radii are the squared distances of rows to the k-th nearest other ones.
func radii(ctx context.Context, f Features, r *rows, k int) ([]float64, error) {
	out := make([]float64, f.N)
	err := eachTile(ctx, f.N, func(first, end int, tile []float64) {
		nearest := make([]float64, tileRows*k) // of each row, ascending
		for i := range nearest {
			nearest[i] = math.Inf(1)
		}
		r.distances(f, first, end, tile, func(i, j int, squared []float64) {
			near := nearest[(i-first)*k : (i-first+1)*k]
			for l, d := range squared {
				if d < near[k-1] && j+l != i {
					at := k - 1
					for ; at > 0 && near[at-1] > d; at-- {
						near[at] = near[at-1]
					}
					near[at] = d
				}
			}
		})
		for i := first; i < end; i++ {
			out[i] = nearest[(i-first+1)*k-1]
		}
	})
	return out, err
}
