package cpu

import (
	"os"
	"testing"
)

// The level that UNSTIR_CPU forces is the one that runs; without it, the best that the machine has.
func TestForcedLevelRuns(t *testing.T) {
	if err := CheckEnvironment(); err != nil {
		t.Fatal(err)
	}
	want := best().String()
	if forced := os.Getenv("UNSTIR_CPU"); forced != "" {
		want = forced
	}
	if got := This().Level.String(); got != want {
		t.Errorf("the kernels run at %s, want %s", got, want)
	}
}
