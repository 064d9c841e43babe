//go:build !(darwin || linux || windows)

package disk

import "errors"

// Free is the number of bytes that can still be written below a directory. It is not known on this system.
func Free(string) (int64, error) { return 0, errors.ErrUnsupported }
