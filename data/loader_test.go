package data

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"testing"
	"testing/synctest"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"unstir/internal/rng"
)

// numbered is a dataset of n images of 2 channels of 2 x 3; every byte of all
// images is different where n is at most 21.
func numbered(n int) Dataset { return numberedSet(n) }

type numberedSet int

func (s numberedSet) Info() Info {
	return Info{Name: "numbered", Count: int(s), Channels: 2, Height: 2, Width: 3}
}
func (s numberedSet) Label(i int) int { return 1000 + i }
func (s numberedSet) Image(i int, dst []byte) {
	for j := range 12 {
		dst[j] = byte(12*i + j)
	}
}

// take returns copies of the next n batches.
func take(t *testing.T, l *Loader, n int) []Batch {
	t.Helper()
	var out []Batch
	for range n {
		b, err := l.Next(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, Batch{Step: b.Step, X: slices.Clone(b.X), Labels: slices.Clone(b.Labels), Index: slices.Clone(b.Index)})
		l.Release(b)
	}
	return out
}

func load(t *testing.T, ds Dataset, batch int, seed uint64, flip bool, first, n int) []Batch {
	t.Helper()
	l := NewLoader(ds, batch, seed, flip, first)
	defer l.Close()
	return take(t, l, n)
}

func TestPositionsOfTheRunGoThroughTheEpochsPermutations(t *testing.T) {
	const n, seed = 10, 7
	for _, batch := range []int{1, 3, 5, 10, 25} {
		batches := load(t, numbered(n), batch, seed, false, 0, 1+40/batch)
		var got, want []int
		for s, b := range batches {
			if b.Step != s {
				t.Errorf("batch %d is of step %d", s, b.Step)
			}
			for i, index := range b.Index {
				if b.Labels[i] != 1000+index {
					t.Fatalf("label %d of image %d", b.Labels[i], index)
				}
				for j, x := range b.X[12*i : 12*(i+1)] {
					if want := float32(float64(12*index+j)/127.5 - 1); x != want {
						t.Fatalf("image %d, value %d: %v, want %v", index, j, x, want)
					}
				}
			}
			got = append(got, b.Index...)
		}
		perm := make([]int32, n)
		for p := range got {
			if p%n == 0 {
				rng.Perm(perm, seed, rng.Shuffle, uint64(p/n))
			}
			want = append(want, int(perm[p%n]))
		}
		if d := cmp.Diff(want, got); d != "" {
			t.Errorf("batch %d: images (-want +got):\n%s", batch, d)
		}
		for e := 0; e+n <= len(got); e += n {
			epoch := slices.Clone(got[e : e+n])
			slices.Sort(epoch)
			if d := cmp.Diff([]int{0, 1, 2, 3, 4, 5, 6, 7, 8, 9}, epoch); d != "" {
				t.Errorf("batch %d: epoch %d does not have every image once", batch, e/n)
			}
		}
		if slices.Equal(got[:n], got[n:2*n]) || slices.Equal(got[:n], []int{0, 1, 2, 3, 4, 5, 6, 7, 8, 9}) {
			t.Errorf("batch %d: epochs are not shuffled, or alike: %v", batch, got[:2*n])
		}
	}
}

func TestResumingEqualsGoingOn(t *testing.T) {
	ignore := cmpopts.IgnoreUnexported(Batch{})
	for _, batch := range []int{1, 4, 23} {
		whole := load(t, numbered(9), batch, 3, true, 0, 20)
		for _, first := range []int{0, 1, 2, 7, 19} {
			rest := load(t, numbered(9), batch, 3, true, first, 20-first)
			if d := cmp.Diff(whole[first:], rest, ignore); d != "" {
				t.Fatalf("batch %d from step %d:\n%s", batch, first, d)
			}
		}
	}
	a, b := load(t, numbered(21), 21, 3, false, 0, 1), load(t, numbered(21), 21, 4, false, 0, 1)
	if slices.Equal(a[0].Index, b[0].Index) {
		t.Error("another seed, the same order")
	}
	// Far into a run, where step * batch needs more than 32 bits.
	far := load(t, numbered(9), 64, 3, true, 1<<30, 2)
	if far[1].Step != 1<<30+1 {
		t.Errorf("step %d", far[1].Step)
	}
}

