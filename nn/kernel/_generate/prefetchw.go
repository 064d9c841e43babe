package main

import (
	"encoding/binary"
	"fmt"
	"math/bits"
	"slices"
	"strings"

	. "github.com/mmcloughlin/avo/build"
	"github.com/mmcloughlin/avo/ir"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// prefetchW fetches m's line for writing: it may be in the other core's cache, from where it must be taken before it is
// written to. A fetch for reading leaves it shared, and the store waits all the same.
//
// Every processor with AVX2 runs PREFETCHW: Intel's fetch since Broadwell, and those before do nothing. Neither avo nor
// Go's assembler knows it; see spellPrefetchW.
func prefetchW(m Mem) {
	Instruction(&ir.Instruction{Opcode: "PREFETCHW", Operands: []Op{m}, Inputs: []Op{m}})
}

// spellPrefetchW spells a PREFETCHW, whose registers are allocated, as bytes.
func spellPrefetchW(i *ir.Instruction) error {
	if i.Opcode != "PREFETCHW" {
		return nil
	}
	m := i.Operands[0].(Mem)
	code, err := encodePrefetchW(m)
	if err != nil {
		return fmt.Errorf("PREFETCHW %s: %w", m.Asm(), err)
	}
	spelled := make([]string, len(code))
	for n, b := range code {
		spelled[n] = fmt.Sprintf("BYTE $0x%02x", b)
	}
	i.Opcode, i.Operands = strings.Join(spelled, "; ")+" // PREFETCHW "+m.Asm(), nil
	return nil
}

// encodePrefetchW is the instruction 0F 0D /1, as short as Go's assembler would write it.
func encodePrefetchW(m Mem) ([]byte, error) {
	if m.Symbol.Name != "" || m.Disp != int(int32(m.Disp)) {
		return nil, fmt.Errorf("a symbol, or a displacement of more than 32 bits")
	}
	base, err := numberOf(m.Base)
	if err != nil {
		return nil, err
	}
	var sib, displacement []byte
	rex, rm := base>>3, base&7
	if m.Index != nil && m.Scale != 0 {
		index, err := numberOf(m.Index)
		if err != nil {
			return nil, err
		}
		if index == 4 || m.Scale > 8 || bits.OnesCount8(m.Scale) != 1 {
			return nil, fmt.Errorf("no index is %s*%d", m.Index.Asm(), m.Scale)
		}
		rex |= index >> 3 << 1
		sib = []byte{byte(bits.TrailingZeros8(m.Scale))<<6 | index&7<<3 | rm}
		rm = 4
	} else if rm == 4 { // SP's and R12's number says that a byte on the index follows
		sib = []byte{4<<3 | rm}
	}
	var mod byte
	switch {
	case m.Disp == 0 && base&7 != 5: // without a displacement BP's and R13's number says something else
	case m.Disp == int(int8(m.Disp)):
		mod, displacement = 1, []byte{byte(m.Disp)}
	default:
		mod, displacement = 2, binary.LittleEndian.AppendUint32(nil, uint32(m.Disp))
	}
	var prefix []byte
	if rex != 0 {
		prefix = []byte{0x40 | rex}
	}
	return slices.Concat(prefix, []byte{0x0f, 0x0d, mod<<6 | 1<<3 | rm}, sib, displacement), nil
}

// numberOf is a 64-bit register's number in an instruction.
func numberOf(r reg.Register) (byte, error) {
	p, ok := r.(reg.Physical)
	if !ok || p.Kind() != reg.KindGP || p.Size() != 8 {
		return 0, fmt.Errorf("%v is no 64-bit general-purpose register", r)
	}
	return byte(p.PhysicalIndex()), nil
}
