//go:build amd64 && !noasm

package kernel

import "golang.org/x/sys/cpu"

// bestLevel is the highest level that the CPU and the operating system support.
func bestLevel() Level {
	x := &cpu.X86
	switch {
	case x.HasAVX512F && x.HasAVX512BW && x.HasAVX512DQ && x.HasAVX512VL && x.HasAVX2 && x.HasFMA:
		return AVX512
	case x.HasAVX2 && x.HasFMA:
		return AVX2
	}
	return Generic
}
