package data

import (
	"context"
	"errors"
	"fmt"
	"time"

	"unstir/internal/dirlock"
)

// lockDir holds the download directory against other programs (and other
// goroutines) that would fill it, waiting for as long as one does. The returned
// function lets go; so does the end of the process. Two programs that fill it at
// once, where there are no locks, are caught by the checksums.
func lockDir(ctx context.Context, dir string, o *Options) (unlock func(), err error) {
	for waits := 0; ; waits++ {
		lock, err := dirlock.Take(dir)
		switch {
		case err == nil:
			return func() { lock.Unlock() }, nil
		case !errors.Is(err, dirlock.ErrLocked):
			return nil, fmt.Errorf("%w: %w%s", errNoCache, err, byHand)
		case waits == 0:
			o.logf("data: waiting for another download into %s", dir)
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(100 * time.Millisecond):
		}
	}
}
