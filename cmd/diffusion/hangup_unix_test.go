//go:build unix

package main

import (
	"os"
	"os/signal"
	"syscall"
)

// hangUpByDefault makes the programs that tests start see hangups also where the tests themselves run under nohup: a
// signal that is ignored stays so in a child, and one that is caught does not.
func hangUpByDefault() { signal.Notify(make(chan os.Signal, 1), syscall.SIGHUP) }
