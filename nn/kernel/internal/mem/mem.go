// Package mem has what the kernels do with addresses of floats.
package mem

import "unsafe"

// Move is the address n bytes behind p.
func Move(p *float32, n uintptr) *float32 { return (*float32)(unsafe.Add(unsafe.Pointer(p), n)) }

// Read is the float n bytes behind p. Reading by offsets keeps every pointer inside its array, also after the last step of a loop.
func Read(p *float32, n uintptr) float32 { return *(*float32)(unsafe.Add(unsafe.Pointer(p), n)) }

// Floats is the n floats at p.
func Floats(p *float32, n int) []float32 { return unsafe.Slice(p, n) }

// Aligned is x from its first 64-byte boundary on.
func Aligned(x []float32) []float32 {
	skip := -uintptr(unsafe.Pointer(unsafe.SliceData(x))) & 63 / 4
	return x[skip:]
}
