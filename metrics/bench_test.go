package metrics

import "testing"

// The parts of an evaluation of 2,000 samples with 64 features against MNIST's 10,000 test and 60,000 training images, and
// the manifolds of the most rows.

func BenchmarkFrechet(b *testing.B) {
	samples, references := normal(1, 2000, 64, 0, 1), normal(2, 10000, 64, 0, 1)
	for b.Loop() {
		if _, err := Frechet(samples, references); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkKernel(b *testing.B) {
	samples, references := normal(1, 2000, 64, 0, 1), normal(2, 10000, 64, 0, 1)
	for b.Loop() {
		if _, _, err := Kernel(b.Context(), samples, references, 0); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkCompareManifolds(b *testing.B) {
	samples, references := normal(1, ManifoldRows, 64, 0, 1), normal(2, ManifoldRows, 64, 0, 1)
	for b.Loop() {
		if _, err := CompareManifolds(b.Context(), samples, references, Neighbours); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkNearCopies(b *testing.B) {
	samples, test, training := normal(1, 2000, 64, 0, 1), normal(2, 10000, 64, 0, 1), normal(3, 60000, 64, 0, 1)
	for b.Loop() {
		if _, err := NearCopies(b.Context(), samples, test, training); err != nil {
			b.Fatal(err)
		}
	}
}
