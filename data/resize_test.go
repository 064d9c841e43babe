package data

import (
	"bytes"
	"context"
	"errors"
	"image"
	"image/color"
	"math"
	"math/rand/v2"
	"sync/atomic"
	"testing"
)

func TestCropIsCentredAndHasTheAspectRatio(t *testing.T) {
	for _, tt := range []struct {
		size Size
		in   image.Rectangle
		want image.Rectangle
	}{
		{Size{32, 32}, image.Rect(0, 0, 100, 60), image.Rect(20, 0, 80, 60)},
		{Size{32, 32}, image.Rect(0, 0, 60, 100), image.Rect(0, 20, 60, 80)},
		{Size{32, 32}, image.Rect(10, 20, 70, 80), image.Rect(10, 20, 70, 80)},
		{Size{10, 20}, image.Rect(0, 0, 40, 40), image.Rect(0, 10, 40, 30)},
		{Size{20, 10}, image.Rect(5, 5, 45, 45), image.Rect(15, 5, 35, 45)},
		{Size{8, 8}, image.Rect(0, 0, 1, 500), image.Rect(0, 249, 1, 250)},
		{Size{1, 4096}, image.Rect(0, 0, 3, 3), image.Rect(0, 1, 3, 2)},
	} {
		if got := newFitter(shape{1, tt.size.H, tt.size.W}).crop(tt.in); got != tt.want {
			t.Errorf("crop of %v to %v: %v, want %v", tt.in, tt.size, got, tt.want)
		}
	}
}

// catmullRom is the plain definition for one row: the kernel of a = -1/2,
// stretched by the scale where the row shrinks, and weights that sum to 1.
func catmullRom(src []float64, n int) []float64 {
	k := func(t float64) float64 {
		switch t = math.Abs(t); {
		case t < 1:
			return (1.5*t-2.5)*t*t + 1
		case t < 2:
			return ((-0.5*t+2.5)*t-4)*t + 2
		}
		return 0
	}
	scale := float64(len(src)) / float64(n)
	stretch := max(1, scale)
	out := make([]float64, n)
	for i := range out {
		centre := (float64(i)+0.5)*scale - 0.5
		sum, weights := 0.0, 0.0
		for j, v := range src {
			w := k((float64(j) - centre) / stretch)
			sum, weights = sum+w*v, weights+w
		}
		out[i] = sum / weights
	}
	return out
}

func TestResizingIsCatmullRom(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for _, size := range [][2]int{{28, 32}, {32, 16}, {30, 17}, {5, 40}} {
		from, to := size[0], size[1]
		src := image.NewGray(image.Rect(0, 0, from, from))
		for i := range src.Pix {
			src.Pix[i] = byte(64 + r.IntN(128)) // clear of the ends, so that nothing is cut off
		}
		rows := make([][]float64, from)
		for y := range rows {
			line := make([]float64, from)
			for x := range line {
				line[x] = float64(src.GrayAt(x, y).Y)
			}
			rows[y] = catmullRom(line, to)
		}
		got := make([]byte, to*to)
		newFitter(shape{1, to, to}).fit(got, src)
		for x := range to {
			column := make([]float64, from)
			for y := range column {
				column[y] = rows[y][x]
			}
			for y, want := range catmullRom(column, to) {
				if d := math.Abs(float64(got[y*to+x]) - min(max(want, 0), 255)); d > 1 {
					t.Fatalf("%d -> %d: pixel (%d, %d) is %d, want %.2f", from, to, y, x, got[y*to+x], want)
				}
			}
		}
	}
}

func TestFittingWithoutResizingChangesNoByte(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	for _, c := range []int{1, 3} {
		sh := shape{c, 5, 7}
		pix := make([]byte, sh.dim())
		for i := range pix {
			pix[i] = byte(r.IntN(256))
		}
		got := make([]byte, sh.dim())
		newFitter(sh).fit(got, newPlanes(sh).image(pix))
		if !bytes.Equal(got, pix) {
			t.Errorf("%d channels: bytes changed", c)
		}
		// Gray to RGB and back is the gray again.
		three, back := make([]byte, 3*35), make([]byte, 35)
		newFitter(shape{3, 5, 7}).fit(three, newPlanes(shape{1, 5, 7}).image(pix[:35]))
		newFitter(shape{1, 5, 7}).fit(back, newPlanes(shape{3, 5, 7}).image(three))
		if !bytes.Equal(back, pix[:35]) {
			t.Error("gray -> RGB -> gray changed bytes")
		}
	}
}

func TestWhatIsTransparentIsLaidOverWhite(t *testing.T) {
	m := image.NewNRGBA(image.Rect(0, 0, 2, 1))
	m.SetNRGBA(0, 0, color.NRGBA{10, 20, 30, 0})
	m.SetNRGBA(1, 0, color.NRGBA{0, 0, 0, 255})
	got := make([]byte, 6)
	newFitter(shape{3, 1, 2}).fit(got, m)
	if want := []byte{255, 0, 255, 0, 255, 0}; !bytes.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
}

func TestForEachReturnsTheErrorOfTheSmallestIndex(t *testing.T) {
	for range 50 {
		var calls [100]atomic.Int32
		err := forEach(context.Background(), 100, func() func(int) error {
			return func(i int) error {
				calls[i].Add(1)
				if i == 30 || i == 31 || i == 60 {
					return &FileError{Path: string(rune('a' + i - 30))}
				}
				return nil
			}
		})
		wantError(t, err, "a: ")
		for i := range calls[:30] {
			if calls[i].Load() != 1 {
				t.Fatalf("f(%d) was called %d times", i, calls[i].Load())
			}
		}
	}
	ctx, cancel := context.WithCancel(context.Background())
	err := forEach(ctx, 1000, func() func(int) error {
		return func(i int) error {
			if i == 5 {
				cancel()
			}
			return nil
		}
	})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("%v, want context canceled", err)
	}
}
