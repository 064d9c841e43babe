package disk

import (
	"io/fs"
	"os"
	"sync/atomic"
)

// Op is a kind of operation.
type Op string

// The operations that a fault can take the place of.
const (
	Open    Op = "open"
	Write   Op = "write"
	Sync    Op = "sync"
	Close   Op = "close"
	MakeDir Op = "mkdir"
	Move    Op = "rename" // its path is the new one
	Delete  Op = "remove"
	Lock    Op = "lock"
)

// Fault is asked before an operation is done. Nil lets it be done, an error takes its place; until the fault returns,
// the operation waits.
type Fault func(op Op, path string) error

// Short is the error of a Write that stops after N bytes.
type Short struct {
	N   int
	Err error
}

func (s *Short) Error() string { return s.Err.Error() }
func (s *Short) Unwrap() error { return s.Err }

var fault atomic.Pointer[Fault]

// Inject puts a fault in the way of all operations of this process until the test ends, or until the next Inject;
// nil: none. The fault may be asked by several goroutines at once.
func Inject(t interface{ Cleanup(func()) }, f Fault) {
	t.Cleanup(func() { fault.Store(nil) })
	if f == nil {
		fault.Store(nil)
		return
	}
	fault.Store(&f)
}

// MemoryDir is a temporary directory of a test, in memory where the system has that, for thousands of syncs.
func MemoryDir(t interface {
	TempDir() string
	Cleanup(func())
}) string {
	dir, err := os.MkdirTemp("/dev/shm", "unstir-test-")
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

// Check asks the fault, if there is one, and gives its error the operation's name and path.
func Check(op Op, path string) error {
	f := fault.Load()
	if f == nil {
		return nil
	}
	if err := (*f)(op, path); err != nil {
		return &fs.PathError{Op: string(op), Path: path, Err: err}
	}
	return nil
}
