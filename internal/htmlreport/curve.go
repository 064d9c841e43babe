package htmlreport

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
)

// Point is a curve's value at a step.
type Point struct {
	Step  int
	Value float64
}

// Curve is a quantity over the steps. Values that are not finite are left out, and on a logarithmic axis those that are
// not positive.
type Curve struct {
	Name   string // such as "Loss"
	Unit   string // of the vertical axis, such as "mean squared error"
	Log    bool   // a logarithmic axis; else one that begins at 0
	Smooth bool   // also draw a moving mean, as the values are noisy
	Points []Point
}

// The drawing's measures, in the units of its viewBox.
const (
	drawingWidth  = 640
	drawingHeight = 296
	plotLeft      = 92
	plotRight     = 620
	plotTop       = 18
	plotBottom    = 256
)

// maxShown is how many points of a curve can be pointed at, and about half of how many are drawn.
const maxShown = 480

// drawing is a curve for the template.
type drawing struct {
	Curve
	ID             string
	Width, Height  int
	Left, Right    int
	Top, Bottom    int
	XTicks, YTicks []tick
	Line, Mean     string // paths; Mean is "" without one
	Shown          string // what the script reads: "step;value;x;y" for each point, with spaces between
	Summary        string // the drawing in words
	Rows           []row  // of a table of some of the points
}

type tick struct {
	At     string // x or y
	Label  string
	Sparse bool // the label is left out on narrow screens
}

type row struct{ Step, Value, Mean string }

// layOut lays a curve out; nil where there are fewer than two points.
func layOut(id string, c Curve) *drawing {
	usable := func(p Point) bool {
		return !math.IsNaN(p.Value) && !math.IsInf(p.Value, 0) && (p.Value > 0 || !c.Log)
	}
	c.Points = slices.DeleteFunc(slices.Clone(c.Points), func(p Point) bool { return !usable(p) })
	if len(c.Points) < 2 || c.Points[0].Step == c.Points[len(c.Points)-1].Step {
		return nil
	}
	d := &drawing{
		Curve: c, ID: id, Width: drawingWidth, Height: drawingHeight,
		Left: plotLeft, Right: plotRight, Top: plotTop, Bottom: plotBottom,
	}
	first, last := c.Points[0], c.Points[len(c.Points)-1]
	lo, hi := first, first
	for _, p := range c.Points {
		if p.Value < lo.Value {
			lo = p
		}
		if p.Value > hi.Value {
			hi = p
		}
	}
	y := newAxis(lo.Value, hi.Value, c.Log)
	yAt := func(v float64) float64 { return plotBottom - y.share(v)*(plotBottom-plotTop) }
	xAt := func(step int) float64 {
		return plotLeft + float64(step-first.Step)/float64(last.Step-first.Step)*(plotRight-plotLeft)
	}
	for _, v := range y.ticks {
		d.YTicks = append(d.YTicks, tick{At: coordinate(yAt(v)), Label: Number(v)})
	}
	for i, v := range linearTicks(float64(first.Step), float64(last.Step), min(5, last.Step-first.Step)) { // whole steps
		d.XTicks = append(d.XTicks, tick{At: coordinate(xAt(int(v))), Label: Number(v), Sparse: i%2 == 1})
	}
	d.Line = path(extremes(c.Points), xAt, yAt)
	means := c.Points
	if c.Smooth {
		means = smooth(c.Points, c.Log)
		d.Mean = path(thin(means, maxShown), xAt, yAt)
	}
	var shown []string
	for _, p := range thin(c.Points, maxShown) {
		shown = append(shown, fmt.Sprintf("%s;%s;%s;%s", Number(float64(p.Step)), Number(p.Value), coordinate(xAt(p.Step)), coordinate(yAt(p.Value))))
	}
	d.Shown = strings.Join(shown, " ")
	d.Summary = fmt.Sprintf("%s over steps %s to %s: from %s to %s, lowest %s at step %s, highest %s at step %s.", c.Name,
		Number(float64(first.Step)), Number(float64(last.Step)), Number(first.Value), Number(last.Value),
		Number(lo.Value), Number(float64(lo.Step)), Number(hi.Value), Number(float64(hi.Step)))
	for _, i := range spread(len(c.Points), 12) {
		r := row{Step: Number(float64(c.Points[i].Step)), Value: Number(c.Points[i].Value)}
		if c.Smooth {
			r.Mean = Number(means[i].Value)
		}
		d.Rows = append(d.Rows, r)
	}
	return d
}

// axis maps values to [0, 1].
type axis struct {
	lo, hi float64
	log    bool
	ticks  []float64
}

func newAxis(lo, hi float64, log bool) axis {
	if !log {
		a := axis{lo: min(0, lo), hi: max(0, hi)}
		if a.lo == a.hi {
			a.hi = 1
		}
		a.ticks = linearTicks(a.lo, a.hi, 5)
		return a
	}
	if hi/lo < 1.05 { // a line in the middle
		lo, hi = lo/1.2, hi*1.2
	}
	return axis{lo: lo, hi: hi, log: true, ticks: logTicks(lo, hi)}
}

func (a axis) share(v float64) float64 {
	if a.log {
		return (math.Log(v) - math.Log(a.lo)) / (math.Log(a.hi) - math.Log(a.lo))
	}
	return (v - a.lo) / (a.hi - a.lo)
}

