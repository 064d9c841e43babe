package metrics

import (
	"encoding/json"
	"os"
	"testing"
)

// The statistics are those of torch-fidelity, clean-fid and prdc on the same features; testdata/README.md has the versions.
func TestAgreesWithOutsideTools(t *testing.T) {
	samples, err := ReadFeatures("testdata/samples.npy")
	if err != nil {
		t.Fatal(err)
	}
	references, err := ReadFeatures("testdata/references.npy")
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile("testdata/outside.json")
	if err != nil {
		t.Fatal(err)
	}
	var outside map[string]map[string]float64
	if err := json.Unmarshal(text, &outside); err != nil {
		t.Fatal(err)
	}
	frechet, err := Frechet(samples, references)
	if err != nil {
		t.Fatal(err)
	}
	mean, std, err := Kernel(t.Context(), samples, references, 0)
	if err != nil {
		t.Fatal(err)
	}
	m, err := CompareManifolds(t.Context(), samples, references, Neighbours)
	if err != nil {
		t.Fatal(err)
	}
	compared := 0
	for name, got := range map[string]float64{
		"frechet": frechet, "kernel_mean": mean, "kernel_std": std,
		"precision": m.Precision, "recall": m.Recall, "density": m.Density, "coverage": m.Coverage,
	} {
		for tool, want := range outside[name] {
			compared++
			switch {
			case tool == "torch-fidelity" && (name == "precision" || name == "recall"):
				near(t, name+" beside "+tool, got, want, 0, 1e-7) // which takes the mean in float32
			default:
				near(t, name+" beside "+tool, got, want, 1e-12, 1e-14)
			}
		}
	}
	if compared != 11 {
		t.Errorf("%d values compared, want 11", compared)
	}
}
