// Package machine says what a benchmark ran on and how much memory it took.
package machine

import (
	"os"
	"runtime"
	"strings"
)

// CPU is the processor's name as the system gives it, or the architecture where it does not.
func CPU() string {
	data, err := os.ReadFile("/proc/cpuinfo")
	if err != nil {
		return runtime.GOARCH
	}
	found := map[string]string{}
	for _, line := range strings.Split(string(data), "\n") {
		key, value, ok := strings.Cut(line, ":")
		if key = strings.TrimSpace(key); ok && found[key] == "" {
			found[key] = strings.TrimSpace(value)
		}
	}
	if found["model name"] == "" {
		return runtime.GOARCH
	}
	return found["model name"] + " (family " + found["cpu family"] + ", model " + found["model"] + ")"
}