// linearTicks are about n multiples of 1, 2 or 5 times a power of ten from lo to hi.
func linearTicks(lo, hi float64, n int) (ticks []float64) {
	step := math.Pow(10, math.Floor(math.Log10((hi-lo)/float64(n))))
	for _, k := range []float64{2, 5, 10} {
		if (hi-lo)/step <= float64(n) {
			break
		}
		step = k * math.Pow(10, math.Floor(math.Log10((hi-lo)/float64(n))))
	}
	for i := math.Ceil(lo/step - 1e-9); i*step <= hi+1e-9*step; i++ {
		ticks = append(ticks, i*step+0) // not -0
	}
	return ticks
}

// logTicks are powers of ten from lo to hi where there are several, else also 2 and 5 times such, or even linear ones.
func logTicks(lo, hi float64) []float64 {
	for _, digits := range [][]float64{{1}, {1, 2, 5}} {
		var ticks []float64
		for e := math.Floor(math.Log10(lo)); e <= math.Log10(hi); e++ {
			for _, d := range digits {
				if v := d * math.Pow(10, e); v >= lo && v <= hi {
					ticks = append(ticks, v)
				}
			}
		}
		if n := len(ticks); n >= 3 {
			every := (n + 5) / 6
			return slices.Collect(func(yield func(float64) bool) {
				for i := 0; i < n; i += every {
					if !yield(ticks[i]) {
						return
					}
				}
			})
		}
	}
	return linearTicks(lo, hi, 5)
}

// path is an SVG path through points.
func path(points []Point, x func(int) float64, y func(float64) float64) string {
	var b strings.Builder
	for i, p := range points {
		b.WriteByte("ML"[min(i, 1)])
		b.WriteString(coordinate(x(p.Step)) + " " + coordinate(y(p.Value)))
	}
	return b.String()
}

// extremes thins points out so that a line through them looks the same: of each stretch it keeps the lowest and the
// highest.
func extremes(points []Point) []Point {
	if len(points) <= 2*maxShown {
		return points
	}
	out := []Point{points[0]}
	for i := range maxShown {
		part := points[i*len(points)/maxShown : (i+1)*len(points)/maxShown]
		byValue := func(a, b Point) int {
			if a.Value < b.Value {
				return -1
			}
			return 1
		}
		a, b := slices.MinFunc(part, byValue), slices.MaxFunc(part, byValue)
		if a.Step > b.Step {
			a, b = b, a
		}
		out = append(out, a, b)
	}
	return append(out, points[len(points)-1])
}

// thin keeps at most n points, evenly spread, the first and the last among them.
func thin(points []Point, n int) []Point {
	var out []Point
	for _, i := range spread(len(points), n) {
		out = append(out, points[i])
	}
	return out
}

// spread are at most n of the numbers below m, evenly spread, with the first and the last.
func spread(m, n int) []int {
	if m <= n {
		n = m
	}
	out := make([]int, n)
	for i := range out {
		if n > 1 {
			out[i] = i * (m - 1) / (n - 1)
		}
	}
	return out
}

// smooth replaces each value by the mean of a fiftieth of the points around it, or of eleven where that is more, but of at
// most a fifth of all; the geometric mean for a logarithmic axis. Near the first point there are fewer on either side, so
// that the mean does not lag behind values that fall fast. Near the last there are fewer after it only, so that the curve
// does not end at a single value.
func smooth(points []Point, log bool) []Point {
	sums := make([]float64, len(points)+1)
	for i, p := range points {
		v := p.Value
		if log {
			v = math.Log(v)
		}
		sums[i+1] = sums[i] + v
	}
	around := min(max(5, len(points)/100), len(points)/10)
	out := make([]Point, len(points))
	for i, p := range points {
		before := min(around, i)
		lo, hi := i-before, min(i+before, len(points)-1)
		mean := (sums[hi+1] - sums[lo]) / float64(hi+1-lo)
		if log {
			mean = math.Exp(mean)
		}
		out[i] = Point{p.Step, mean}
	}
	return out
}

func coordinate(v float64) string { return strconv.FormatFloat(math.Round(10*v)/10, 'f', -1, 64) }

// Number writes a value for people: four digits, groups of three in front of the point, a power of ten for the very
// large and the very small.
func Number(v float64) string {
	size := math.Abs(v)
	switch {
	case v == math.Trunc(v) && size < 1e15, size >= 1000 && size < 1e15:
		return grouped(strconv.FormatFloat(v, 'f', 0, 64))
	case size >= 1e15 || size < 1e-3:
		digits, power, _ := strings.Cut(strconv.FormatFloat(v, 'e', 3, 64), "e")
		if n, err := strconv.Atoi(power); err == nil {
			return strings.TrimRight(strings.TrimRight(digits, "0"), ".") + "e" + strconv.Itoa(n)
		}
	}
	return strconv.FormatFloat(v, 'g', 4, 64)
}

// grouped puts commas between groups of three digits.
func grouped(digits string) string {
	digits, negative := strings.CutPrefix(digits, "-")
	var b strings.Builder
	if negative {
		b.WriteByte('-')
	}
	for i, d := range digits {
		if i > 0 && (len(digits)-i)%3 == 0 {
			b.WriteByte(',')
		}
		b.WriteRune(d)
	}
	return b.String()
}
