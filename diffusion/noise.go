package diffusion

import "unstir/internal/rng"

// NormalNoise is the Noise of a seed: the draws of image i at step k depend on
// (seed, i, k) only. It may be called from several goroutines.
func NormalNoise(seed uint64) Noise {
	return func(dst []float64, image, step int) {
		widen(dst, seed, rng.StepNoise, uint64(image), uint64(step))
	}
}

// from is the noise whose step 0 is z's step k.
func (z Noise) from(k int) Noise {
	if z == nil {
		return nil
	}
	return func(dst []float64, image, step int) { z(dst, image, k+step) }
}

// InitialNoise fills dst, one image, with x_T ~ N(0, I): the start of image i
// depends on (seed, i) only, and shares nothing with NormalNoise's draws.
func InitialNoise(dst []float64, seed uint64, image int) {
	widen(dst, seed, rng.InitialNoise, uint64(image), 0)
}

func widen(dst []float64, seed uint64, s rng.Stream, a, b uint64) {
	z := make([]float32, len(dst))
	rng.Normal(z, seed, s, a, b)
	for j, v := range z {
		dst[j] = float64(v)
	}
}
