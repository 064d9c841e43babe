package data

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"
)

// lockDir holds the download directory against other programs (and other
// goroutines) that would fill it, waiting for as long as one does. The returned
// function lets go; so does the end of the process.
func lockDir(ctx context.Context, dir string, o *Options) (unlock func(), err error) {
	f, err := os.OpenFile(filepath.Join(dir, ".lock"), os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return nil, fmt.Errorf("%w: locking the cache: %w%s", errNoCache, err, byHand)
	}
	for waits := 0; ; waits++ {
		ok, err := tryLock(f)
		if err != nil {
			f.Close()
			return nil, fmt.Errorf("%w: locking %s: %w%s", errNoCache, f.Name(), err, byHand)
		}
		if ok {
			return func() { f.Close() }, nil
		}
		if waits == 0 {
			o.logf("data: waiting for another download into %s", dir)
		}
		select {
		case <-ctx.Done():
			f.Close()
			return nil, ctx.Err()
		case <-time.After(100 * time.Millisecond):
		}
	}
}
