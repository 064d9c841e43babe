package cpu

import (
	"strings"
	"testing"
)

func TestReadEnvironment(t *testing.T) {
	for _, c := range []struct {
		cpu, conv string
		level     Level
		direct    bool
		wrong     string
	}{
		{"", "", best(), false, ""},
		{"generic", "", Generic, false, ""},
		{"generic", "direct", Generic, true, ""},
		{"", "direct", best(), true, ""},
		{"", "fast", best(), false, "UNSTIR_CONV"},
		{"sse9", "", best(), false, "UNSTIR_CPU"},
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
	if l := best() + 1; l <= AVX512 && SetLevel(l) == nil {
		t.Errorf("SetLevel(%v) succeeded although the best level is %v", l, best())
	}
}
