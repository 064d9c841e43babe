package parallel

import "unstir/nn/kernel/internal/mem"

// Scratch is memory that a call needs for itself. What is in it is undefined before and after.
//
// Own is one slice for each worker. Who gives the same ones to call after call, as the engine's Machine does, leaves each
// worker's memory in its own core's caches. Anywhere in an arena, its lines belong to whichever core used that place last,
// and must be taken from there to be written: where a message between two cores takes 160 ns, that was measured to cost a
// training step 4 to 5 % (Zen 4, likely cores of two chiplets).
type Scratch struct {
	Shared []float32
	Own    [][]float32
}

// ScratchSize is how much scratch a call needs, in floats.
type ScratchSize struct {
	Shared  int
	Own     int // of each worker
	Workers int
}

// Max is enough for a and for b, one after the other.
func (a ScratchSize) Max(b ScratchSize) ScratchSize {
	return ScratchSize{max(a.Shared, b.Shared), max(a.Own, b.Own), max(a.Workers, b.Workers)}
}

// Plus is enough for a and for b where what they share must not meet.
func (a ScratchSize) Plus(b ScratchSize) ScratchSize {
	sum := a.Max(b)
	sum.Shared = a.Shared + b.Shared
	return sum
}

// With is a with shared memory for one more Take of n floats.
func (a ScratchSize) With(n int) ScratchSize {
	a.Shared += n + lineFloats
	return a
}

const lineFloats = 16 // a line of the caches; as many floats at most are left out so that memory begins with a whole one

// NewScratch allocates scratch.
func NewScratch(n ScratchSize) Scratch {
	return Scratch{make([]float32, n.Shared), CutOwn(make([]float32, n.OwnLen()), n)}
}

// OwnLen is the number of floats of all workers' own memory.
func (a ScratchSize) OwnLen() int { return a.Workers * WholeLines(a.Own) }

// CutOwn cuts mem, of OwnLen floats, into each worker's own.
func CutOwn(mem []float32, n ScratchSize) [][]float32 {
	own := make([][]float32, n.Workers)
	for i := range own {
		at := i * WholeLines(n.Own)
		own[i] = mem[at : at+n.Own : at+n.Own]
	}
	return own
}

// WholeLines is n floats and a gap, to the end of a line of 64 bytes: two threads that write to one line wait for each other.
func WholeLines(n int) int { return (n + 31) &^ 15 }

// PerWorker is the size of scratch of which each of so many workers has n mem.Aligned floats.
func PerWorker(workers, n int) ScratchSize {
	return ScratchSize{Own: n + lineFloats, Workers: workers}
}

// Take takes n floats from the shared memory, from a whole line on.
func (s *Scratch) Take(n int) []float32 {
	mem := mem.Aligned(s.Shared)
	s.Shared = mem[n:]
	return mem[:n:n]
}

// Worker is the i-th worker's memory from the first whole line on.
func (s *Scratch) Worker(i int) []float32 { return mem.Aligned(s.Own[i]) }
