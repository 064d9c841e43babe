package engine

import "golang.org/x/sys/unix"

// adviseHuge asks for huge pages. It is advice: without them all works as well, if slower.
func adviseHuge(b []byte) { _ = unix.Madvise(b, unix.MADV_HUGEPAGE) }
