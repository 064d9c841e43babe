package b

import (
	"io"

	"example/a"
)

var _ io.Closer = a.Used()

func init() { a.Used().Used() }
