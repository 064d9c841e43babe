package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"time"
)

// stopSignal is the cause of a context that a signal has ended.
type stopSignal struct{ os.Signal }

func (s stopSignal) Error() string { return s.String() }

func (s stopSignal) Unwrap() error { return context.Canceled }

// untilSignal is a context that the first signal ends, so that the program saves what it has and leaves. A second one,
// sent in impatience, ends the program at once.
func untilSignal(parent context.Context) context.Context {
	ctx, cancel := context.WithCancelCause(parent)
	signals := make(chan os.Signal, 16)
	signal.Notify(signals, stopSignals()...)
	go func() {
		first := <-signals
		at := time.Now()
		cancel(stopSignal{first})
		for s := range signals {
			if impatient(s, time.Since(at)) {
				exitBy(s)
			}
		}
	}()
	return ctx
}

// untilTold is how long a program that was told to stop may take before it says what it waits for.
var untilTold = 2 * time.Second

// tellWhileStopping says so once where the program is told to stop and what it is at, such as a step of a large image,
// cannot be cut short; until the function that it returns is called.
func tellWhileStopping(ctx context.Context, stderr io.Writer) (stop func()) {
	ended, told := make(chan struct{}), make(chan struct{})
	began := context.AfterFunc(ctx, func() {
		defer close(told)
		select {
		case <-ended:
		case <-time.After(untilTold):
			fmt.Fprintln(stderr, "still stopping: the step under way has to end first (Ctrl-C or kill again: end at once)")
		}
	})
	return func() {
		close(ended)
		if !began() {
			<-told
		}
	}
}

// sameSignal is how soon after the first a signal is the same one over again: timeout(1) and other programs that pass a
// signal on send it to a process and to its group, so that it may come twice.
const sameSignal = 100 * time.Millisecond

// impatient reports whether a signal that comes so long after the first ends the program at once.
func impatient(s os.Signal, after time.Duration) bool {
	return after >= sameSignal && !mayRepeat(s)
}
