package machine

import (
	"io/fs"
	"path"
	"slices"
	"strings"
)

// group is a control group that this process is in, or one above it.
type group struct {
	dir string // without a slash at its start
	v1  bool
}

// groups are those of a controller, from the process's own up to the mounted root. A container often sees its own
// group as that root, and a path below it that is not there.
func groups(root fs.FS, controller string) []group {
	text, err := fs.ReadFile(root, "proc/self/cgroup")
	if err != nil {
		return nil
	}
	var list []group
	for line := range strings.Lines(string(text)) {
		parts := strings.SplitN(strings.TrimSpace(line), ":", 3) // number, controllers, path
		if len(parts) != 3 {
			continue
		}
		var mounts []string
		v1 := true
		switch {
		case parts[0] == "0" && parts[1] == "":
			mounts, v1 = []string{"sys/fs/cgroup", "sys/fs/cgroup/unified"}, false // where v1 is there too, it is the second
		case slices.Contains(strings.Split(parts[1], ","), controller):
			mounts = []string{"sys/fs/cgroup/" + controller, "sys/fs/cgroup/" + parts[1]}
		}
		for _, mount := range slices.Compact(mounts) {
			for sub := path.Clean("/" + parts[2]); ; sub = path.Dir(sub) {
				list = append(list, group{path.Join(mount, sub), v1})
				if sub == "/" {
					break
				}
			}
		}
	}
	return list
}
