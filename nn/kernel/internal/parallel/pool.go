package parallel

import (
	"math"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"unstir/internal/machine"
)

// The worker pool. A parallel section publishes a function and a number of chunks;
// the caller and whichever workers are awake claim chunks until none is left. Each
// has its share of the chunks, in nearly all sections the same images, so that what a
// section leaves in a core's cache is where the next one wants it; who has done its
// share takes half of what another has left.
// Workers spin for a while after a section, because a training step is thousands
// of short sections in a row and waking a parked goroutine costs more than many of
// them; after that they park, so that an idle process costs nothing. They offer their
// cores to other threads while they spin (on Linux): a worker that is stopped then keeps
// nobody waiting, one that is stopped in a chunk stops the section.

const (
	workerSpin  = 500 * time.Microsecond // a worker polls this long before it parks
	callerSpin  = 500 * time.Microsecond // the caller polls this long for the last chunks, then sleeps
	callerSleep = 50 * time.Microsecond  // ... for this long at a time
	yieldPolls  = 8192                   // polls, some ten microseconds, after which either offers its core to other threads
	maxThreads  = 1 << 12
)

// Fields of pool.state: generation (32 bits) | highest worker id allowed (15) |
// open (1) | workers inside (16). One word, so that a worker joins a section
// exactly when that section is still open, and can never touch a later one's fields.
const (
	stateInside = 1<<16 - 1
	stateOpen   = 1 << 16
	limitShift  = 17
	limitMask   = 1<<15 - 1
	genShift    = 32
)

type pool struct {
	mu      sync.Mutex // held by the caller of the running section
	threads atomic.Int32
	workers []*worker // ids 1, 2, ...; guarded by mu

	state atomic.Uint64
	_     [56]byte
	next  atomic.Int64 // the next chunk
	_     [56]byte

	// The running section; written by the caller while the section is closed and
	// no worker is inside.
	n          int
	chunk      func(i int)
	chunkBy    func(worker, i int)
	rangeBy    func(worker, first, end int)
	inOrder    bool        // chunks are claimed in order, by whoever is free
	claimers   int         // goroutines that may claim, the caller included
	shares     []share     // of the chunks, where they are not claimed in order
	stop       atomic.Bool // a chunk has panicked
	panicOnce  sync.Mutex
	panicked   bool
	panicValue any
}

type worker struct {
	id   int
	stop atomic.Bool
	idle atomic.Bool
	wake chan struct{}
}

var thePool = newPool(machine.Threads())

func newPool(threads int) *pool {
	p := new(pool)
	p.setThreads(threads)
	return p
}

// Threads is the number of goroutines, the caller's included, that a parallel
// section uses at most.
func Threads() int { return int(thePool.threads.Load()) }

// SetThreads sets Threads; n below 1 means 1. It starts at GOMAXPROCS, or at a
// container's CPU quota where that is less. The results of no kernel depend on it.
// It waits for a running section to end, so it must not be called from inside one.
func SetThreads(n int) { thePool.setThreads(n) }

// For calls f(0) ... f(n-1), each once, on the caller's goroutine and the
// workers', and returns when all have returned. A call from inside a chunk, or one
// made while another goroutine's section is running, runs its chunks one after the
// other on the calling goroutine. A panic in f stops the handing out of further
// chunks and is raised again in the caller. For allocates nothing itself;
// hand in a stored func value, since a fresh closure is an allocation.
func For(n int, f func(i int)) {
	if p := thePool; n > 1 && p.threads.Load() > 1 && p.mu.TryLock() {
		p.chunk, p.inOrder = f, false
		p.run(n, int(p.threads.Load()))
		return
	}
	for i := 0; i < n; i++ {
		f(i)
	}
}

// ForWorkers is For for chunks that need memory of their own: f also gets the
// number of the goroutine it runs on, below min(maxWorkers, Threads()); two chunks
// that run at the same time have different numbers.
func ForWorkers(n, maxWorkers int, f func(worker, i int)) { forNumbered(n, maxWorkers, false, f) }

// InOrder is ForWorkers for a few chunks of different sizes, the largest first: each is claimed by whoever is free.
func InOrder(n, maxWorkers int, f func(worker, i int)) {
	forNumbered(n, maxWorkers, true, f)
}

