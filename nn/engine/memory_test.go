package engine

import (
	"bufio"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strings"
	"testing"
	"unsafe"
)

func TestAlignedFloats(t *testing.T) {
	for _, n := range []int{1, 31, 1000, hugePage / 4, 1<<20 + 3, 5 << 20} {
		s := AlignedFloats(n)
		if len(s) != n || cap(s) != n || uintptr(unsafe.Pointer(&s[0]))%64 != 0 {
			t.Errorf("%d floats: length %d, capacity %d, at %p", n, len(s), cap(s), &s[0])
		}
		if slices.ContainsFunc(s, func(x float32) bool { return x != 0 }) {
			t.Errorf("%d floats are not zero", n)
		}
		whole := wholeHugePages(s)
		if len(whole) == 0 {
			if 4*n >= 2*hugePage {
				t.Errorf("%d floats have no huge page", n)
			}
			continue
		}
		first, end := uintptr(unsafe.Pointer(&whole[0])), uintptr(unsafe.Pointer(&whole[0]))+uintptr(len(whole))
		from := uintptr(unsafe.Pointer(&s[0]))
		if first%hugePage != 0 || end%hugePage != 0 || first < from || end > from+uintptr(4*n) || 4*n-len(whole) >= 2*hugePage {
			t.Errorf("%d floats at %#x: huge pages %#x to %#x", n, from, first, end)
		}
	}
}

// On Linux the kernel knows the memory as one that wants huge pages.
func TestAlignedFloatsAskForHugePages(t *testing.T) {
	if _, err := os.Stat("/sys/kernel/mm/transparent_hugepage/enabled"); runtime.GOOS != "linux" || err != nil {
		t.Skip("no huge pages here")
	}
	s := AlignedFloats(2 << 20)
	at := uintptr(unsafe.Pointer(&wholeHugePages(s)[0]))
	f, err := os.Open("/proc/self/smaps")
	if err != nil {
		t.Skip(err)
	}
	defer f.Close()
	inside := false
	for lines := bufio.NewScanner(f); lines.Scan(); {
		line := lines.Text()
		var first, end uintptr
		if n, _ := fmt.Sscanf(line, "%x-%x ", &first, &end); n == 2 {
			inside = first <= at && at < end
		}
		if flags, ok := strings.CutPrefix(line, "VmFlags:"); ok && inside {
			if !slices.Contains(strings.Fields(flags), "hg") {
				t.Errorf("the flags of the memory are%s", flags)
			}
			runtime.KeepAlive(s)
			return
		}
	}
	t.Skip("smaps does not say")
}
