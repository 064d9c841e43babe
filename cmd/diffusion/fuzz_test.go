package main

import (
	"errors"
	"strings"
	"testing"

	"unstir/internal/alloctest"
	"unstir/internal/errortest"
)

// FuzzTimesteps: whatever --t says, it is refused as a wrong use, in one line, or gives each image a timestep that the
// model was trained on.
func FuzzTimesteps(f *testing.F) {
	for _, list := range []string{"10", "10,500,999", "", ",", "1,2", " 7 ", "-1", "1000", "1e2", "0x10", "+5", "9223372036854775808", "1,\n2,\t3", "\xff", strings.Repeat("1,", 100)} {
		f.Add(list, uint8(3))
		f.Add(list, uint8(0))
	}
	f.Fuzz(func(t *testing.T, list string, images uint8) {
		n := 1 + int(images)
		var ts []int
		var err error
		alloctest.Parse(t, len(list), func() { ts, err = timesteps(list, n, 1000) })
		if err != nil {
			errortest.OneLine(t, err, "--t")
			if !isUsage(err) {
				t.Errorf("%v is not a usage error", errors.Unwrap(err))
			}
			return
		}
		if len(ts) != n {
			t.Errorf("%q: %d timesteps for %d images", list, len(ts), n)
		}
		for _, v := range ts {
			if v < 0 || v >= 1000 {
				t.Errorf("%q: timestep %d", list, v)
			}
		}
	})
}
