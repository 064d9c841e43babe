package images

import (
	"image"
	"image/color"
	"math"
	"strings"
	"testing"
)

func wantError(t *testing.T, err error, says ...string) {
	t.Helper()
	if err == nil {
		t.Errorf("no error; want one that says %q", says)
		return
	}
	for _, s := range says {
		if !strings.Contains(err.Error(), s) {
			t.Errorf("error %q does not say %q", err, s)
		}
	}
}

func TestBytesAreDiffusers(t *testing.T) {
	// Of torch: (x/2 + 0.5).clamp(0, 1), then numpy: (x*255).round().
	nan, inf := math.NaN(), math.Inf(1)
	x := []float64{-1, 1, 0, -1.7, 33, -inf, inf, nan, -1 + 1.0/255, -1 + 2.0/255, 0.5, -0.5, 0.0039, 0.00393}
	want := []byte{0, 255, 128, 0, 255, 0, 255, 0, 0, 1, 191, 64, 128, 128}
	got := make([]byte, len(x))
	ToBytes(got, x)
	narrow := make([]float32, len(x))
	for i, v := range x {
		narrow[i] = float32(v)
	}
	got32 := make([]byte, len(x))
	ToBytes(got32, narrow)
	for i := range x {
		if got[i] != want[i] || got32[i] != want[i] {
			t.Errorf("%v becomes %d (float64), %d (float32), want %d", x[i], got[i], got32[i], want[i])
		}
	}
}

func TestEveryByteSurvivesTheRoundTrip(t *testing.T) {
	for b := range 256 {
		x, got := []float32{float32(b)/255*2 - 1}, make([]byte, 1)
		if ToBytes(got, x); int(got[0]) != b {
			t.Errorf("%d becomes %v becomes %d", b, x[0], got[0])
		}
	}
}

// ramp gives sample i of an [n, c, h, w] tensor a value of its own.
func ramp(n int) []float32 {
	x := make([]float32, n)
	for i := range x {
		x[i] = float32(i%256)/255*2 - 1
	}
	return x
}

func TestFromNCHWPutsEachPixelInItsPlace(t *testing.T) {
	const n, h, w = 2, 2, 3
	gray, err := FromNCHW(ramp(n*h*w), n, 1, h, w)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := gray[1].At(2, 1), (color.Gray{11}); got != want {
		t.Errorf("gray pixel %v, want %v", got, want)
	}
	rgb, err := FromNCHW(ramp(n*3*h*w), n, 3, h, w)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := rgb[1].At(0, 1), (color.RGBA{21, 27, 33, 255}); got != want { // image 1 begins at 18, row 1 at +3
		t.Errorf("RGB pixel %v, want %v", got, want)
	}
	_, err = FromNCHW(ramp(8), 1, 2, 2, 2)
	wantError(t, err, "2 channels")
	_, err = FromNCHW(ramp(8), 1, 1, 2, 3)
	wantError(t, err, "8 values", "1 x 2 x 3")
}

func solid(w, h int, c color.Color) image.Image {
	m := newCanvas([]image.Image{image.NewRGBA(image.Rect(0, 0, 1, 1))}, w, h, 0)
	for y := range h {
		for x := range w {
			m.Set(x, y, c)
		}
	}
	return m
}

func graySolid(w, h int, y uint8) image.Image {
	return newCanvas([]image.Image{image.NewGray(image.Rectangle{})}, w, h, y)
}

func TestGridPlacesRowByRow(t *testing.T) {
	list := []image.Image{graySolid(4, 3, 10), graySolid(4, 3, 20), graySolid(4, 3, 30)}
	g, err := Grid(list, GridOptions{Cols: 2, Padding: 1, Background: 99, Scale: 2})
	if err != nil {
		t.Fatal(err)
	}
	if got := g.Bounds().Size(); got != image.Pt(2*(2*5+1), 2*(2*4+1)) {
		t.Errorf("size %v", got)
	}
	if _, ok := g.(*image.Gray); !ok {
		t.Errorf("a grid of gray images is a %T", g)
	}
	for p, want := range map[image.Point]uint8{{0, 0}: 99, {1, 1}: 99, {2, 2}: 10, {9, 7}: 10, {10, 2}: 99, {12, 2}: 20, {2, 10}: 30, {19, 15}: 99} {
		if got := g.At(p.X, p.Y); got != (color.Gray{want}) {
			t.Errorf("pixel %v is %v, want %d", p, got, want)
		}
	}
}

func TestGridsAreAboutSquare(t *testing.T) {
	for n, want := range map[int]image.Point{1: {1, 1}, 2: {2, 1}, 3: {2, 2}, 5: {3, 2}, 9: {3, 3}, 64: {8, 8}, 65: {9, 8}} {
		list := make([]image.Image, n)
		for i := range list {
			list[i] = graySolid(1, 1, 0)
		}
		if g, err := Grid(list, GridOptions{}); err != nil || g.Bounds().Size() != want {
			t.Errorf("%d images: %v, %v, want %v", n, g, err, want)
		}
	}
}

func TestAPeriodMakesColumns(t *testing.T) {
	for _, c := range []struct {
		n, period int
		want      image.Point
	}{{64, 10, image.Pt(10, 7)}, {36, 2, image.Pt(6, 6)}, {36, 4, image.Pt(8, 5)}, {12, 3, image.Pt(3, 4)}, {101, 10, image.Pt(10, 11)}, {20, 10, image.Pt(10, 2)}, {16, 10, image.Pt(4, 4)}, {4, 10, image.Pt(2, 2)}, {64, 1000, image.Pt(8, 8)}, {7, 0, image.Pt(3, 3)}} {
		list := make([]image.Image, c.n)
		for i := range list {
			list[i] = graySolid(1, 1, 0)
		}
		if g, err := Grid(list, GridOptions{Period: c.period}); err != nil || g.Bounds().Size() != c.want {
			t.Errorf("%d images with period %d: %v, %v, want %v", c.n, c.period, g.Bounds().Size(), err, c.want)
		}
	}
}

