// Package rng draws random numbers without any state: a draw is a pure
// function of (seed, stream, a, b, j). A run is resumed by knowing its step,
// and image i is the same alone or in a batch of 64.
//
// The bits come from Philox-4x64-10 (philox.go). Its 256-bit counter is
// (stream, a, b, j/4) and its 128-bit key (seed, attempt), so no two indices
// share a block and nothing is hashed together. All floating-point arithmetic
// is written so that it cannot be fused or reordered: every architecture and
// every CPU gives the same bits.
package rng

import "math/bits"

// Stream separates the uses of randomness: draws of one stream say nothing
// about those of another. The values are part of what a seed means; they
// never change.
type Stream uint64

// The streams, and the meaning of the indices a, b of each.
const (
	Shuffle      Stream = 1  // a: epoch
	Flip         Stream = 2  // a: step, b: image in the batch
	Timestep     Stream = 3  // a: step, b: image in the batch
	TrainNoise   Stream = 4  // a: step, b: image in the batch
	InitialNoise Stream = 5  // x_T; a: image
	StepNoise    Stream = 6  // a: image, b: sampling step
	Dropout      Stream = 7  // a: step, b: layer or image
	Weights      Stream = 8  // a: parameter
	Subset       Stream = 9  // of an evaluation; a: which
	TestNoise    Stream = 10 // a: image of the test split
	UniformImage Stream = 11 // of an evaluation; a: image
	LabelDropout Stream = 12 // a: step, b: image in the batch
	BoundNoise   Stream = 13 // x_t in the variational bound; a: image, b: timestep
)

// Uint64 returns 64 uniform bits.
func Uint64(seed uint64, s Stream, a, b, j uint64) uint64 {
	return word(seed, 0, s, a, b, j)
}

// word is Uint64 with the second half of the key: attempt counts the draws
// that a rejection loop has thrown away.
func word(seed, attempt uint64, s Stream, a, b, j uint64) uint64 {
	r0, r1, r2, r3 := philox(uint64(s), a, b, j>>2, seed, attempt)
	switch j & 3 {
	case 0:
		return r0
	case 1:
		return r1
	case 2:
		return r2
	}
	return r3
}

// Intn returns a uniform integer of [0, n), without the bias of a remainder;
// n must be positive, otherwise the result is 0.
func Intn(seed uint64, s Stream, a, b, j uint64, n int) int {
	if n <= 1 {
		return 0
	}
	// Lemire, "Fast Random Integer Generation in an Interval", 2019,
	// algorithm 5: the high word of bits * n, unless the low word falls in the
	// 2^64 mod n values that would make some results likelier.
	m := uint64(n)
	hi, lo := bits.Mul64(word(seed, 0, s, a, b, j), m)
	if lo < m {
		reject := -m % m
		for attempt := uint64(1); lo < reject; attempt++ {
			hi, lo = bits.Mul64(word(seed, attempt, s, a, b, j), m)
		}
	}
	return int(hi)
}

// Uniform32 fills dst with uniform numbers of [0, 1), multiples of 2^-24.
// dst[j] depends on (seed, s, a, b, j) only, not on len(dst).
func Uniform32(dst []float32, seed uint64, s Stream, a, b uint64) {
	var w [4]uint64
	for block := 0; 8*block < len(dst); block++ {
		w[0], w[1], w[2], w[3] = philox(uint64(s), a, b, uint64(block), seed, 0)
		part := dst[8*block:]
		for j := range part[:min(8, len(part))] {
			half := uint32(w[j>>1] >> (32 * (j & 1)))
			part[j] = float32(half>>8) * 0x1p-24
		}
	}
}

// Perm fills dst with a uniformly drawn permutation of 0..len(dst)-1: the
// Fisher-Yates shuffle (Durstenfeld, algorithm 235, 1964), its i-th swap drawn
// at j = i. Shuffle a's permutation is the same wherever it is asked for.
func Perm(dst []int32, seed uint64, s Stream, a uint64) {
	for i := range dst {
		k := Intn(seed, s, a, 0, uint64(i), i+1)
		dst[i] = dst[k]
		dst[k] = int32(i)
	}
}
