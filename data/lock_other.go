//go:build !(darwin || dragonfly || freebsd || linux || netbsd || openbsd || windows)

package data

import "os"

// tryLock grants every lock: this system has none. Two programs that fill the
// cache at once are then caught by the checksums.
func tryLock(*os.File) (bool, error) { return true, nil }
