package alloctest

import (
	"runtime"
	"sync"
)

// Count is the number of allocations of the whole process in so many calls of f, the least of several trials: the
// runtime allocates now and then too, for instance a record of a goroutine that waits, and not in every trial.
func Count(calls int, f func()) uint64 {
	least := ^uint64(0)
	for trial := 0; trial < 5 && least > 0; trial++ {
		stockWaits()
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		for range calls {
			f()
		}
		runtime.ReadMemStats(&after)
		least = min(least, after.Mallocs-before.Mallocs)
	}
	return least
}

// stockWaits leaves the runtime a stock of the records that it links a goroutine waiting on a channel with. A worker that
// parks takes one and gives it back to the processor it wakes on; where the processor it parks on has none, the runtime
// allocates one, for which the caller of Parallel is not to blame. A garbage collection drops a part of the stock.
func stockWaits() {
	const goroutines = 1000
	var waiting sync.WaitGroup
	release := make(chan struct{})
	waiting.Add(goroutines)
	for range goroutines {
		go func() {
			<-release
			waiting.Done()
		}()
	}
	for i := 0; i < 100; i++ { // until all wait, more or less
		runtime.Gosched()
	}
	close(release)
	waiting.Wait()
}
