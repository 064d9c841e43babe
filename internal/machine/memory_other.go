//go:build !linux

package machine

import "github.com/pbnjay/memory"

// systemMemory is what the system says is free, or half of what the machine has where it says less: page cache that
// it would give up is not free to it.
func systemMemory() (Available, bool) {
	free, total := memory.FreeMemory(), memory.TotalMemory()
	if total == 0 {
		return Available{}, false
	}
	return Available{int64(max(free, total/2)), "the machine's memory"}, true
}
