package machine

import (
	"math"
	"os"
	"runtime"
)

// Threads is how many threads compute well at once: GOMAXPROCS, or less where a container's CPU quota is less. The
// runtime follows a quota, too, but never goes below two threads, for its garbage collector's sake; two that compute
// on a quota of one CPU would only wait for it in turn. A GOMAXPROCS that is set in the environment is taken as it is.
func Threads() int {
	n := runtime.GOMAXPROCS(0)
	if os.Getenv("GOMAXPROCS") != "" {
		return n
	}
	if quota, ok := cpuQuota(); ok {
		n = min(n, max(1, int(math.Ceil(quota))))
	}
	return n
}
