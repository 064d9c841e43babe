//go:build !linux

package machine

import "runtime"

// PeakRSS is the memory that the Go runtime has taken from the system, in bytes: where the system's own figure
// is not read, the nearest there is.
func PeakRSS() (int64, error) {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.Sys), nil
}
