package winograd

import (
	_ "embed"
	"fmt"
	"math"
	"math/big"
	"slices"
	"strings"
	"testing"
	"unsafe"

	"unstir/nn/kernel/internal/cpu"
	"unstir/nn/kernel/internal/kerneltest"
)

//go:embed matrices.txt
var matricesText string

// fractions is a matrix of matrices.txt; nil is infinity.
type fractions [][]*big.Rat

// readMatrices reads matrices.txt: the matrices of each family by their names.
func readMatrices(t *testing.T) map[string]map[string]fractions {
	t.Helper()
	all := map[string]map[string]fractions{}
	var family, name string
	for line := range strings.Lines(matricesText) {
		line, _, _ = strings.Cut(line, "#")
		fields := strings.Fields(line)
		switch {
		case len(fields) == 0:
		case fields[0] == "family":
			family = fields[1]
			all[family] = map[string]fractions{}
		case line[0] != ' ':
			name = strings.Join(fields, " ")
		default:
			var row []*big.Rat
			for _, f := range fields {
				x, ok := new(big.Rat).SetString(f)
				if !ok && f != "inf" {
					t.Fatalf("%s, %s: %q is no fraction", family, name, f)
				}
				row = append(row, x)
			}
			all[family][name] = append(all[family][name], row)
		}
	}
	return all
}

// sized is the matrix of a name for tiles of m outputs.
func sized(of map[string]fractions, name string, m int) fractions {
	return of[fmt.Sprintf("%s %d", name, m)]
}

// dims are the numbers of rows and columns, which have to be the same in all rows.
func (f fractions) dims() [2]int {
	if len(f) == 0 {
		return [2]int{}
	}
	for _, row := range f {
		if len(row) != len(f[0]) {
			return [2]int{-1, -1}
		}
	}
	return [2]int{len(f), len(f[0])}
}

// column is column j in float32, with zeros behind it.
func (f fractions) column(j int) (c line) {
	for i := range f {
		c[i], _ = f[i][j].Float32()
	}
	return c
}

func (f fractions) transposed() fractions {
	t := make(fractions, len(f[0]))
	for _, row := range f {
		for j, x := range row {
			t[j] = append(t[j], x)
		}
	}
	return t
}

func (f fractions) times(g fractions) fractions {
	p := make(fractions, len(f))
	for i, row := range f {
		for j := range g[0] {
			sum := new(big.Rat)
			for k, x := range row {
				sum.Add(sum, new(big.Rat).Mul(x, g[k][j]))
			}
			p[i] = append(p[i], sum)
		}
	}
	return p
}

// algorithms are the families by their names in matrices.txt.
var algorithms = map[string]*algorithm{"f2": &wino2, "f4": &wino4, "f6": &wino6, "up": &winoUp}

// Every family has matrices for its tiles' sizes, and of the right sizes, and no others.
func TestMatricesAreComplete(t *testing.T) {
	all := readMatrices(t)
	if len(all) != len(algorithms) {
		t.Errorf("%d families, want %d", len(all), len(algorithms))
	}
	for family, a := range algorithms {
		side := a.side()
		want := map[string][2]int{"points": {1, side}, "G": {side, a.taps}}
		for _, m := range a.sizes {
			want[fmt.Sprintf("A^T %d", m)] = [2]int{m, a.points(m)}
			want[fmt.Sprintf("B^T %d", m)] = [2]int{a.points(m), a.points(m)}
		}
		if family == "up" {
			want["taps even"], want["taps odd"] = [2]int{a.taps, 3}, [2]int{a.taps, 3}
		}
		for name, dims := range want {
			if got := all[family][name].dims(); got != dims {
				t.Errorf("%s, %s: %v rows and columns, want %v", family, name, got, dims)
			}
		}
		if len(all[family]) != len(want) {
			t.Errorf("%s: %d matrices, want %d", family, len(all[family]), len(want))
		}
	}
}

// In exact fractions, A^T [(G g) * (B^T d)] is the sum of d[i+k] g[k], for all pairs of unit vectors g and d, and with it for
// all g and d, as both are linear in each.
func TestMatricesComputeConvolutions(t *testing.T) {
	for family, of := range readMatrices(t) {
		a := algorithms[family]
		for _, m := range a.sizes {
			at, bt := sized(of, "A^T", m), sized(of, "B^T", m)
			for k := range a.taps {
				for j := range a.points(m) {
					for i := range m {
						y, want := new(big.Rat), new(big.Rat)
						for p := range a.points(m) {
							product := new(big.Rat).Mul(of["G"][p][k], bt[p][j])
							y.Add(y, product.Mul(product, at[i][p]))
						}
						if j == i+k {
							want.SetInt64(1)
						}
						if y.Cmp(want) != 0 {
							t.Errorf("%s, %d outputs: y[%d] has %v of d[%d] g[%d], want %v", family, m, i, y, j, k, want)
						}
					}
				}
			}
		}
	}
}

