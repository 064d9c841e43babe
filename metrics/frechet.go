package metrics

import (
	"context"
	"fmt"
	"math"

	"gonum.org/v1/gonum/mat"

	"unstir/nn/kernel"
)

// Gaussian is a normal distribution of D features.
type Gaussian struct {
	D    int
	Mean []float64 // [D]
	Cov  []float64 // [D, D], symmetric and positive semi-definite
}

// Fit is the mean and the unbiased covariance of features, which must be more rows than columns: otherwise the covariance
// is singular by their number alone.
func Fit(f Features) (Gaussian, error) {
	if err := f.check(); err != nil {
		return Gaussian{}, fmt.Errorf("metrics: %w", err)
	}
	if f.N <= f.D {
		return Gaussian{}, fmt.Errorf("metrics: %w", tooFew(f.N, f.D))
	}
	return fit(f), nil
}

func tooFew(n, d int) error {
	return fmt.Errorf("%d rows of %d features: the covariance needs at least %d", n, d, d+1)
}

func fit(f Features) Gaussian {
	n, d := f.N, f.D
	g := Gaussian{D: d, Mean: make([]float64, d), Cov: make([]float64, d*d)}
	for i := range n {
		for j, v := range f.row(i) {
			g.Mean[j] += v
		}
	}
	for j := range g.Mean {
		g.Mean[j] /= float64(n)
	}
	centred := make([]float64, d*n) // transposed
	for i := range n {
		for j, v := range f.row(i) {
			centred[j*n+i] = v - g.Mean[j]
		}
	}
	columns := kernel.NewInnerRows(centred, d, n)
	ld := columns.Panels() * kernel.InnerPanel
	products := make([]float64, d*ld)
	columns.Multiply(products, ld, centred, d, 0, columns.Panels())
	for i := range d {
		for j := range d {
			g.Cov[i*d+j] = products[i*ld+j] / float64(n-1)
		}
	}
	return g
}

// FrechetDistance is the squared Fréchet distance, or 2-Wasserstein distance, of two normal distributions:
//
//	|m1 - m2|² + tr(C1 + C2 - 2 (C1 C2)^½)
//
// (Dowson and Landau, "The Fréchet distance between multivariate normal distributions", 1982). C1^½ and C2^½ come from
// symmetric eigendecompositions. The trace of (C1 C2)^½ is the sum of the roots of the eigenvalues of C1^½ C2 C1^½, which
// are the singular values of C1^½ C2^½: computed as such, none that should be 0 becomes the root of a rounding error.
func FrechetDistance(a, b Gaussian) (float64, error) {
	for _, g := range []Gaussian{a, b} {
		if g.D < 1 || g.D != a.D || len(g.Mean) != g.D || len(g.Cov) != g.D*g.D {
			return 0, fmt.Errorf("metrics: normal distributions of %d and %d features, with means of %d and %d numbers and covariances of %d and %d: they must have d, d and d² of one d, at least 1",
				a.D, b.D, len(a.Mean), len(b.Mean), len(a.Cov), len(b.Cov))
		}
		for _, values := range [][]float64{g.Mean, g.Cov} {
			for _, v := range values {
				if !(math.Abs(v) <= maxFeature*maxFeature) { // NaN too
					return 0, fmt.Errorf("metrics: a normal distribution with %v: means and covariances must be finite, and at most %g in size", v, maxFeature*maxFeature)
				}
			}
		}
	}
	rootA, err := root(a)
	if err != nil {
		return 0, err
	}
	rootB, err := root(b)
	if err != nil {
		return 0, err
	}
	var product mat.Dense
	product.Mul(rootA, rootB)
	var svd mat.SVD
	if !svd.Factorize(&product, mat.SVDNone) {
		return 0, fmt.Errorf("metrics: the singular values of the covariances' product did not converge")
	}
	distance := 0.0
	for j := range a.D {
		diff := a.Mean[j] - b.Mean[j]
		distance += diff*diff + a.Cov[j*a.D+j] + b.Cov[j*b.D+j]
	}
	for _, v := range svd.Values(nil) {
		distance -= 2 * v
	}
	return max(0, distance), nil
}

// root is the symmetric root of a covariance. Eigenvalues within the rounding of the largest one count as 0.
func root(g Gaussian) (*mat.Dense, error) {
	var e mat.EigenSym
	if !e.Factorize(mat.NewSymDense(g.D, g.Cov), true) {
		return nil, fmt.Errorf("metrics: the eigenvalues of a covariance did not converge")
	}
	values := e.Values(nil)
	var vectors, out mat.Dense
	e.VectorsTo(&vectors)
	scaled := mat.NewDense(g.D, g.D, nil)
	rounding := float64(g.D) * 0x1p-52 * values[g.D-1]
	for j, v := range values {
		if v > rounding {
			for i := range g.D {
				scaled.Set(i, j, math.Sqrt(v)*vectors.At(i, j))
			}
		}
	}
	out.Mul(scaled, vectors.T())
	return &out, nil
}

// Frechet is the Fréchet distance of the normal distributions that are fitted to samples and references (Heusel et al.,
// "GANs Trained by a Two Time-Scale Update Rule", 2017, FID there). Each must be more rows than columns.
func Frechet(samples, references Features) (float64, error) {
	if err := checkPair(samples, references); err != nil {
		return 0, err
	}
	return frechet(samples, references)
}

func frechet(samples, references Features) (float64, error) {
	if n, d := samples.N, samples.D; n <= d {
		return 0, fmt.Errorf("metrics: samples: %w", tooFew(n, d))
	}
	if n, d := references.N, references.D; n <= d {
		return 0, fmt.Errorf("metrics: references: %w", tooFew(n, d))
	}
	return FrechetDistance(fit(samples), fit(references))
}

// realDraws is how many draws of training images the Fréchet distance of real images is the mean of.
const realDraws = 5

// frechetReal is what n real images score: the mean Fréchet distance, from the references, of disjoint random draws of n
// training images, 5 or as many as there are. It is how far from 0 perfect samples are, by their number and by the
// difference between training and references. draws is 0 where there are fewer than n training images.
func frechetReal(ctx context.Context, training, references Features, n int, seed uint64) (mean float64, draws int, err error) {
	draws = min(realDraws, training.N/n)
	order := permutation(training.N, seed, trainingDraws)
	for i := range draws {
		if err := ctx.Err(); err != nil {
			return 0, 0, err
		}
		v, err := frechet(training.choose(order[i*n:(i+1)*n]), references)
		if err != nil {
			return 0, 0, err
		}
		mean += v / float64(draws)
	}
	return mean, draws, nil
}
