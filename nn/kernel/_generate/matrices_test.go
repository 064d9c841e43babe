package main

import (
	"flag"
	"fmt"
	"math"
	"math/big"
	"os"
	"strings"
	"testing"

	"github.com/mmcloughlin/avo/attr"
	. "github.com/mmcloughlin/avo/build"
	"github.com/mmcloughlin/avo/ir"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/pass"
)

// The passes of Winograd's transforms are the matrices of the package's matrices.txt: each is written as instructions, and these
// are computed in exact fractions, where a constant is the simple fraction that it rounds.
func TestPassesAreTheMatrices(t *testing.T) {
	text, err := os.ReadFile("../internal/winograd/matrices.txt")
	if err != nil {
		t.Fatal(err)
	}
	all := readMatrices(string(text))
	newTable("constants")
	var passes []*emitted
	for _, s := range []isa{avx512, avx2} {
		for _, a := range []algorithm{wino2, wino4, wino6, winoUp} {
			of := all[a.field]
			if got, want := a.side(), len(of["points"][0]); got != want {
				t.Errorf("%s: %d points, want %d", a.field, got, want)
			}
			add := func(name string, f linear, m int, constants []float32, want [][]*big.Rat) {
				if len(want) == 0 {
					t.Errorf("%s: no matrix for %s %d", a.field, name, m)
					return
				}
				passes = append(passes, a.emit(s, name, f, m, constants, want))
			}
			for _, m := range a.sizes {
				output := of[fmt.Sprintf("A^T %d", m)]
				add("input", a.input, m, a.inputs, of[fmt.Sprintf("B^T %d", m)])
				add("output", a.output, m, a.outputs, output)
				add("gradient", a.gradient, m, a.outputs, transposed(output))
			}
			for _, parity := range a.phases {
				filter := of["G"]
				if fold := of[[]string{"taps even", "taps odd"}[parity]]; fold != nil {
					filter = product(filter, fold)
				}
				add("filter", a.filter, parity, a.filters, filter)
			}
			add("filterGradient", a.filterGradient, 0, a.filterGradients, transposed(of["G"]))
		}
	}
	functions := map[string]*ir.Function{}
	for _, f := range written(t).Functions() {
		functions[f.Name] = f
	}
	for _, p := range passes {
		p.check(t, functions[p.name])
	}
}

// readMatrices reads the matrices of each family by their names; infinity is nil.
func readMatrices(text string) map[string]map[string][][]*big.Rat {
	all := map[string]map[string][][]*big.Rat{}
	var family, name string
	for line := range strings.Lines(text) {
		line, _, _ = strings.Cut(line, "#")
		fields := strings.Fields(line)
		switch {
		case len(fields) == 0:
		case fields[0] == "family":
			family = fields[1]
			all[family] = map[string][][]*big.Rat{}
		case line[0] != ' ':
			name = strings.Join(fields, " ")
		default:
			var row []*big.Rat
			for _, f := range fields {
				x, _ := new(big.Rat).SetString(f)
				row = append(row, x)
			}
			all[family][name] = append(all[family][name], row)
		}
	}
	return all
}

func transposed(m [][]*big.Rat) (t [][]*big.Rat) {
	for i, row := range m {
		if i == 0 {
			t = make([][]*big.Rat, len(row))
		}
		for j, x := range row {
			t[j] = append(t[j], x)
		}
	}
	return t
}

func product(a, b [][]*big.Rat) [][]*big.Rat {
	p := make([][]*big.Rat, len(a))
	for i, row := range a {
		p[i] = make([]*big.Rat, len(b[0]))
		for j := range b[0] {
			p[i][j] = new(big.Rat)
			for k, x := range row {
				p[i][j].Add(p[i][j], new(big.Rat).Mul(x, b[k][j]))
			}
		}
	}
	return p
}

// emitted is a pass as a function of its own.
type emitted struct {
	name      string
	in, out   map[int]vec
	constants map[vec]float32 // in registers
	want      [][]*big.Rat    // [out][in]
}

