package checkpoints

import (
	"os"
	"testing"

	"unstir/internal/errortest"
)

// A pipeline in a file system has what the directory of it has.
func TestOpenFS(t *testing.T) {
	p := pipeline(t)
	m, err := OpenFS(os.DirFS(p), ".")
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	want := opens(t, p)
	if v := read(t, m.Weights, "conv_in.bias"); v[0] != 60 {
		t.Errorf("conv_in.bias is %v", v)
	}
	if string(m.UNet) != string(want.UNet) || string(m.Scheduler) != string(want.Scheduler) || m.State != nil || m.Raw != nil {
		t.Errorf("%+v, want %+v", m, want)
	}
}

// What is missing or something else is named.
func TestOpenFSRefuses(t *testing.T) {
	for _, name := range []string{fileIndex, fileUNet, fileScheduler, fileWeights} {
		p := pipeline(t)
		for _, text := range []string{"", "[]", `{"_class_name": "VQModel", "vqvae": ["diffusers", "VQModel"]}`} {
			if name == fileScheduler && text != "" && text != "[]" { // the scheduler's class is not this package's matter
				continue
			}
			if err := os.WriteFile(in(p, name), []byte(text), 0o666); err != nil {
				t.Fatal(err)
			}
			if _, err := OpenFS(os.DirFS(p), "."); err == nil {
				t.Errorf("%s may be %q", name, text)
			} else {
				errortest.OneLine(t, err, name)
			}
		}
		if err := os.Remove(in(p, name)); err != nil {
			t.Fatal(err)
		}
		if _, err := OpenFS(os.DirFS(p), "."); err == nil {
			t.Errorf("%s may be missing", name)
		} else {
			errortest.OneLine(t, err, name)
		}
	}
}
