//go:build !unix && !windows

package main

import "os"

// stopSignals are those that make the program save and leave.
func stopSignals() []os.Signal { return []os.Signal{os.Interrupt} }

// comesAgain tells whether a signal is sent several times without anyone being impatient.
func comesAgain(os.Signal) bool { return false }

// leaveBy ends the program at once.
func leaveBy(os.Signal) { os.Exit(130) }

// readerLeft tells whether a write failed because nobody reads any more.
func readerLeft(*os.File, error) bool { return false }
