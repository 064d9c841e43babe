// Package ctxio stops reading when a context is done.
package ctxio

import (
	"context"
	"io"
)

// Reader reads from r until ctx is done, then returns its error.
func Reader(ctx context.Context, r io.Reader) io.Reader { return reader{ctx, r} }

type reader struct {
	ctx context.Context
	r   io.Reader
}

func (r reader) Read(p []byte) (int, error) {
	if err := r.ctx.Err(); err != nil {
		return 0, err
	}
	return r.r.Read(p)
}
