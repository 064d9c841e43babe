//go:build unix

package main

import (
	"errors"
	"os"
	"os/signal"
	"syscall"
	"time"
)

// stopSignals are those that make the program save and leave: Ctrl-C, also in a background job, which a script's shell
// starts with it ignored; kill; a closed terminal, unless nohup has it ignored; and the CPU time's soft limit.
func stopSignals() []os.Signal {
	// With these ignored, a write to a closed pipe or beyond the largest size of a file is an error like any other.
	signal.Ignore(syscall.SIGPIPE, syscall.SIGXFSZ)
	list := []os.Signal{syscall.SIGINT, syscall.SIGTERM, syscall.SIGXCPU}
	if !signal.Ignored(syscall.SIGHUP) {
		list = append(list, syscall.SIGHUP)
	}
	return list
}

// mayRepeat reports whether a signal may come several times without anyone being impatient: a shell forwards the hangup
// of its terminal to jobs that get one themselves, and beyond the CPU time's soft limit there is a signal each second.
func mayRepeat(s os.Signal) bool { return s == syscall.SIGHUP || s == syscall.SIGXCPU }

// exitBy ends the program as an uncaught signal does, so that the parent process sees which one it was.
func exitBy(s os.Signal) {
	signal.Reset(s)
	number, _ := s.(syscall.Signal)
	if syscall.Kill(os.Getpid(), number) == nil {
		time.Sleep(100 * time.Millisecond)
	}
	os.Exit(128 + int(number)) // it was ignored when the program began, and is again
}

// readerLeft reports whether a write failed because nobody reads any more: a closed pipe, or a terminal that is gone,
// whose error is the same as a failing disk's.
func readerLeft(f *os.File, err error) bool {
	info, _ := f.Stat()
	return errors.Is(err, syscall.EPIPE) || errors.Is(err, syscall.EIO) && info != nil && info.Mode()&os.ModeCharDevice != 0
}
