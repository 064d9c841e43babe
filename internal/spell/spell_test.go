package spell

import (
	"strings"
	"testing"
)

func TestDistance(t *testing.T) {
	for _, tc := range []struct {
		a, b string
		want int
	}{{"", "", 0}, {"lr", "", 2}, {"lr", "rl", 1}, {"steps", "stpes", 1}, {"every", "ever", 1}, {"kitten", "sitting", 3},
		{"thé", "the", 1}, {strings.Repeat("a", 65), "a", 65}} {
		if got := Distance(tc.a, tc.b); got != tc.want {
			t.Errorf("Distance(%q, %q) = %d, want %d", tc.a, tc.b, got, tc.want)
		}
	}
}
