package machine

import (
	"io/fs"
	"math"
	"os"
	"path"
	"strconv"
	"strings"
)

func systemMemory() (Available, bool) { return memoryOf(os.DirFS("/")) }

// memoryOf reads the proc and cgroup file systems below root. Libraries such as memlimit read the limit of
// one group only; a limit may also be set on a group above, and what is already in use counts.
func memoryOf(root fs.FS) (Available, bool) {
	least := Available{Bytes: math.MaxInt64}
	take := func(bytes int64, source string) {
		if bytes = max(bytes, 0); bytes < least.Bytes {
			least = Available{bytes, source}
		}
	}
	if kb, ok := field(root, "proc/meminfo", "MemAvailable:"); ok {
		take(kb<<10, "the machine's available memory")
	}
	for _, g := range groups(root, "memory") {
		limit, usage, idle := "memory.max", "memory.current", "inactive_file"
		if g.v1 {
			limit, usage, idle = "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"
		}
		bytes, ok := number(root, path.Join(g.dir, limit))
		if !ok {
			continue // no limit: the file says "max", or is not there
		}
		used, _ := number(root, path.Join(g.dir, usage))
		cache, _ := field(root, path.Join(g.dir, "memory.stat"), idle)
		take(bytes-max(used-cache, 0), "the memory limit of the control group /"+g.dir)
	}
	return least, least.Bytes != math.MaxInt64
}

// number reads a file that holds one.
func number(root fs.FS, name string) (int64, bool) {
	text, err := fs.ReadFile(root, name)
	if err != nil {
		return 0, false
	}
	n, err := strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64)
	return n, err == nil
}

// field reads the number behind a key at the start of a line.
func field(root fs.FS, name, key string) (int64, bool) {
	text, err := fs.ReadFile(root, name)
	if err != nil {
		return 0, false
	}
	for line := range strings.Lines(string(text)) {
		words := strings.Fields(line)
		if len(words) >= 2 && words[0] == key {
			n, err := strconv.ParseInt(words[1], 10, 64)
			return n, err == nil
		}
	}
	return 0, false
}