// Classes in turn have rows of their own, where that is not far from square; images of one class stand in their order.
func TestClassesMakeRows(t *testing.T) {
	for _, c := range []struct {
		n, classes int
		want       image.Point
	}{
		{60, 10, image.Pt(6, 10)}, {64, 10, image.Pt(7, 10)}, {40, 10, image.Pt(4, 10)}, {20, 10, image.Pt(2, 10)}, {64, 2, image.Pt(8, 8)}, {36, 4, image.Pt(5, 8)}, {5, 2, image.Pt(3, 2)},
		{10, 10, image.Pt(4, 3)}, {12, 10, image.Pt(4, 3)}, {64, 100, image.Pt(8, 8)}, {9, 1, image.Pt(3, 3)}, {9, 0, image.Pt(3, 3)},
	} {
		list := make([]image.Image, c.n)
		for i := range list {
			list[i] = graySolid(1, 1, uint8(100+i))
		}
		g, err := Grid(list, GridOptions{Classes: c.classes})
		if err != nil || g.Bounds().Size() != c.want {
			t.Errorf("%d images of %d classes: %v, %v, want %v", c.n, c.classes, g.Bounds().Size(), err, c.want)
			continue
		}
		seen := 0
		for y := range c.want.Y {
			last := -1
			for x := range c.want.X {
				v := g.At(x, y).(color.Gray).Y
				if v < 100 {
					continue
				}
				seen++
				i := int(v) - 100
				if last >= 0 && c.classes > 1 && c.n >= 2*c.classes && i != last+c.classes {
					t.Errorf("%d images of %d classes: image %d is beside %d", c.n, c.classes, i, last)
				}
				last = i
			}
		}
		if seen != c.n {
			t.Errorf("%d of %d images are in the grid", seen, c.n)
		}
	}
}

func TestAColourImageMakesTheGridRGB(t *testing.T) {
	red := color.RGBA{200, 0, 7, 255}
	g, err := Grid([]image.Image{graySolid(2, 2, 50), solid(2, 2, red)}, GridOptions{Cols: 2})
	if err != nil {
		t.Fatal(err)
	}
	if g.At(2, 0) != red || g.At(0, 0) != (color.RGBA{50, 50, 50, 255}) {
		t.Errorf("pixels %v, %v", g.At(2, 0), g.At(0, 0))
	}
}

func TestGridRefuses(t *testing.T) {
	_, err := Grid(nil, GridOptions{})
	wantError(t, err, "no images")
	_, err = Grid([]image.Image{graySolid(2, 2, 0), graySolid(2, 3, 0)}, GridOptions{})
	wantError(t, err, "image 1", "(2,3)")
	_, err = Grid([]image.Image{graySolid(2, 2, 0)}, GridOptions{Padding: -1})
	wantError(t, err, "negative")
}

func ink(m image.Image, r image.Rectangle, background uint8) int {
	n := 0
	for y := r.Min.Y; y < r.Max.Y; y++ {
		for x := r.Min.X; x < r.Max.X; x++ {
			if c := color.GrayModel.Convert(m.At(x, y)).(color.Gray); c.Y != background {
				n++
			}
		}
	}
	return n
}

func TestPanelsLabelWhatTheyShow(t *testing.T) {
	for _, background := range []uint8{0, 255} {
		m, err := Panels([]Panel{{"x_t", graySolid(30, 20, background)}, {"", graySolid(28, 20, 77)}},
			PanelOptions{Padding: 4, Background: background})
		if err != nil {
			t.Fatal(err)
		}
		if got := m.Bounds().Size(); got != image.Pt(3*4+2*30, 2*4+20+15) {
			t.Errorf("size %v", got)
		}
		if ink(m, image.Rect(4, 4, 25, 19), background) < 20 {
			t.Error("there is no label over the first panel")
		}
		if n := ink(m, image.Rect(26, 4, 72, 19), background); n != 0 {
			t.Errorf("%d pixels of ink where there is no label", n)
		}
		if m.At(38, 19) != (color.Gray{77}) || m.At(38+27, 19+19) != (color.Gray{77}) {
			t.Error("the second image is not in its place")
		}
	}
}

func TestPanelsMakeRoomForLabels(t *testing.T) {
	list := []Panel{{"ddim, eta = 0", graySolid(8, 8, 0)}, {"b", graySolid(8, 8, 0)}, {"c", graySolid(8, 8, 0)}}
	a, err := Panels(list, PanelOptions{Cols: 2})
	if err != nil || a.Bounds().Size() != image.Pt(2*13*7, 2*(8+15)) {
		t.Errorf("%v, %v", a.Bounds(), err)
	}
	b, err := Panels(list[1:], PanelOptions{LabelRoom: 13})
	if err != nil || b.Bounds().Dx() != a.Bounds().Dx() {
		t.Errorf("LabelRoom does not keep the size: %v, %v", b.Bounds(), a.Bounds())
	}
	_, err = Panels(nil, PanelOptions{})
	wantError(t, err, "no panels")
	_, err = Panels([]Panel{{Label: "empty"}}, PanelOptions{})
	wantError(t, err, `"empty"`)
	_, err = Panels(list, PanelOptions{Cols: -1})
	wantError(t, err, "negative")
}