func TestFlipMirrorsHalfOfTheImages(t *testing.T) {
	batches := load(t, numbered(20), 50, 1, true, 0, 80)
	flipped, total, per := 0, 0, map[int]int{}
	ofSlot := make([]int, 50)
	mixed := 0
	for _, b := range batches {
		inBatch := 0
		for i, index := range b.Index {
			x := b.X[12*i : 12*(i+1)]
			mirrored := x[0] > x[1]
			for j, v := range x {
				from := j
				if mirrored {
					from = j/3*3 + 2 - j%3
				}
				if want := float32(float64(12*index+from)/127.5 - 1); v != want {
					t.Fatalf("image %d (mirrored: %v), value %d: %v, want %v", index, mirrored, j, v, want)
				}
			}
			if mirrored {
				flipped++
				per[index]++
				ofSlot[i]++
				inBatch++
			}
			total++
		}
		if inBatch > 10 && inBatch < 40 {
			mixed++
		}
	}
	if mixed != len(batches) {
		t.Errorf("%d of %d batches mirror some images and some not", mixed, len(batches))
	}
	for slot, n := range ofSlot {
		if n < 15 || n > 65 {
			t.Errorf("place %d of the batch is mirrored %d times of 80", slot, n)
		}
	}
	// Five standard deviations about a half, of all and of each image's 200.
	if d := math.Abs(float64(flipped) - float64(total)/2); d > 5*math.Sqrt(float64(total))/2 {
		t.Errorf("%d of %d are mirrored", flipped, total)
	}
	for index := range 20 {
		if d := math.Abs(float64(per[index]) - 100); d > 5*math.Sqrt(200)/2 {
			t.Errorf("image %d is mirrored %d times of 200", index, per[index])
		}
	}
	plain := load(t, numbered(20), 50, 1, false, 0, 80)
	for i := range batches {
		if !slices.Equal(plain[i].Index, batches[i].Index) {
			t.Fatal("flipping changes the order")
		}
	}
}

func TestBytesBecomeMinusOneToOne(t *testing.T) {
	pix := make([]byte, 256)
	for i := range pix {
		pix[i] = byte(i)
	}
	m, err := NewMemory(Info{Channels: 1, Height: 16, Width: 16}, pix, nil)
	if err != nil {
		t.Fatal(err)
	}
	b := load(t, m, 1, 0, false, 0, 1)[0]
	if b.X[0] != -1 || b.X[255] != 1 || b.Labels[0] != -1 {
		t.Errorf("0 -> %v, 255 -> %v, label %d", b.X[0], b.X[255], b.Labels[0])
	}
	for i, x := range b.X {
		if math.Abs(float64(x)-(float64(i)/127.5-1)) > 1e-7 {
			t.Errorf("%d -> %v", i, x)
		}
	}
}

