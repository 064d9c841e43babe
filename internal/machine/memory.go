package machine

import (
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"sort"
	"strconv"
)

// MemoryVariable is the environment variable that takes the place of what Memory detects: a number of bytes.
const MemoryVariable = "UNSTIR_MEMORY"

// Available is the memory that this process may still take.
type Available struct {
	Bytes  int64
	Source string // what sets the bound, in words, such as "the control group's limit"
}

// Memory is what this process may still take: what the machine has available, page cache that the system would give
// up included, or less where a container's limit (cgroup v1 or v2) leaves less. UNSTIR_MEMORY overrides it. The
// second result is false where the system does not say. An error means that UNSTIR_MEMORY is not a number of bytes.
func Memory() (Available, bool, error) {
	if text := os.Getenv(MemoryVariable); text != "" {
		n, err := strconv.ParseInt(text, 10, 64)
		if err != nil || n < 1 {
			return Available{}, false, fmt.Errorf("%s=%s: it must be a whole number of bytes, at least 1", MemoryVariable, text)
		}
		return Available{n, MemoryVariable}, true, nil
	}
	a, ok := systemMemory()
	return a, ok, nil
}

// plannable is the share of the available memory that a plan may take: the rest is for what is not planned, such as
// the garbage collector's slack and the files' buffers.
const plannable = 0.9

// Shortage is the error of a plan that does not fit into memory.
type Shortage struct {
	Need      int64 // bytes
	Available Available
	Fits      int // the largest number of images that fits, 0 if not even one does
}

func (s *Shortage) Error() string {
	return fmt.Sprintf("%s of memory are needed, more than %.0f %% of the %s available (%s)",
		size(s.Need), 100*plannable, size(s.Available.Bytes), s.Available.Source)
}

// size formats a number of bytes.
func size(bytes int64) string {
	switch {
	case bytes >= 1e9:
		return fmt.Sprintf("%.1f GB", float64(bytes)/1e9)
	case bytes >= 1e6 && bytes < 10e6 && bytes%1e6 != 0: // so that what is needed and what there is differ
		return fmt.Sprintf("%.1f MB", float64(bytes)/1e6)
	case bytes >= 1e6:
		return fmt.Sprintf("%.0f MB", float64(bytes)/1e6)
	}
	return fmt.Sprintf("%.0f kB", float64(bytes)/1e3)
}

// Fit returns a *Shortage where a plan for n images needs more than 90 % of the available memory; nil where it fits, or
// where the system does not say what is available. need is the plan's size in bytes and must not fall as n rises.
func Fit(n int, need func(n int) (int64, error)) error {
	available, known, err := Memory()
	if err != nil || !known {
		return err
	}
	bytes, err := need(n)
	if err != nil {
		return err
	}
	limit := int64(plannable * float64(available.Bytes))
	if bytes <= limit {
		return nil
	}
	fits := sort.Search(n-1, func(i int) bool {
		b, e := need(i + 1)
		if e != nil {
			err = e
		}
		return b > limit
	})
	if err != nil {
		return err
	}
	return &Shortage{bytes, available, fits}
}

// BoundHeap limits the program's memory, plans and garbage together, to what is available now: the garbage collector
// works harder near the limit, where it would otherwise let the heap double. A GOMEMLIMIT that is set
// in the environment is left as it is.
func BoundHeap() {
	available, known, err := Memory()
	if err != nil || !known || os.Getenv("GOMEMLIMIT") != "" {
		return
	}
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	debug.SetMemoryLimit(int64(m.Sys) + int64((1+plannable)/2*float64(available.Bytes)))
}
