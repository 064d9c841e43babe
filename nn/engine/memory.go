package engine

import "unsafe"

// hugePage is the size of a huge page of amd64, and of arm64 with pages of 4 KB.
const hugePage = 2 << 20

// AlignedFloats allocates n zeros at the start of a cache line. Many are put into huge pages where the system has them
// for those who ask: a kernel's operands are far apart, and training was measured to be 1 to 2 % faster (Zen 4).
func AlignedFloats(n int) []float32 {
	s := make([]float32, n+align)
	skip := 0
	if rest := int(uintptr(unsafe.Pointer(&s[0])) % (4 * align)); rest != 0 {
		skip = align - rest/4
	}
	s = s[skip : skip+n : skip+n]
	if whole := wholeHugePages(s); len(whole) > 0 {
		adviseHuge(whole)
	}
	return s
}

// wholeHugePages is the part of s that is whole huge pages.
func wholeHugePages(s []float32) []byte {
	if 4*len(s) < hugePage {
		return nil
	}
	b := unsafe.Slice((*byte)(unsafe.Pointer(&s[0])), 4*len(s))
	skip := -int(uintptr(unsafe.Pointer(&s[0]))) & (hugePage - 1)
	if skip >= len(b) {
		return nil
	}
	b = b[skip:]
	return b[:len(b)&^(hugePage-1)]
}