func TestABatchIsNotWrittenBeforeItIsReleased(t *testing.T) {
	l := NewLoader(numbered(9), 4, 1, false, 0)
	defer l.Close()
	want := load(t, numbered(9), 4, 1, false, 0, 8)
	var held []*Batch
	for range 8 {
		b, err := l.Next(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		held = append(held, b)
	}
	for i, b := range held {
		if !slices.Equal(b.X, want[i].X) || b.Step != i {
			t.Errorf("batch %d was overwritten", i)
		}
	}
	// Releasing twice, or what is not the loader's, does no harm.
	l.Release(held[0])
	l.Release(held[0])
	l.Release(nil)
	l.Release(&Batch{})
	a, _ := l.Next(context.Background())
	b, _ := l.Next(context.Background())
	c, _ := l.Next(context.Background())
	if a == b || b == c || a == c {
		t.Error("one batch was handed out twice")
	}
}

func TestSteadyStateAllocatesNothing(t *testing.T) {
	l := NewLoader(numbered(9), 8, 1, true, 0)
	defer l.Close()
	ctx := context.Background()
	next := func() {
		b, err := l.Next(ctx)
		if err != nil {
			t.Fatal(err)
		}
		l.Release(b)
	}
	next()
	next()
	if n := testing.AllocsPerRun(200, next); n != 0 {
		t.Errorf("%v allocations per batch", n)
	}
}

// slowSet waits in Image until it is let on.
type slowSet struct {
	Dataset
	gate chan struct{}
}

func (s slowSet) Image(i int, dst []byte) {
	<-s.gate
	s.Dataset.Image(i, dst)
}

func TestNextStopsWithItsContextAndLosesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		gate := make(chan struct{})
		l := NewLoader(slowSet{numbered(9), gate}, 4, 1, false, 5)
		ctx, cancel := context.WithCancel(context.Background())
		failed := make(chan error)
		go func() {
			_, err := l.Next(ctx)
			failed <- err
		}()
		synctest.Wait()
		cancel()
		if err := <-failed; !errors.Is(err, context.Canceled) {
			t.Errorf("%v, want context canceled", err)
		}
		if _, err := l.Next(ctx); !errors.Is(err, context.Canceled) {
			t.Errorf("%v, want context canceled", err)
		}
		close(gate)
		b, err := l.Next(context.Background())
		if err != nil || b.Step != 5 {
			t.Errorf("step %v, %v: want the batch of step 5", b, err)
		}
		l.Close()
	})
}

// A goroutine that is left over when the bubble's function returns fails the
// test.
func TestCloseEndsTheGoroutine(t *testing.T) {
	for taken := range 3 {
		synctest.Test(t, func(t *testing.T) {
			l := NewLoader(numbered(9), 4, 1, false, 0)
			take(t, l, taken)
			l.Close()
			l.Close()
			if _, err := l.Next(context.Background()); !errors.Is(err, ErrClosed) {
				t.Errorf("%v, want ErrClosed", err)
			}
		})
	}
	synctest.Test(t, func(t *testing.T) {
		l := NewLoader(numbered(9), 1<<20, 1, false, 0) // a batch that takes its time
		l.Close()
	})
	synctest.Test(t, func(t *testing.T) {
		gate := make(chan struct{})
		l := NewLoader(slowSet{numbered(9), gate}, 4, 1, false, 0)
		failed := make(chan error)
		go func() {
			_, err := l.Next(context.Background())
			failed <- err
		}()
		synctest.Wait()
		go l.Close()
		synctest.Wait()
		close(gate)
		if err := <-failed; !errors.Is(err, ErrClosed) {
			t.Errorf("Next that waits while Close is called: %v, want ErrClosed", err)
		}
	})
}

// brokenSet panics at one image.
type brokenSet struct{ Dataset }

func (b brokenSet) Image(i int, dst []byte) {
	if i == 3 {
		panic(fmt.Sprintf("image %d is gone", i))
	}
	b.Dataset.Image(i, dst)
}

func TestWhatIsWrongComesFromNext(t *testing.T) {
	for _, tt := range []struct {
		ds           Dataset
		batch, first int
		parts        []string
	}{
		{numbered(9), 0, 0, []string{"batches of 0 images"}},
		{numbered(9), 1, -1, []string{"first step -1"}},
		{numbered(0), 1, 0, []string{`"numbered" has 0 images`}},
		{nil, 1, 0, []string{"Info", "panic"}},
		{brokenSet{numbered(9)}, 9, 0, []string{"reading images", "image 3 is gone"}},
	} {
		l := NewLoader(tt.ds, tt.batch, 1, false, tt.first)
		for range 2 {
			_, err := l.Next(context.Background())
			wantError(t, err, tt.parts...)
		}
		l.Close()
	}
}

func BenchmarkLoader(b *testing.B) {
	m, err := NewMemory(Info{Channels: 3, Height: 32, Width: 32}, make([]byte, 1000*3072), nil)
	if err != nil {
		b.Fatal(err)
	}
	l := NewLoader(m, 128, 1, true, 0)
	defer l.Close()
	b.ReportAllocs()
	for b.Loop() {
		batch, err := l.Next(context.Background())
		if err != nil {
			b.Fatal(err)
		}
		l.Release(batch)
	}
}
