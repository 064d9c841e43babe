package machine

import (
	"fmt"
	"os"
	"strconv"
	"strings"
)

// PeakRSS is the largest resident memory of this process so far, in bytes.
func PeakRSS() (int64, error) {
	data, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0, fmt.Errorf("machine: peak memory: %w", err)
	}
	for _, line := range strings.Split(string(data), "\n") {
		if rest, ok := strings.CutPrefix(line, "VmHWM:"); ok {
			kb, err := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(rest), " kB"), 10, 64)
			if err != nil {
				return 0, fmt.Errorf("machine: peak memory: %w", err)
			}
			return kb << 10, nil
		}
	}
	return 0, fmt.Errorf("machine: /proc/self/status has no VmHWM")
}
