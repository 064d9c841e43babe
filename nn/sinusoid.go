package nn

import "math"

// Sinusoid writes the position of timestep t as sines and cosines of len(dst)/2 frequencies from 1 down to 10^-4 (Vaswani
// et al., 2017, section 3.5): 10^(-4 i / (half - shift)). An odd length ends with a zero. It rounds to float32 where
// diffusers does, so that both see the same angles.
func Sinusoid(dst []float32, t int, cosFirst bool, shift float64) {
	half := len(dst) / 2
	sin, cos := dst[:half], dst[half:2*half]
	if cosFirst {
		sin, cos = cos, sin
	}
	for i := 0; i < half; i++ {
		exponent := float32(-math.Log(10000)) * float32(i) / (float32(half) - float32(shift))
		angle := float64(float32(t) * float32(math.Exp(float64(exponent))))
		sin[i], cos[i] = float32(math.Sin(angle)), float32(math.Cos(angle))
	}
	clear(dst[2*half:])
}
