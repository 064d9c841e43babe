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