// emit writes a pass.
func (a algorithm) emit(s isa, name string, f linear, m int, constants []float32, want [][]*big.Rat) *emitted {
	e := &emitted{fmt.Sprintf("%s_%s_%s_%d", a.field, name, s.suffix, m), map[int]vec{}, map[int]vec{}, map[vec]float32{}, want}
	TEXT(e.name, attr.NOSPLIT, "func()")
	t := &transform{isa: s, algorithm: a, c: map[float32]Op{}}
	for _, c := range constants {
		t.c[c] = s.constantOp(c)
		if v, ok := t.c[c].(vec); ok {
			e.constants[v] = c
		}
	}
	// A vector that was stored may be changed in place afterwards.
	f(t, m, func(i int) vec { e.in[i] = s.vec(); return e.in[i] }, func(i int, v vec) { e.out[i] = s.copy(v) })
	RET()
	return e
}

// written is the file of what was written so far.
func written(t *testing.T) (file *ir.File) {
	t.Helper()
	old := pass.Compile
	defer func() { pass.Compile = old }()
	pass.Compile = pass.Concat(pass.Func(func(f *ir.File) error {
		copied := *f
		file, f.Sections = &copied, nil // so that nothing is printed of it
		return nil
	}))
	if err := flag.Set("out", os.DevNull); err != nil {
		t.Fatal(err)
	}
	Generate()
	return file
}

// check computes the pass on unit vectors.
func (e *emitted) check(t *testing.T, f *ir.Function) {
	if len(e.out) != len(e.want) {
		t.Errorf("%s stores %d vectors, want %d", e.name, len(e.out), len(e.want))
		return
	}
	for j := range e.want[0] {
		value := map[Op]*big.Rat{}
		for v, c := range e.constants {
			value[v] = simplest(t, c)
		}
		for i, v := range e.in {
			value[v] = big.NewRat(int64(1-min(1, max(i-j, j-i))), 1)
		}
		get := func(op Op) *big.Rat {
			if m, ok := op.(Mem); ok {
				return simplest(t, constantAt(m.Disp))
			}
			if value[op] == nil {
				t.Fatalf("%s reads what is not there: %v", e.name, op)
			}
			return value[op]
		}
		for _, i := range f.Instructions() {
			o := i.Operands
			if len(o) < 2 || i.Opcode == "VBROADCASTSS" { // a constant
				continue
			}
			r, a, to := new(big.Rat), get(o[0]), o[len(o)-1]
			switch i.Opcode {
			case "VMOVAPS":
				r.Set(a)
			case "VADDPS":
				r.Add(get(o[1]), a)
			case "VSUBPS":
				r.Sub(get(o[1]), a)
			case "VMULPS":
				r.Mul(get(o[1]), a)
			case "VFMADD231PS":
				r.Add(get(to), r.Mul(get(o[1]), a))
			case "VFNMADD231PS":
				r.Sub(get(to), r.Mul(get(o[1]), a))
			default:
				t.Fatalf("%s has a %s", e.name, i.Opcode)
			}
			value[to] = r
		}
		for i, row := range e.want {
			if v := e.out[i]; v == nil || get(v).Cmp(row[j]) != 0 {
				t.Errorf("%s: result %d has %v of vector %d, want %v", e.name, i, get(v), j, row[j])
			}
		}
	}
}

// constantAt is the constant that lies so many bytes from the beginning of the table.
func constantAt(at int) float32 {
	for bits, offset := range table.offset {
		if offset == at {
			return math.Float32frombits(bits)
		}
	}
	return float32(math.NaN())
}

// simplest is the fraction with the least denominator that rounds to a constant.
func simplest(t *testing.T, c float32) *big.Rat {
	t.Helper()
	for d := int64(1); d <= 1000; d++ {
		r := big.NewRat(int64(math.Round(float64(c)*float64(d))), d)
		if got, _ := r.Float32(); got == c {
			return r
		}
	}
	t.Fatalf("%v rounds no simple fraction", c)
	return nil
}
