package main

import (
	"errors"
	"os"
	"syscall"

	"golang.org/x/sys/windows"
)

// stopSignals are those that make the program save and leave: Ctrl-C and Ctrl-Break; and a closed console, a log-off
// and a shutdown, which leave some seconds for it.
func stopSignals() []os.Signal { return []os.Signal{os.Interrupt, syscall.SIGTERM} }

// mayRepeat reports whether a signal may come several times without anyone being impatient: that of a closed console.
func mayRepeat(s os.Signal) bool { return s == syscall.SIGTERM }

// exitBy ends the program at once.
func exitBy(os.Signal) { os.Exit(128 + int(syscall.SIGINT)) }

// readerLeft reports whether a write failed because nobody reads any more.
func readerLeft(_ *os.File, err error) bool {
	return errors.Is(err, windows.ERROR_BROKEN_PIPE) || errors.Is(err, windows.ERROR_NO_DATA) || errors.Is(err, windows.ERROR_PIPE_NOT_CONNECTED)
}
