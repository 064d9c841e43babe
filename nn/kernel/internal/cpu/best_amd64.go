//go:build amd64 && !noasm

package cpu

import "github.com/klauspost/cpuid/v2"

// best is the highest level that the CPU and the operating system support.
func best() Level {
	switch c := &cpuid.CPU; {
	case c.Supports(cpuid.AVX512F, cpuid.AVX512BW, cpuid.AVX512DQ, cpuid.AVX512VL, cpuid.AVX2, cpuid.FMA3):
		return AVX512
	case c.Supports(cpuid.AVX2, cpuid.FMA3):
		return AVX2
	}
	return Generic
}

// cache is the size of a core's second-level cache in bytes.
func cache() int { return cpuid.CPU.Cache.L2 }
