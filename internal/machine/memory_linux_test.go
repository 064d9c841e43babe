package machine

import (
	"runtime"
	"strings"
	"testing"
	"testing/fstest"
)

// tree is a file system with the given files.
func tree(files map[string]string) fstest.MapFS {
	m := fstest.MapFS{}
	for name, text := range files {
		m[name] = &fstest.MapFile{Data: []byte(text)}
	}
	return m
}

const meminfo = "MemTotal:       24571524 kB\nMemFree:          100000 kB\nMemAvailable:    8000000 kB\n"

// The smallest bound counts: of the machine, of the process's control group or of one above it, in both versions and
// inside a container that sees its group as the root; what the page cache would give up is not in use.
func TestMemoryOfContainers(t *testing.T) {
	v1 := "9:name=systemd:/\n4:cpu,memory:/docker/abc\n0::/\n"
	const unlimited = "9223372036854771712\n"
	for _, c := range []struct {
		name   string
		files  map[string]string
		want   int64
		source string
	}{
		{"no container", map[string]string{"proc/meminfo": meminfo}, 8000000 << 10, "the machine"},
		{"nothing is said", nil, -1, ""},
		{"v2, no limit", map[string]string{"proc/meminfo": meminfo, "proc/self/cgroup": "0::/a\n", "sys/fs/cgroup/a/memory.max": "max\n",
			"sys/fs/cgroup/a/memory.current": "5000\n"}, 8000000 << 10, "the machine"},
		{"v2, own limit", map[string]string{"proc/meminfo": meminfo, "proc/self/cgroup": "0::/a/b\n", "sys/fs/cgroup/a/b/memory.max": "1000000\n",
			"sys/fs/cgroup/a/b/memory.current": "300000\n", "sys/fs/cgroup/a/b/memory.stat": "anon 1\ninactive_file 100000\n"}, 800000, "/sys/fs/cgroup/a/b"},
		{"v2, a limit above", map[string]string{"proc/meminfo": meminfo, "proc/self/cgroup": "0::/a/b\n", "sys/fs/cgroup/a/b/memory.max": "max\n",
			"sys/fs/cgroup/a/memory.max": "1000000\n", "sys/fs/cgroup/a/memory.current": "400000\n"}, 600000, "/sys/fs/cgroup/a"},
		{"v2, own root", map[string]string{"proc/meminfo": meminfo, "proc/self/cgroup": "0::/../../x\n", "sys/fs/cgroup/memory.max": "700000\n",
			"sys/fs/cgroup/memory.current": "100000\n"}, 600000, "/sys/fs/cgroup"},
		{"v1, the group is the root", map[string]string{"proc/meminfo": meminfo, "proc/self/cgroup": v1,
			"sys/fs/cgroup/memory/memory.limit_in_bytes": "900000\n", "sys/fs/cgroup/memory/memory.usage_in_bytes": "500000\n",
			"sys/fs/cgroup/memory/memory.stat": "inactive_file 7\ntotal_inactive_file 100000\n"}, 500000, "/sys/fs/cgroup/memory"},
		{"v1, no limit", map[string]string{"proc/meminfo": meminfo, "proc/self/cgroup": v1,
			"sys/fs/cgroup/memory/docker/abc/memory.limit_in_bytes": unlimited}, 8000000 << 10, "the machine"},
		{"all is in use", map[string]string{"proc/meminfo": meminfo, "proc/self/cgroup": "0::/a\n", "sys/fs/cgroup/a/memory.max": "1000\n",
			"sys/fs/cgroup/a/memory.current": "2000\n"}, 0, "/sys/fs/cgroup/a"},
		{"garbage", map[string]string{"proc/meminfo": "MemAvailable:\n", "proc/self/cgroup": "::::\nx\n", "sys/fs/cgroup/memory.max": "many"}, -1, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, ok := memoryOf(tree(c.files))
			if ok != (c.want >= 0) || ok && (got.Bytes != c.want || !strings.Contains(got.Source, c.source)) {
				t.Errorf("%+v, %v; want %d of %q", got, ok, c.want, c.source)
			}
		})
	}
}

// UNSTIR_MEMORY takes the place of what is detected.
func TestMemoryOverride(t *testing.T) {
	t.Setenv(MemoryVariable, "12345")
	if got, ok, err := Memory(); err != nil || !ok || got.Bytes != 12345 || got.Source != MemoryVariable {
		t.Errorf("%+v, %v, %v", got, ok, err)
	}
	for _, bad := range []string{"2GB", "0", "-1", "1.5", "99999999999999999999"} {
		t.Setenv(MemoryVariable, bad)
		if _, _, err := Memory(); err == nil || !strings.Contains(err.Error(), bad) {
			t.Errorf("%s: error %v", bad, err)
		}
	}
	t.Setenv(MemoryVariable, "")
	if got, ok, err := Memory(); err != nil || !ok || got.Bytes < 1<<20 {
		t.Errorf("this machine: %+v, %v, %v", got, ok, err)
	}
}

// The smallest quota counts, in both versions; without any there is none.
func TestQuotaOfContainers(t *testing.T) {
	for _, c := range []struct {
		name  string
		files map[string]string
		want  float64 // 0: none
	}{
		{"no groups", nil, 0},
		{"v2, none", map[string]string{"proc/self/cgroup": "0::/a\n", "sys/fs/cgroup/a/cpu.max": "max 100000\n"}, 0},
		{"v2", map[string]string{"proc/self/cgroup": "0::/a\n", "sys/fs/cgroup/a/cpu.max": "150000 100000\n"}, 1.5},
		{"v2, less above", map[string]string{"proc/self/cgroup": "0::/a/b\n", "sys/fs/cgroup/a/b/cpu.max": "400000 100000\n",
			"sys/fs/cgroup/a/cpu.max": "50000 100000\n"}, 0.5},
		{"v1, none", map[string]string{"proc/self/cgroup": "2:cpu:/\n", "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "-1\n",
			"sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000\n"}, 0},
		{"v1, mounted with another controller", map[string]string{"proc/self/cgroup": "2:cpu,cpuacct:/d\n",
			"sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us": "200000\n", "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us": "100000\n"}, 2},
		{"garbage", map[string]string{"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/cpu.max": "a b\n"}, 0},
	} {
		if got, ok := quotaOf(tree(c.files)); ok != (c.want > 0) || got != c.want {
			t.Errorf("%s: %v, %v; want %v", c.name, got, ok, c.want)
		}
	}
}

// A number of threads that the user sets is not second-guessed.
func TestThreadsFollowGOMAXPROCS(t *testing.T) {
	t.Setenv("GOMAXPROCS", "5")
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(5))
	if n := Threads(); n != 5 {
		t.Errorf("%d threads, want 5", n)
	}
}
