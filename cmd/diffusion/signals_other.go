//go:build !unix && !windows

package main

import "os"

// stopSignals are those that make the program save and leave.
func stopSignals() []os.Signal { return []os.Signal{os.Interrupt} }

// mayRepeat reports whether a signal may come several times without anyone being impatient.
func mayRepeat(os.Signal) bool { return false }

// exitBy ends the program at once.
func exitBy(os.Signal) { os.Exit(130) }

// readerLeft reports whether a write failed because nobody reads any more.
func readerLeft(*os.File, error) bool { return false }