// Column i of A^T has the powers of point i, as it says.
func TestMatricesHaveTheirPoints(t *testing.T) {
	for family, of := range readMatrices(t) {
		for _, m := range algorithms[family].sizes {
			for p, point := range of["points"][0][:algorithms[family].points(m)] {
				power := big.NewRat(1, 1)
				for i, row := range sized(of, "A^T", m) {
					want := power
					if point == nil {
						want = big.NewRat(int64((i+1)/m), 1)
					} else {
						power = new(big.Rat).Mul(power, point)
					}
					if row[p].Cmp(want) != 0 {
						t.Errorf("%s, %d outputs: A^T has %v in row %d at point %v, want %v", family, m, row[p], i, point, want)
					}
				}
			}
		}
	}
}

// The two taps of each parity are the convolution of the image that was doubled, whose pixel j is pixel j/2 of the small one.
func TestTapsOfParitiesConvolveTheDoubledImage(t *testing.T) {
	of := readMatrices(t)["up"]
	for parity, name := range []string{"taps even", "taps odd"} {
		for tap := range 3 {
			var want [2]int64 // taps on the window's pixels, which begins at pixel parity-1
			pixel := (parity+tap+1)/2 - 1
			want[pixel-(parity-1)]++
			for k, w := range want {
				if got := of[name][k][tap]; got.Cmp(big.NewRat(w, 1)) != 0 {
					t.Errorf("%s: h[%d] has %v of g[%d], want %d", name, k, got, tap, w)
				}
			}
		}
	}
}

// filterOf is the filter's transform, of three taps, at some parities' outputs.
func filterOf(of map[string]fractions, parity int) fractions {
	if fold := of[[]string{"taps even", "taps odd"}[parity]]; fold != nil {
		return of["G"].times(fold)
	}
	return of["G"]
}

// The plain Go rows are these matrices, entry by entry.
func TestPlainRowsAreTheMatrices(t *testing.T) {
	for family, of := range readMatrices(t) {
		a := algorithms[family]
		check := func(what string, f func(line) line, want fractions) {
			t.Helper()
			for j := range want[0] {
				var unit line
				unit[j] = 1
				if got, column := f(unit), want.column(j); got != column {
					t.Errorf("%s, %s: %v of unit vector %d, want %v", family, what, got, j, column)
				}
			}
		}
		for _, m := range a.sizes {
			check(fmt.Sprintf("B^T %d", m), func(d line) line { return a.input(m, d) }, sized(of, "B^T", m))
			check(fmt.Sprintf("A^T %d", m), func(v line) line { return a.output(m, v) }, sized(of, "A^T", m))
			check(fmt.Sprintf("A %d", m), func(y line) (r line) {
				r = a.gradient(m, y)
				clear(r[a.points(m):]) // nobody reads what is behind a smaller tile's points
				return r
			}, sized(of, "A^T", m).transposed())
		}
		for parity := range 2 {
			check(fmt.Sprintf("G, parity %d", parity), func(g line) line { return a.filter(parity, g) }, filterOf(of, parity))
		}
		check("G^T", a.filterGradient, of["G"].transposed())
	}
}

// At every level, the transforms in two dimensions of unit tiles of all sizes are the products of the matrices' entries: 16
// channels at a time, each with a unit of its own.
func TestTransformsAreTheMatrices(t *testing.T) {
	all := readMatrices(t)
	kerneltest.ForLevels(t, func(t *testing.T, _ cpu.Level) {
		k := of(cpu.This())
		for i, family := range []string{F2: "f2", F4: "f4", F6: "f6", Up: "up"} {
			m, f := all[family], k.family(Family(i))
			if !slices.Equal(f.sizes, algorithms[family].sizes) || f.taps != algorithms[family].taps {
				t.Errorf("%s: tiles of %v outputs, %d taps", family, f.sizes, f.taps)
			}
			u := unitTiles{t, k, f.points(f.whole())}
			for _, rows := range f.sizes {
				for _, cols := range f.sizes {
					what := fmt.Sprintf("%s, %dx%d outputs: ", family, rows, cols)
					u.planes(what+"B^T d B", f.input, rows, cols, sized(m, "B^T", rows), sized(m, "B^T", cols))
					u.planes(what+"A y A^T", f.gradient, rows, cols, sized(m, "A^T", rows).transposed(), sized(m, "A^T", cols).transposed())
					u.pixels(what+"A^T v A", rows, cols, f.output, sized(m, "A^T", rows), sized(m, "A^T", cols))
				}
			}
			for phase := range 4 {
				u.filter(fmt.Sprintf("%s, parities %d: G g G^T", family, phase), f.filter, phase, filterOf(m, phase/2), filterOf(m, phase%2))
			}
			g := m["G"].transposed()
			for _, transform := range []func(*byte){f.filterGradient, f.filterGradientStream} {
				if transform != nil {
					u.filterGradient(family+": G^T u G", transform, f.taps, g)
				}
			}
		}
	})
}

