package data

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"unstir/internal/rng"
)

// Batch is what one training step sees.
type Batch struct {
	Step   int       // the step it is for, counted from 0
	X      []float32 // [B,C,H,W] in [-1, 1]
	Labels []int     // [B]; -1: none
	Index  []int     // [B]; which image of the dataset each is

	owner *Loader // nil while the loader has it
}

// Loader hands out the batches of a run in order and prepares the next one
// while the caller works on the current one.
//
// Position p = step*B + i of the run is image perm[p mod N] of epoch p / N,
// where N is the size of the dataset and perm the epoch's permutation, a pure
// function of seed and epoch; the flip is one of seed, step and i. So every image
// comes once per epoch, a batch may reach over an epoch's end (or several), and
// a run goes on from any step without state.
type Loader struct {
	ds    Dataset
	info  Info
	batch int
	seed  uint64
	flip  bool
	step  int

	perm    []int32
	epoch   uint64 // of perm
	image   []byte
	toFloat [256]float32

	ready chan *Batch
	free  chan *Batch
	stop  chan struct{}
	done  chan struct{} // closed when the goroutine has ended, err is set then
	once  sync.Once
	err   error
}

// ErrClosed is what Next returns after Close.
var ErrClosed = errors.New("data: the loader is closed")

// NewLoader begins at the batch of step firstStep, counted from 0. batch is the
// number of images per step, at least 1. Where something is wrong with the
// arguments, Next says so. The loader holds a goroutine until Close.
func NewLoader(ds Dataset, batch int, seed uint64, flip bool, firstStep int) *Loader {
	l := &Loader{
		ds: ds, batch: batch, seed: seed, flip: flip, step: firstStep,
		ready: make(chan *Batch),
		free:  make(chan *Batch, 4),
		stop:  make(chan struct{}),
		done:  make(chan struct{}),
	}
	for i := range l.toFloat {
		l.toFloat[i] = Value(byte(i))
	}
	go l.run()
	return l
}

// Value is a byte of an image in [-1, 1], as a Batch has it.
func Value(b byte) float32 { return float32(float64(b)/127.5 - 1) }

// Next returns the next batch, which the caller hands back by Release. It stops
// waiting when the context is done; the batch is not lost then, the next call
// returns it. It must not be called by two goroutines at once.
func (l *Loader) Next(ctx context.Context) (*Batch, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	select {
	case b := <-l.ready:
		b.owner = l
		return b, nil
	case <-l.done:
		return nil, l.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// Release hands b back, whose slices are then written again. Batches that are
// never released are left to the garbage collector, and new ones allocated.
func (l *Loader) Release(b *Batch) {
	if b == nil || b.owner != l {
		return // not ours, or released before
	}
	b.owner = nil
	select {
	case l.free <- b:
	default:
	}
}

// Close ends the loader's goroutine and waits for it.
func (l *Loader) Close() {
	l.once.Do(func() { close(l.stop) })
	<-l.done
}

func (l *Loader) run() {
	defer close(l.done)
	if l.err = l.prepare(); l.err != nil {
		return
	}
	for {
		var b *Batch
		select {
		case b = <-l.free:
		default:
			b = l.newBatch()
		}
		if l.err = l.fill(b); l.err != nil {
			return
		}
		select {
		case l.ready <- b:
		case <-l.stop:
			l.err = ErrClosed
			return
		}
	}
}

func (l *Loader) prepare() (err error) {
	defer rescue("asking the dataset for its Info", &err)
	l.info = l.ds.Info()
	switch in := l.info; {
	case l.batch < 1:
		return fmt.Errorf("data: batches of %d images: at least 1", l.batch)
	case l.step < 0:
		return fmt.Errorf("data: first step %d: steps count from 0", l.step)
	case in.Count < 1 || in.Channels < 1 || in.Height < 1 || in.Width < 1:
		return fmt.Errorf("data: dataset %q has %d images of %d channels of %d x %d: nothing to load",
			in.Name, in.Count, in.Channels, in.Height, in.Width)
	}
	l.image = make([]byte, l.info.Channels*l.info.Height*l.info.Width)
	return nil
}

// rescue turns a panic in a Dataset's method into an error.
func rescue(doing string, err *error) {
	if r := recover(); r != nil {
		*err = fmt.Errorf("data: %s: panic: %v", doing, r)
	}
}

func (l *Loader) newBatch() *Batch {
	return &Batch{
		X:      make([]float32, l.batch*len(l.image)),
		Labels: make([]int, l.batch),
		Index:  make([]int, l.batch),
	}
}

// fill writes the batch of step l.step, and counts it on.
func (l *Loader) fill(b *Batch) (err error) {
	defer rescue("reading images", &err)
	n := uint64(l.info.Count)
	b.Step = l.step
	for i := range l.batch {
		select {
		case <-l.stop:
			return ErrClosed
		default:
		}
		pos := uint64(l.step)*uint64(l.batch) + uint64(i)
		l.shuffle(pos / n)
		index := int(l.perm[pos%n])
		b.Index[i] = index
		b.Labels[i] = l.ds.Label(index)
		l.ds.Image(index, l.image)
		x := b.X[i*len(l.image) : (i+1)*len(l.image)]
		if l.flip && rng.Uint64(l.seed, rng.Flip, uint64(l.step), uint64(i), 0)>>63 == 1 {
			l.mirrored(x)
			continue
		}
		for j, v := range l.image {
			x[j] = l.toFloat[v]
		}
	}
	l.step++
	return nil
}

// mirrored writes the image to x, left to right.
func (l *Loader) mirrored(x []float32) {
	w := l.info.Width
	for row := 0; row < len(x); row += w {
		for j, v := range l.image[row : row+w] {
			x[row+w-1-j] = l.toFloat[v]
		}
	}
}

// shuffle makes perm that of the epoch.
func (l *Loader) shuffle(epoch uint64) {
	if l.perm == nil {
		l.perm = make([]int32, l.info.Count)
	} else if l.epoch == epoch {
		return
	}
	rng.Perm(l.perm, l.seed, rng.Shuffle, epoch)
	l.epoch = epoch
}
