package exporttest

import (
	"slices"
	"strings"
	"testing"
)

// forUsers are what users of the library call and this module need not; the root package is for them as a whole.
var forUsers = []string{
	"unstir/checkpoints.Verify",
	"unstir/configs.Config.Equal",
	"unstir/configs.Config.Resolve",
	"unstir/configs.Config.Validate",
	"unstir/configs.Default",
	"unstir/metrics.Features.WriteFile",
	"unstir/metrics.Fit",
	"unstir/metrics.FrechetDistance",
	"unstir/metrics.NearCopies",
	"unstir/nn.Scope.CrossEntropy",
	"unstir/nn.Scope.PixelMean",
	"unstir/nn.Training.Value",
	"unstir/train.ReadLog",
}

// forTests are what tests of other packages call.
var forTests = []string{
	"unstir/internal/disk.Inject", "unstir/internal/disk.MemoryDir", "unstir/internal/samples.Name",
	"unstir/nn.Graph.Grad", "unstir/nn.Training.InputGrad",
}

// A function that is exported has a caller outside its package.
func TestEveryExportedFunctionHasACaller(t *testing.T) {
	unused, err := Unused("../..")
	if err != nil {
		t.Fatal(err)
	}
	allowed := slices.Concat(forUsers, forTests)
	for _, name := range unused {
		if !slices.Contains(allowed, name) && !strings.HasPrefix(name, "unstir.") {
			t.Errorf("%s has no caller outside its package", name)
		}
	}
	for _, name := range forTests {
		if !slices.Contains(unused, name) {
			t.Errorf("%s has a caller beside tests, or is gone: it need not be listed", name)
		}
	}
}

// In a module of two packages, what only a test calls is found, and what implements an interface is not.
func TestUnusedFindsFunctionsAndMethods(t *testing.T) {
	unused, err := Unused("testdata/module")
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"example/a.T.Unused", "example/a.Unused"}
	if !slices.Equal(unused, want) {
		t.Errorf("found %q, want %q", unused, want)
	}
}