func forNumbered(n, maxWorkers int, inOrder bool, f func(worker, i int)) {
	if p := thePool; n > 1 && maxWorkers > 1 && p.threads.Load() > 1 && p.mu.TryLock() {
		p.chunkBy, p.inOrder = f, inOrder
		p.run(n, min(maxWorkers, int(p.threads.Load())))
		return
	}
	for i := 0; i < n; i++ {
		f(0, i)
	}
}

// Ranges is ForWorkers for chunks that are better done in rows: f gets chunks first to end. The rows become shorter
// towards the end of a goroutine's share, down to one chunk.
func Ranges(n, maxWorkers int, f func(worker, first, end int)) {
	if p := thePool; n > 1 && maxWorkers > 1 && p.threads.Load() > 1 && p.mu.TryLock() {
		p.rangeBy, p.inOrder = f, false
		p.run(n, min(maxWorkers, int(p.threads.Load())))
		return
	}
	if n > 0 {
		f(0, 0, n)
	}
}

func (p *pool) setThreads(n int) {
	n = min(max(n, 1), maxThreads)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.threads.Store(int32(n))
	if len(p.shares) < n {
		p.shares = make([]share, n)
	}
	for len(p.workers) > n-1 {
		last := len(p.workers) - 1
		w := p.workers[last]
		w.stop.Store(true)
		w.rouse()
		p.workers = p.workers[:last]
	}
	for len(p.workers) < n-1 {
		w := &worker{id: len(p.workers) + 1, wake: make(chan struct{}, 1)}
		p.workers = append(p.workers, w)
		go p.work(w)
	}
}

// run is one section, of p.chunk, chunkBy or rangeBy; the caller holds p.mu, run releases it.
func (p *pool) run(n, threads int) {
	p.n, p.claimers = n, min(threads, n)
	p.next.Store(0)
	p.stop.Store(false)
	if !p.inOrder {
		for i := range p.claimers {
			p.shares[i].set(n*i/p.claimers, n*(i+1)/p.claimers)
		}
	}
	gen := p.state.Load()>>genShift + 1
	limit := min(threads, n) - 1
	p.state.Store(gen<<genShift | uint64(limit)<<limitShift | stateOpen)
	for _, w := range p.workers[:min(limit, len(p.workers))] {
		w.rouse()
	}
	defer p.finish()
	p.claim(0)
}

// finish closes the section, waits for the workers inside and raises a worker's panic.
// It also runs when a chunk panics on the caller's goroutine.
func (p *pool) finish() {
	for {
		s := p.state.Load()
		if p.state.CompareAndSwap(s, s&^stateOpen) {
			break
		}
	}
	p.await()
	panicked, value := p.panicked, p.panicValue
	p.chunk, p.chunkBy, p.rangeBy, p.panicked, p.panicValue = nil, nil, nil, false, nil
	p.mu.Unlock()
	if panicked {
		panic(value)
	}
}

// await waits until no worker is inside the section. It polls, then
// sleeps: a worker that the operating system has taken off its core must not cost
// the caller's core as well.
func (p *pool) await() {
	if p.state.Load()&stateInside == 0 {
		return
	}
	start := time.Now()
	for polls := 1; p.state.Load()&stateInside != 0; polls++ {
		if polls%256 != 0 {
			continue
		}
		if polls%yieldPolls == 0 {
			osYield()
		}
		if time.Since(start) > callerSpin {
			time.Sleep(callerSleep) // unlike a channel, it allocates nothing
		}
	}
}

// claim runs chunks until none is left, or one has panicked.
func (p *pool) claim(worker int) {
	done := false
	defer func() {
		if !done {
			p.stop.Store(true)
		}
	}()
	for !p.stop.Load() {
		first, end := p.take(worker)
		if first >= end {
			break
		}
		switch {
		case p.chunk != nil:
			p.chunk(first)
		case p.chunkBy != nil:
			p.chunkBy(worker, first)
		default:
			p.rangeBy(worker, first, end)
		}
	}
	done = true
}

