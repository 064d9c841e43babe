package machine

import (
	"io/fs"
	"os"
	"path"
	"strconv"
	"strings"
)

func cpuQuota() (float64, bool) { return quotaOf(os.DirFS("/")) }

// quotaOf is the smallest CPU quota of the process's control groups, in CPUs; false where there is none.
func quotaOf(root fs.FS) (cpus float64, ok bool) {
	for _, g := range groups(root, "cpu") {
		var quota, period int64
		if g.v1 {
			quota, _ = number(root, path.Join(g.dir, "cpu.cfs_quota_us")) // -1: none
			period, _ = number(root, path.Join(g.dir, "cpu.cfs_period_us"))
		} else if text, err := fs.ReadFile(root, path.Join(g.dir, "cpu.max")); err == nil { // "max 100000" or "50000 100000"
			if words := strings.Fields(string(text)); len(words) == 2 {
				quota, _ = strconv.ParseInt(words[0], 10, 64)
				period, _ = strconv.ParseInt(words[1], 10, 64)
			}
		}
		if quota <= 0 || period <= 0 {
			continue
		}
		if c := float64(quota) / float64(period); !ok || c < cpus {
			cpus, ok = c, true
		}
	}
	return cpus, ok
}
