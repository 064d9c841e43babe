//go:build !linux

package machine

func cpuQuota() (float64, bool) { return 0, false }
