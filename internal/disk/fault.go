package disk

import (
	"io/fs"
	"os"
	"sync/atomic"
)

// Op is a kind of operation.
type Op string

// The operations that a fault can replace.
const (
	Open    Op = "open"
	Write   Op = "write"
	Cut     Op = "truncate"
	Sync    Op = "sync"
	Close   Op = "close"
	MakeDir Op = "mkdir"
	Move    Op = "rename" // its path is the new one
	Delete  Op = "remove"
	Lock    Op = "lock"
)

// Fault is called before an operation. If it returns nil the operation is done, else the error is returned in its
// place. A fault that takes its time makes the disk slow.
type Fault func(op Op, path string) error

// Short is the error of a Write that stops after N bytes.
type Short struct {
	N   int
	Err error
}

func (s *Short) Error() string { return s.Err.Error() }
func (s *Short) Unwrap() error { return s.Err }

var fault atomic.Pointer[Fault]

// Inject sets the fault of all operations of this process until the test ends, or until the next Inject; nil: none.
// Several goroutines may call the fault at once.
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

// Check calls the fault, if there is one, and adds the operation and the path to its error.
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
