package metrics

import (
	"context"
	"fmt"
	"math"
)

// The subsets that the kernel distance is averaged over.
const (
	KernelSubsets    = 100  // how many
	KernelSubsetSize = 1000 // rows of each at most
)

// mmd2 is the unbiased estimate of the squared maximum mean discrepancy of two sets of as many rows, at least 2, with the
// kernel (x.y/d + 1)³ (Gretton et al., "A Kernel Two-Sample Test", 2012, lemma 6): the means of the kernel over the pairs
// of different rows of one set, less twice the mean over all pairs of one row of each. It may be below 0.
func mmd2(x, y Features, tile []float64) float64 {
	m := float64(x.N)
	px, py := pack(x), pack(y)
	within := px.kernelSum(x, true, tile) + py.kernelSum(y, true, tile)
	return 2*within/(m*(m-1)) - 2*py.kernelSum(x, false, tile)/(m*m)
}

// kernelSum is the sum of the kernel over pairs of a row of x and a row of r; where these are the same rows, over pairs
// i < j only.
func (r *rows) kernelSum(x Features, same bool, tile []float64) float64 {
	scale, total := 1/float64(x.D), 0.0
	for first := 0; first < x.N; first += tileRows {
		end := min(first+tileRows, x.N)
		from := 0
		if same {
			from = first / tileColumns * tileColumns // the pairs before are below the diagonal
		}
		r.products(x, first, end, from, tile, func(i, j int, products []float64) {
			if same {
				skip := min(max(0, i+1-j), len(products))
				products = products[skip:]
			}
			sum := 0.0
			for _, p := range products {
				u := float64(p*scale) + 1
				sum += float64(u * u * u)
			}
			total += sum
		})
	}
	return total
}

// KernelSubset is the i-th pair of subsets of m rows that Kernel compares: the numbers of rows of the samples and of the
// references, drawn without replacement. m is at most the number of either.
func KernelSubset(seed uint64, i, samples, references, m int) (ofSamples, ofReferences []int32) {
	return permutation(samples, seed, 2*uint64(i))[:m], permutation(references, seed, 2*uint64(i)+1)[:m]
}

// Kernel is the kernel distance (Bińkowski et al., "Demystifying MMD GANs", 2018, KID there): the mean and the standard
// deviation (with the denominator 100) of the unbiased estimate of the squared maximum mean discrepancy with the kernel
// (x.y/d + 1)³ over 100 pairs of random subsets of min(1000, n) rows, n the smaller number of rows, at least 2. The mean may
// be below 0.
func Kernel(ctx context.Context, samples, references Features, seed uint64) (mean, std float64, err error) {
	if err := checkPair(samples, references); err != nil {
		return 0, 0, err
	}
	m := min(KernelSubsetSize, samples.N, references.N)
	if m < 2 {
		return 0, 0, fmt.Errorf("metrics: %d samples and %d references: the kernel distance needs at least 2 of each", samples.N, references.N)
	}
	var values [KernelSubsets]float64
	err = each(ctx, KernelSubsets, func(i int, tile []float64) {
		s, r := KernelSubset(seed, i, samples.N, references.N, m)
		values[i] = mmd2(samples.choose(s), references.choose(r), tile)
	})
	if err != nil {
		return 0, 0, err
	}
	for _, v := range values {
		mean += v / KernelSubsets
	}
	for _, v := range values {
		std += (v - mean) * (v - mean) / KernelSubsets
	}
	return mean, math.Sqrt(std), nil
}
