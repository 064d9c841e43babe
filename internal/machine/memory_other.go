//go:build !linux

package machine

import "github.com/pbnjay/memory"

// systemMemory is the system's free memory, or half of the machine's where that is more: the system does not count
// page cache that it would give up as free.
func systemMemory() (Available, bool) {
	free, total := memory.FreeMemory(), memory.TotalMemory()
	if total == 0 {
		return Available{}, false
	}
	return Available{int64(max(free, total/2)), "the machine's memory"}, true
}