// take takes the next chunk, or row of chunks, for a goroutine.
func (p *pool) take(worker int) (first, end int) {
	if p.inOrder {
		if end = int(p.next.Add(1)); end > p.n {
			return 0, 0
		}
		return end - 1, end
	}
	mine := &p.shares[worker]
	for {
		if first, end = mine.front(p.rangeBy != nil); first < end {
			return first, end
		}
		for i := 1; i < p.claimers && first >= end; i++ {
			first, end = p.shares[(worker+i)%p.claimers].back()
		}
		if first >= end {
			return first, end
		}
		mine.set(first, end)
	}
}

// share is what is left of a goroutine's share of the chunks: the first one (32 bits) | the end (32). It takes them from
// the front; when it has none left, it takes some from the back of another's.
type share struct {
	left atomic.Uint64
	_    [56]byte
}

// set is only called by the owner, when nothing is left. No chunk comes twice, so no other goroutine takes the new row for
// one that it has seen before.
func (s *share) set(first, end int) { s.left.Store(uint64(first)<<32 | uint64(end)) }

// front takes a chunk, or with rows a third of the chunks, if there are any.
func (s *share) front(rows bool) (first, end int) {
	for {
		left := s.left.Load()
		first, end = int(left>>32), int(left&math.MaxUint32)
		if first >= end {
			return 0, 0
		}
		n := 1
		if rows {
			n = (end - first + 2) / 3
		}
		if s.left.CompareAndSwap(left, left+uint64(n)<<32) {
			return first, first + n
		}
	}
}

// back takes half of the chunks, if there are any.
func (s *share) back() (first, end int) {
	for {
		left := s.left.Load()
		first, end = int(left>>32), int(left&math.MaxUint32)
		if first >= end {
			return 0, 0
		}
		n := (end - first + 1) / 2
		if s.left.CompareAndSwap(left, left-uint64(n)) {
			return end - n, end
		}
	}
}

// join is a worker's part in a section. It ends however a chunk ends.
func (p *pool) join(w *worker) {
	defer p.state.Add(^uint64(0)) // leave
	defer p.catch()
	p.claim(w.id)
}

// catch keeps the workers' first panic of a section for its caller.
func (p *pool) catch() {
	if v := recover(); v != nil {
		p.panicOnce.Lock()
		if !p.panicked {
			p.panicked, p.panicValue = true, v
		}
		p.panicOnce.Unlock()
	}
}

// work is a worker's life: join each section once while it is open.
func (p *pool) work(w *worker) {
	var joined uint64 // the generation joined last
	for {
		s, ok := p.awaitSection(w, joined)
		if !ok {
			return
		}
		if !p.state.CompareAndSwap(s, s+1) {
			continue
		}
		joined = s >> genShift
		p.join(w)
	}
}

// awaitSection returns the state word of an open section that w may join; it spins,
// then parks. It returns false when w has been told to stop. The state is read
// before the stop flag: a section that was opened after w was stopped is then
// never joined.
func (p *pool) awaitSection(w *worker, joined uint64) (uint64, bool) {
	var start time.Time
	for polls := 1; ; polls++ {
		s := p.state.Load()
		if w.stop.Load() {
			return 0, false
		}
		if p.mayJoin(w, s, joined) {
			return s, true
		}
		if polls%256 != 0 {
			continue
		}
		if start.IsZero() {
			start = time.Now()
		} else if time.Since(start) > workerSpin {
			p.park(w, joined)
			start = time.Time{}
		} else if polls%yieldPolls == 0 {
			runtime.Gosched() // let the process's other goroutines run meanwhile
			osYield()
		}
	}
}

func (p *pool) mayJoin(w *worker, s, joined uint64) bool {
	return s&stateOpen != 0 && s>>genShift != joined && uint64(w.id) <= s>>limitShift&limitMask
}

// park sleeps until rouse. The flag is set before the last look at the state, and a
// caller opens its section before it looks at the flag, so no section is missed.
func (p *pool) park(w *worker, joined uint64) {
	w.idle.Store(true)
	if (p.mayJoin(w, p.state.Load(), joined) || w.stop.Load()) && w.idle.CompareAndSwap(true, false) {
		return
	}
	<-w.wake
}

func (w *worker) rouse() {
	if w.idle.Load() && w.idle.CompareAndSwap(true, false) {
		w.wake <- struct{}{}
	}
}
