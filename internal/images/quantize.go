package images

import (
	"cmp"
	"image"
	"image/color"
	"slices"
)

type rgb [3]uint8

func (c rgb) color() color.Color { return color.RGBA{c[0], c[1], c[2], 255} }

// quantize reduces an opaque image to at most 256 colours: its own if they are
// no more, else those of a median cut (Heckbert 1982) with Floyd and Steinberg's
// error diffusion.
func quantize(m *image.RGBA) *image.Paletted {
	if p := exactPalette(m); p != nil {
		return p
	}
	colors := medianCut(m, 256)
	p := image.NewPaletted(m.Rect, nil)
	for _, c := range colors {
		p.Palette = append(p.Palette, c.color())
	}
	diffuse(p, m, colors)
	return p
}

func pixel(m *image.RGBA, x, y int) rgb {
	i := y*m.Stride + 4*x
	return rgb(m.Pix[i : i+3])
}

// exactPalette returns nil where the image has more than 256 colours.
func exactPalette(m *image.RGBA) *image.Paletted {
	p := image.NewPaletted(m.Rect, nil)
	index := map[rgb]uint8{}
	for y := range m.Rect.Dy() {
		for x := range m.Rect.Dx() {
			c := pixel(m, x, y)
			i, ok := index[c]
			if !ok {
				if len(index) == 256 {
					return nil
				}
				i = uint8(len(index))
				index[c] = i
				p.Palette = append(p.Palette, c.color())
			}
			p.Pix[y*p.Stride+x] = i
		}
	}
	return p
}

// cell is one of the 32 x 32 x 32 cells of the colour cube that has pixels.
type cell struct {
	mean rgb
	n    int
}

func histogram(m *image.RGBA) []cell {
	const cells = 1 << 15
	sums := make([][4]int, cells)
	for y := range m.Rect.Dy() {
		for x := range m.Rect.Dx() {
			c := pixel(m, x, y)
			s := &sums[int(c[0]>>3)<<10|int(c[1]>>3)<<5|int(c[2]>>3)]
			for k := range c {
				s[k] += int(c[k])
			}
			s[3]++
		}
	}
	var list []cell
	for _, s := range sums {
		if s[3] > 0 {
			list = append(list, cell{mean(s[0], s[1], s[2], s[3]), s[3]})
		}
	}
	return list
}

func mean(r, g, b, n int) rgb {
	return rgb{uint8((r + n/2) / n), uint8((g + n/2) / n), uint8((b + n/2) / n)}
}

// box is a set of cells that will share a colour.
type box struct {
	cells []cell
	axis  int // along which the cells are most spread
	score int // what splitting it would gain
}

func newBox(cells []cell) box {
	b := box{cells: cells}
	spread, pixels := -1, 0
	for k := range 3 {
		lo, hi := 255, 0
		for _, c := range cells {
			lo, hi = min(lo, int(c.mean[k])), max(hi, int(c.mean[k]))
		}
		if hi-lo > spread {
			spread, b.axis = hi-lo, k
		}
	}
	for _, c := range cells {
		pixels += c.n
	}
	b.score = spread * spread * pixels
	if len(cells) == 1 {
		b.score = 0
	}
	return b
}

func medianCut(m *image.RGBA, most int) []rgb {
	boxes := []box{newBox(histogram(m))}
	for len(boxes) < most {
		i := 0
		for j := range boxes {
			if boxes[j].score > boxes[i].score {
				i = j
			}
		}
		if boxes[i].score == 0 {
			break
		}
		a, b := boxes[i].split()
		boxes[i] = a
		boxes = append(boxes, b)
	}
	colors := make([]rgb, len(boxes))
	for i, b := range boxes {
		var s [4]int
		for _, c := range b.cells {
			for k := range c.mean {
				s[k] += int(c.mean[k]) * c.n
			}
			s[3] += c.n
		}
		colors[i] = mean(s[0], s[1], s[2], s[3])
	}
	return colors
}

// split cuts a box of at least two cells at its median pixel.
func (b box) split() (box, box) {
	slices.SortFunc(b.cells, func(p, q cell) int {
		return cmp.Or(cmp.Compare(p.mean[b.axis], q.mean[b.axis]), slices.Compare(p.mean[:], q.mean[:]))
	})
	total := 0
	for _, c := range b.cells {
		total += c.n
	}
	at, seen := 1, b.cells[0].n
	for at < len(b.cells)-1 && seen < total/2 {
		seen += b.cells[at].n
		at++
	}
	return newBox(b.cells[:at]), newBox(b.cells[at:])
}

// diffuse sets p's pixels to the nearest colours and hands each pixel's error on
// to its neighbours (Floyd and Steinberg 1976: 7, 3, 5 and 1 sixteenths).
func diffuse(p *image.Paletted, m *image.RGBA, colors []rgb) {
	w := m.Rect.Dx()
	here, below := make([][3]int, w+2), make([][3]int, w+2) // index x+1, in sixteenths
	near := newNearest(colors)
	for y := range m.Rect.Dy() {
		for x := range w {
			c := pixel(m, x, y)
			var v [3]int
			for k := range v {
				v[k] = min(max(int(c[k])+here[x+1][k]/16, 0), 255)
			}
			i := near.index(v)
			p.Pix[y*p.Stride+x] = i
			for k := range v {
				e := v[k] - int(colors[i][k])
				here[x+2][k] += 7 * e
				below[x][k] += 3 * e
				below[x+1][k] += 5 * e
				below[x+2][k] += e
			}
		}
		here, below = below, here
		clear(below)
	}
}

// nearest remembers the nearest colour for each of 64 x 64 x 64 cells.
type nearest struct {
	colors []rgb
	known  []int16 // index + 1
}

func newNearest(colors []rgb) *nearest { return &nearest{colors, make([]int16, 1<<18)} }

func (n *nearest) index(v [3]int) uint8 {
	slot := &n.known[v[0]>>2<<12|v[1]>>2<<6|v[2]>>2]
	if *slot == 0 {
		best := 1 << 30
		for i, c := range n.colors {
			d := 0
			for k := range c {
				e := v[k]&^3 + 2 - int(c[k]) // the cell's middle
				d += e * e
			}
			if d < best {
				best, *slot = d, int16(i+1)
			}
		}
	}
	return uint8(*slot - 1)
}
