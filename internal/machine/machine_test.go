package machine

import "testing"

func TestPeakRSSCoversWhatIsTouched(t *testing.T) {
	const size = 64 << 20
	block := make([]byte, size)
	for i := 0; i < size; i += 4096 {
		block[i] = 1
	}
	got, err := PeakRSS()
	if err != nil {
		t.Fatal(err)
	}
	if got < size || block[4096] != 1 {
		t.Errorf("%d bytes with %d touched", got, size)
	}
}

func TestCPUHasAName(t *testing.T) {
	if CPU() == "" {
		t.Error("no name")
	}
}

// A shortage of a little is told as one: what is needed and what there is are not the same number.
func TestAShortageOfALittleIsTold(t *testing.T) {
	t.Setenv(MemoryVariable, "3000000")
	err := Fit(1, func(int) (int64, error) { return 2_850_000, nil })
	const want = "2.9 MB of memory are needed, more than 90 % of the 3 MB available (UNSTIR_MEMORY)"
	if err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
}
