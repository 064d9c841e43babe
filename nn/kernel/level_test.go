package kernel

import (
	"strings"
	"testing"
)

// forLevels runs f once per level that the machine has.
func forLevels(t *testing.T, f func(t *testing.T, l Level)) {
	t.Helper()
	old := ActiveLevel()
	for l := Generic; l <= bestLevel(); l++ {
		if err := SetLevel(l); err != nil {
			t.Fatal(err)
		}
		t.Run(l.String(), func(t *testing.T) { f(t, l) })
	}
	if err := SetLevel(old); err != nil {
		t.Fatal(err)
	}
}

func TestReadEnvironment(t *testing.T) {
	for _, c := range []struct {
		cpu, conv string
		level     Level
		direct    bool
		wrong     string
	}{
		{"", "", bestLevel(), false, ""},
		{"generic", "", Generic, false, ""},
		{"generic", "direct", Generic, true, ""},
		{"", "direct", bestLevel(), true, ""},
		{"", "fast", bestLevel(), false, "UNSTIR_CONV"},
		{"sse9", "", bestLevel(), false, "UNSTIR_CPU"},
	} {
		level, direct, err := readEnvironment(c.cpu, c.conv)
		if level != c.level || direct != c.direct {
			t.Errorf("UNSTIR_CPU=%q UNSTIR_CONV=%q: level %v, direct %v", c.cpu, c.conv, level, direct)
		}
		if (err == nil) != (c.wrong == "") || err != nil && !strings.Contains(err.Error(), c.wrong) {
			t.Errorf("UNSTIR_CPU=%q UNSTIR_CONV=%q: error %v", c.cpu, c.conv, err)
		}
	}
}

func TestSetLevelRefusesWhatTheCPULacks(t *testing.T) {
	for _, l := range []Level{-1, AVX512 + 1} {
		if SetLevel(l) == nil {
			t.Errorf("SetLevel(%d) succeeded", int(l))
		}
	}
	if l := bestLevel() + 1; l <= AVX512 && SetLevel(l) == nil {
		t.Errorf("SetLevel(%v) succeeded although the best level is %v", l, bestLevel())
	}
}

// needAVX512 skips a test that compares AVX-512 with AVX2 where there is no AVX-512, and says what is not tested then.
func needAVX512(t *testing.T) {
	t.Helper()
	if bestLevel() < AVX512 {
		t.Skip("SKIP: no AVX-512 in this machine or build: that it gives the bits of AVX2 is not tested")
	}
}
