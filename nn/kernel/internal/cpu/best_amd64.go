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

// cache is the size of a core's second-level cache in bytes, and whether rows of B are better fetched past it.
func cache() (l2 int, streamB bool) {
	// Zen 4 gains up to a tenth. On Intel's servers such rows are lost when they leave the first-level cache and come from
	// the last one for each tile: four times slower. Zen 5 was not measured.
	return cpuid.CPU.Cache.L2, cpuid.CPU.VendorID == cpuid.AMD && cpuid.CPU.Family == 0x19
}
