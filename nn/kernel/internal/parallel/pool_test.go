package parallel

import (
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"unstir/internal/alloctest"
	"unstir/internal/leaktest"
)

// withThreads runs f with each of the given numbers of threads and restores the old one.
func withThreads(t testing.TB, counts []int, f func(threads int)) {
	t.Helper()
	old := Threads()
	defer SetThreads(old)
	for _, n := range counts {
		SetThreads(n)
		f(n)
	}
}

func TestParallelCallsEachChunkOnce(t *testing.T) {
	withThreads(t, []int{1, 2, 3, 8, 2}, func(threads int) {
		for _, n := range []int{0, 1, 2, 3, 17, 1000} {
			for round := 0; round < 20; round++ {
				calls := make([]atomic.Int32, n)
				For(n, func(i int) { calls[i].Add(1) })
				for i := range calls {
					if got := calls[i].Load(); got != 1 {
						t.Fatalf("%d threads, %d chunks: chunk %d ran %d times", threads, n, i, got)
					}
				}
			}
		}
	})
}

func TestParallelByGivesConcurrentChunksDifferentNumbers(t *testing.T) {
	withThreads(t, []int{1, 2, 4}, func(threads int) {
		for _, most := range []int{1, 2, 3, 9} {
			busy := make([]atomic.Bool, min(most, threads))
			for round := 0; round < 50; round++ {
				ForWorkers(40, most, func(worker, i int) {
					if !busy[worker].CompareAndSwap(false, true) {
						panic("two chunks share a worker's number")
					}
					runtime.Gosched()
					busy[worker].Store(false)
				})
			}
		}
	})
}

func TestParallelRangesCoverEachChunkOnce(t *testing.T) {
	withThreads(t, []int{1, 2, 3, 8}, func(threads int) {
		for _, n := range []int{0, 1, 2, 3, 17, 1000} {
			for _, most := range []int{1, 2, 9} {
				calls := make([]atomic.Int32, n)
				busy := make([]atomic.Bool, min(most, threads))
				var ranges atomic.Int32
				Ranges(n, most, func(worker, first, end int) {
					if !busy[worker].CompareAndSwap(false, true) {
						panic("two ranges share a worker's number")
					}
					ranges.Add(1)
					for i := first; i < end; i++ {
						calls[i].Add(1)
					}
					runtime.Gosched()
					busy[worker].Store(false)
				})
				for i := range calls {
					if got := calls[i].Load(); got != 1 {
						t.Fatalf("%d threads, at most %d, %d chunks: chunk %d ran %d times", threads, most, n, i, got)
					}
				}
				if many := ranges.Load(); n == 1000 && len(busy) == 1 && many != 1 || n == 1000 && len(busy) == 2 && (many < 10 || many > 200) {
					t.Errorf("%d threads, at most %d: %d chunks in %d ranges", threads, most, n, many)
				}
			}
		}
	})
}

func TestParallelNested(t *testing.T) {
	withThreads(t, []int{1, 3}, func(int) {
		var sum atomic.Int64
		For(10, func(i int) {
			For(10, func(j int) { sum.Add(int64(10*i + j)) })
		})
		if got := sum.Load(); got != 4950 {
			t.Errorf("nested sections summed to %d, want 4950", got)
		}
	})
}

func TestParallelConcurrentCallers(t *testing.T) {
	withThreads(t, []int{1, 2, 4}, func(int) {
		var wg sync.WaitGroup
		var sum atomic.Int64
		for g := 0; g < 6; g++ {
			wg.Add(1)
			go func() {
				defer wg.Done()
				for round := 0; round < 200; round++ {
					For(7, func(i int) { sum.Add(int64(i)) })
				}
			}()
		}
		wg.Wait()
		if got := sum.Load(); got != 6*200*21 {
			t.Errorf("sum is %d, want %d", got, 6*200*21)
		}
	})
}

func TestParallelRaisesAPanicInTheCaller(t *testing.T) {
	sections := map[string]func(n int, f func(i int)){
		"For":     For,
		"InOrder": func(n int, f func(i int)) { InOrder(n, 8, func(_, i int) { f(i) }) },
		"Ranges": func(n int, f func(i int)) {
			Ranges(n, 8, func(_, first, end int) {
				for i := first; i < end; i++ {
					f(i)
				}
			})
		},
	}
	for name, section := range sections {
		withThreads(t, []int{1, 2, 4}, func(threads int) {
			for chunk := 0; chunk < 8; chunk++ {
				func() {
					defer func() {
						if v := recover(); v != chunk {
							t.Errorf("%s, %d threads: recovered %v, want the panic of chunk %d", name, threads, v, chunk)
						}
					}()
					section(8, func(i int) {
						time.Sleep(50 * time.Microsecond)
						if i == chunk {
							panic(i)
						}
					})
					t.Errorf("%s, %d threads: it returned although chunk %d panicked", name, threads, chunk)
				}()
				var n atomic.Int32
				section(5, func(int) { n.Add(1) })
				if n.Load() != 5 {
					t.Fatalf("%s, %d threads: after a panic only %d of 5 chunks ran", name, threads, n.Load())
				}
			}
		})
	}
}

func TestWorkersWakeAfterParking(t *testing.T) {
	withThreads(t, []int{2}, func(int) {
		for round := 0; round < 5; round++ {
			time.Sleep(5 * workerSpin)
			var workers [2]atomic.Int32
			ForWorkers(2, 2, func(worker, i int) { // needs both goroutines, or waits out the deadline
				workers[worker].Add(1)
				for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline) && workers[0].Load()+workers[1].Load() < 2; {
					runtime.Gosched()
				}
			})
			if workers[0].Load() != 1 || workers[1].Load() != 1 {
				t.Fatal("the parked worker did not take part")
			}
		}
	})
}

func TestSetThreadsEndsWorkers(t *testing.T) {
	withThreads(t, []int{1}, func(int) {
		before := runtime.NumGoroutine()
		SetThreads(9)
		SetThreads(1)
		leaktest.Goroutines(t, before)
	})
}

func TestParallelDoesNotAllocate(t *testing.T) {
	withThreads(t, []int{1, 2}, func(threads int) {
		f := func(int) {}
		g := func(_, _, _ int) {}
		if n := alloctest.Count(20, func() { For(100, f); Ranges(100, 2, g) }); n > 0 {
			t.Errorf("%d threads: %d allocations in 20 sections", threads, n)
		}
	})
}

func BenchmarkParallelEmpty(b *testing.B) {
	f := func(int) {}
	for i := 0; i < b.N; i++ {
		For(2, f)
	}
}

// Many short sections of uneven chunks on more threads than cores: workers leave late, callers fall asleep, and no
// section may end before its last chunk has.
func TestPoolWaitsForEveryChunk(t *testing.T) {
	old := Threads()
	defer SetThreads(old)
	SetThreads(8)
	var done [64]atomic.Int32
	work := func(i int) {
		for until := time.Now().Add(time.Duration(i%7) * 30 * time.Microsecond); time.Now().Before(until); {
			runtime.Gosched()
		}
		done[i].Add(1)
	}
	for section := int32(1); section <= 300; section++ {
		For(len(done), work)
		for i := range done {
			if n := done[i].Load(); n != section {
				t.Fatalf("section %d ended with chunk %d run %d times", section, i, n)
			}
		}
	}
}
