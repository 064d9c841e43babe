package main

import (
	"encoding/hex"
	"strings"
	"testing"

	"github.com/mmcloughlin/avo/ir"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// PREFETCHW differs from PREFETCHT0 in the second byte of the opcode only, 0D for 18. The bytes here are those that Go's
// assembler writes for PREFETCHT0.
func TestPrefetchWIsEncodedLikePrefetchT0(t *testing.T) {
	for _, c := range []struct {
		m          Mem
		prefetchT0 string
	}{
		{Mem{Base: reg.RAX}, "0f1808"},
		{Mem{Base: reg.RSP}, "0f180c24"},
		{Mem{Base: reg.RBP}, "0f184d00"},
		{Mem{Base: reg.R9}, "410f1809"},
		{Mem{Base: reg.R12}, "410f180c24"},
		{Mem{Base: reg.R13}, "410f184d00"},
		{Mem{Base: reg.RDI, Disp: 127}, "0f184f7f"},
		{Mem{Base: reg.R8, Disp: -128}, "410f184880"},
		{Mem{Base: reg.RSI, Disp: 128}, "0f188e80000000"},
		{Mem{Base: reg.R15, Disp: -129}, "410f188f7fffffff"},
		{Mem{Base: reg.RSP, Disp: -8}, "0f184c24f8"},
		{Mem{Base: reg.R12, Disp: 512}, "410f188c2400020000"},
		{Mem{Base: reg.RBX, Disp: 1<<31 - 1}, "0f188bffffff7f"},
		{Mem{Base: reg.R13, Disp: -1 << 31}, "410f188d00000080"},
		{Mem{Base: reg.RCX, Index: reg.RDX, Scale: 1}, "0f180c11"},
		{Mem{Base: reg.RBP, Index: reg.RAX, Scale: 2}, "0f184c4500"},
		{Mem{Base: reg.R13, Index: reg.RBX, Scale: 4}, "410f184c9d00"},
		{Mem{Base: reg.RSP, Index: reg.RSI, Scale: 8}, "0f180cf4"},
		{Mem{Base: reg.RSI, Index: reg.R11, Scale: 1, Disp: 512}, "420f188c1e00020000"},
		{Mem{Base: reg.R12, Index: reg.R12, Scale: 1, Disp: 64}, "430f184c2440"},
		{Mem{Base: reg.R10, Index: reg.RBP, Scale: 2, Disp: -64}, "410f184c6ac0"},
		{Mem{Base: reg.R14, Index: reg.R13, Scale: 8, Disp: -4096}, "430f188cee00f0ffff"},
	} {
		code, err := encodePrefetchW(c.m)
		if want := strings.Replace(c.prefetchT0, "0f18", "0f0d", 1); err != nil || hex.EncodeToString(code) != want {
			t.Errorf("%s: %x, %v, not %s", c.m.Asm(), code, err, want)
		}
	}
}

func TestPrefetchWRefusesWhatHasNoEncoding(t *testing.T) {
	for _, m := range []Mem{
		{},
		{Base: reg.EAX},
		{Base: reg.Y1},
		{Base: reg.FramePointer},
		{Base: reg.NewCollection().GP64()},
		{Base: reg.RAX, Index: reg.RSP, Scale: 1},
		{Base: reg.RAX, Index: reg.ECX, Scale: 1},
		{Base: reg.RAX, Index: reg.RCX, Scale: 3},
		{Base: reg.RAX, Index: reg.RCX, Scale: 16},
		{Base: reg.RAX, Disp: 1 << 31},
		NewParamAddr("p", 8),
		NewDataAddr(Symbol{Name: "table"}, 8),
	} {
		if code, err := encodePrefetchW(m); err == nil {
			t.Errorf("%+v: %x", m, code)
		}
	}
}

func TestPrefetchWIsSpelledAsBytes(t *testing.T) {
	m := Mem{Base: reg.RSI, Index: reg.R11, Scale: 1, Disp: 512}
	i := &ir.Instruction{Opcode: "PREFETCHW", Operands: []Op{m}}
	want := "BYTE $0x42; BYTE $0x0f; BYTE $0x0d; BYTE $0x8c; BYTE $0x1e; BYTE $0x00; BYTE $0x02; BYTE $0x00; BYTE $0x00 // PREFETCHW 512(SI)(R11*1)"
	if err := spellPrefetchW(i); err != nil || i.Opcode != want || len(i.Operands) > 0 {
		t.Errorf("%+v, %v", i, err)
	}
	i = &ir.Instruction{Opcode: "PREFETCHT0", Operands: []Op{m}}
	if err := spellPrefetchW(i); err != nil || i.Opcode != "PREFETCHT0" || len(i.Operands) != 1 {
		t.Errorf("%+v, %v", i, err)
	}
}