// unitTiles runs a level's transforms of one family.
type unitTiles struct {
	*testing.T
	*kernels
	side int // points in each dimension
}

// check compares what became of the unit at (y, x) with column y of the rows' matrix times column x of the columns'.
func (u *unitTiles) check(what string, y, x int, rows, cols fractions, got func(i, j int) float32) {
	u.Helper()
	for i := range rows {
		for j := range cols {
			want, _ := new(big.Rat).Mul(rows[i][y], cols[j][x]).Float64()
			if e := math.Abs(float64(got(i, j)) - want); !(e <= 0x1p-22*math.Abs(want)) {
				u.Fatalf("%s: unit (%d, %d) gives %v at (%d, %d), want %v", what, y, x, got(i, j), i, j, want)
			}
		}
	}
}

// tile is a tile of rows x cols outputs, or pixels, with 16 channels, of an image of h x w pixels that it begins at, with planes
// of 16 floats.
func (u *unitTiles) tile(rows, cols, h, w int, image, data []float32) *tile {
	p := &tile{image: &image[0], outside: &make([]float32, 16)[0], data: &data[0], plane: 64, count: 16 / u.lanes, init: &make([]float32, 16)[0], rows: rows, cols: cols}
	p.view = view{h: h, w: w, row: uintptr(64 * w), pixel: 64}
	return p
}

// run runs a transform from or to so many rows of pixels.
func (u *unitTiles) run(p *tile, f func(*byte), rows int) {
	w := worker{kernels: u.kernels, tile: *p}
	w.onPixels(f, rows)
}

// planes checks a transform of pixels to planes.
func (u *unitTiles) planes(what string, f func(*byte), rows, cols int, byRows, byCols fractions) {
	h, w := len(byRows[0]), len(byCols[0])
	for first := 0; first < h*w; first += 16 {
		image, data := make([]float32, 16*h*w), kerneltest.Garbage(16*u.side*u.side)
		units := min(16, h*w-first)
		for c := range units {
			image[16*(first+c)+c] = 1
		}
		u.run(u.tile(rows, cols, h, w, image, data), f, h)
		for c := range units {
			u.check(what, (first+c)/w, (first+c)%w, byRows, byCols, func(i, j int) float32 { return data[16*(u.side*i+j)+c] })
		}
	}
}

// pixels checks a transform of planes to pixels.
func (u *unitTiles) pixels(what string, rows, cols int, f func(*byte), byRows, byCols fractions) {
	h, w := len(byRows[0]), len(byCols[0])
	for first := 0; first < h*w; first += 16 {
		image, data := kerneltest.Garbage(16*rows*cols), make([]float32, 16*u.side*u.side)
		units := min(16, h*w-first)
		for c := range units {
			data[16*(u.side*((first+c)/w)+(first+c)%w)+c] = 1
		}
		u.run(u.tile(rows, cols, rows, cols, image, data), f, rows)
		for c := range units {
			u.check(what, (first+c)/w, (first+c)%w, byRows, byCols, func(i, j int) float32 { return image[16*(cols*i+j)+c] })
		}
	}
}

// filter checks the filter's transform, of one input channel a unit and a vector of output channels, for the parities of a phase.
func (u *unitTiles) filter(what string, f func(*byte), phase int, byRows, byCols fractions) {
	taps, data := make([]float32, 9*9*16), kerneltest.Garbage(u.side*u.side*9*16)
	for unit := range 9 {
		for l := range u.lanes {
			taps[(9*unit+unit)*16+l] = 1 // [tap][input channel][16]
		}
	}
	p := u.tile(phase/2, phase%2, 0, 0, taps, data)
	p.row, p.pixel, p.step, p.plane, p.count = 9*64, 64, 64, 9*64, 9
	p.call(f)
	for unit := range 9 {
		for l := range u.lanes {
			u.check(what, unit/3, unit%3, byRows, byCols, func(i, j int) float32 { return data[((u.side*i+j)*9+unit)*16+l] })
		}
	}
}

// filterGradient checks its transpose.
func (u *unitTiles) filterGradient(what string, f func(*byte), taps int, g fractions) {
	n := u.side * u.side
	data := make([]float32, n*n*16)
	result := kerneltest.Garbage(taps*taps*n*16 + 16)
	for uintptr(unsafe.Pointer(&result[0]))%64 != 0 {
		result = result[1:] // whole lines, for the stores past the caches
	}
	for unit := range n {
		for l := range u.lanes {
			data[(n*unit+unit)*16+l] = 1 // [plane][input channel][16]
		}
	}
	p := u.tile(0, 0, 0, 0, result, data)
	p.row, p.pixel, p.step, p.plane, p.count = uintptr(64*n), 64, 64, uintptr(64*n), n
	p.call(f)
	for unit := range n {
		for l := range u.lanes {
			u.check(what, unit/u.side, unit%u.side, g, g, func(i, j int) float32 { return result[((taps*i+j)*n+unit)*16+l] })
		}
	}
}
