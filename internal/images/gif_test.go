package images

import (
	"bytes"
	"image"
	"image/color"
	"image/color/palette"
	"image/draw"
	"image/gif"
	"math"
	"path/filepath"
	"testing"
	"time"
)

func encoded(t *testing.T, a Animation) *gif.GIF {
	t.Helper()
	var b bytes.Buffer
	if err := encodeGIF(&b, a); err != nil {
		t.Fatal(err)
	}
	g, err := gif.DecodeAll(&b)
	if err != nil {
		t.Fatal(err)
	}
	return g
}

func grayRamp() *image.Gray {
	m := image.NewGray(image.Rect(0, 0, 16, 16))
	for i := range m.Pix {
		m.Pix[i] = uint8(i)
	}
	return m
}

// colours has far more than 256 colours.
func colours(n int) *image.RGBA {
	m := image.NewRGBA(image.Rect(0, 0, n, n))
	for y := range n {
		for x := range n {
			m.SetRGBA(x, y, color.RGBA{uint8(x * 255 / (n - 1)), uint8(y * 255 / (n - 1)), uint8((x + 2*y) % 256), 255})
		}
	}
	return m
}

func TestGrayFramesAreExact(t *testing.T) {
	want := grayRamp()
	g := encoded(t, Animation{Frames: []image.Image{want, graySolid(16, 16, 3)}, Delay: 50 * time.Millisecond, Hold: 2 * time.Second})
	for y := range 16 {
		for x := range 16 {
			if r, _, _, _ := g.Image[0].At(x, y).RGBA(); uint8(r>>8) != want.GrayAt(x, y).Y {
				t.Fatalf("pixel (%d, %d) is %d, want %d", x, y, r>>8, want.GrayAt(x, y).Y)
			}
		}
	}
	if len(g.Delay) != 2 || g.Delay[0] != 5 || g.Delay[1] != 200 || g.LoopCount != 0 {
		t.Errorf("delays %v, loops %d", g.Delay, g.LoopCount)
	}
}

func TestFewColoursAreExact(t *testing.T) {
	m := colours(16) // 256 pixels
	g := encoded(t, Animation{Frames: []image.Image{m}})
	for y := range 16 {
		for x := range 16 {
			if got := color.RGBAModel.Convert(g.Image[0].At(x, y)); got != m.At(x, y) {
				t.Fatalf("pixel (%d, %d) is %v, want %v", x, y, got, m.At(x, y))
			}
		}
	}
	if g.Delay[0] != 2 {
		t.Errorf("no delay became %d", g.Delay[0])
	}
}

// rms is the distance of two images after a box filter of k x k, which is what
// an eye does to dithering.
func rms(a, b image.Image, k int) float64 {
	sum, n := 0.0, 0
	for y := 0; y+k <= a.Bounds().Dy(); y += k {
		for x := 0; x+k <= a.Bounds().Dx(); x += k {
			var d [3]float64
			for i := range k * k {
				p, q := color.RGBAModel.Convert(a.At(x+i%k, y+i/k)).(color.RGBA), color.RGBAModel.Convert(b.At(x+i%k, y+i/k)).(color.RGBA)
				d[0] += float64(p.R) - float64(q.R)
				d[1] += float64(p.G) - float64(q.G)
				d[2] += float64(p.B) - float64(q.B)
			}
			for _, v := range d {
				sum += v * v / float64(k*k*k*k)
				n++
			}
		}
	}
	return math.Sqrt(sum / float64(n))
}

func TestManyColoursComeNearerThanAFixedPalette(t *testing.T) {
	m := colours(96)
	got := encoded(t, Animation{Frames: []image.Image{m}}).Image[0]
	if len(got.Palette) != 256 {
		t.Errorf("only %d colours are used", len(got.Palette))
	}
	fixed := image.NewPaletted(m.Rect, palette.Plan9)
	draw.FloydSteinberg.Draw(fixed, m.Rect, m, image.Point{})
	for k, limit := range map[int]float64{1: 16, 4: 3.5} {
		ours, plan9 := rms(m, got, k), rms(m, fixed, k)
		t.Logf("%d x %d: rms %.2f, with a fixed palette %.2f", k, k, ours, plan9)
		if ours > limit || ours > plan9 {
			t.Errorf("%d x %d: rms %.2f, want at most %g and less than a fixed palette's %.2f", k, k, ours, limit, plan9)
		}
	}
}

func TestSmallerFramesArePadded(t *testing.T) {
	offset := colours(40).SubImage(image.Rect(10, 10, 20, 20)) // bounds that do not begin at 0
	nrgba := image.NewNRGBA(image.Rect(0, 0, 16, 16))
	g := encoded(t, Animation{Frames: []image.Image{grayRamp(), graySolid(3, 4, 9), offset, nrgba}})
	for i, m := range g.Image {
		if m.Bounds() != image.Rect(0, 0, 16, 16) {
			t.Errorf("frame %d is %v", i, m.Bounds())
		}
	}
	if r, _, _, _ := g.Image[1].At(2, 3).RGBA(); r>>8 != 9 {
		t.Error("the small frame lost its pixels")
	}
	if r, _, _, _ := g.Image[1].At(3, 3).RGBA(); r>>8 != 255 {
		t.Error("the padding is not white")
	}
	if got := color.RGBAModel.Convert(g.Image[2].At(1, 0)); got != offset.At(11, 10) {
		t.Errorf("a frame with other bounds is shifted: %v, want %v", got, offset.At(11, 10))
	}
}

func TestAnimationsRefuse(t *testing.T) {
	wantError(t, encodeGIF(&bytes.Buffer{}, Animation{}), "no frames")
	wantError(t, encodeGIF(&bytes.Buffer{}, Animation{Frames: []image.Image{graySolid(1, 1, 0)}, Delay: -1}), "negative")
	wantError(t, encodeGIF(&bytes.Buffer{}, Animation{Frames: []image.Image{graySolid(1<<16, 1, 0)}}), "too large")
}

func TestWriteGIFIsDeterministic(t *testing.T) {
	a := Animation{Frames: []image.Image{colours(40), grayRamp()}, Delay: time.Second}
	var b, c bytes.Buffer
	if err := encodeGIF(&b, a); err != nil {
		t.Fatal(err)
	}
	if err := encodeGIF(&c, a); err != nil || !bytes.Equal(b.Bytes(), c.Bytes()) {
		t.Errorf("two encodings differ, %v", err)
	}
	if err := WriteGIF(filepath.Join(t.TempDir(), "a.gif"), a); err != nil {
		t.Error(err)
	}
}
