package unstir

import (
	"context"
	"errors"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"slices"
	"testing"
)

// An exported pipeline is diffusers' five files and opens as the same model: with the same bits, or in half precision
// within its rounding.
func TestExportOpensAgain(t *testing.T) {
	p := testPipeline(t, testConfig())
	x := append(p.InitialNoise(1, 0), p.InitialNoise(1, 1)...)
	want, err := p.Predict(context.Background(), x, []int{3, 900}, nil)
	if err != nil {
		t.Fatal(err)
	}
	sizes := map[bool]int64{}
	for _, half := range []bool{false, true} {
		dir := filepath.Join(t.TempDir(), "deep", "model")
		if err := p.Export(context.Background(), dir, ExportOptions{Float16: half}); err != nil {
			t.Fatal(err)
		}
		var files []string
		filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
			if err == nil && !d.IsDir() {
				rel, _ := filepath.Rel(dir, path)
				files = append(files, filepath.ToSlash(rel))
			}
			return err
		})
		if list := []string{"model_index.json", "scheduler/scheduler_config.json", "unet/config.json", "unet/diffusion_pytorch_model.safetensors"}; !slices.Equal(files, list) {
			t.Errorf("the directory has %v, want %v", files, list)
		}
		info, err := os.Stat(filepath.Join(dir, "unet", "diffusion_pytorch_model.safetensors"))
		if err != nil {
			t.Fatal(err)
		}
		sizes[half] = info.Size()
		q, err := Open(context.Background(), dir)
		if err != nil {
			t.Fatal(err)
		}
		got, err := q.Predict(context.Background(), x, []int{3, 900}, nil)
		if err != nil {
			t.Fatal(err)
		}
		if !half {
			sameImage(t, "the prediction", got, want)
			continue
		}
		var largest float64
		for _, v := range want {
			largest = math.Max(largest, math.Abs(float64(v)))
		}
		if _, e := rmsOf(got, want); e == 0 || e > 5e-3*largest {
			t.Errorf("in half precision the prediction is off by %.2g of its largest value", e/largest)
		}
	}
	if float64(sizes[true]) > 0.75*float64(sizes[false]) {
		t.Errorf("half precision takes %d bytes of %d", sizes[true], sizes[false])
	}
}

// What is there already stays as it is.
func TestExportRefusesToOverwrite(t *testing.T) {
	p := testPipeline(t, testConfig())
	dir := t.TempDir() // empty: it may be filled
	if err := p.Export(context.Background(), dir, ExportOptions{}); err != nil {
		t.Fatal(err)
	}
	if err := p.Export(context.Background(), dir, ExportOptions{}); !errors.Is(err, fs.ErrExist) {
		t.Errorf("error %v, want fs.ErrExist", err)
	}
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, []byte("mine"), 0o666); err != nil {
		t.Fatal(err)
	}
	if err := p.Export(context.Background(), file, ExportOptions{}); !errors.Is(err, fs.ErrExist) {
		t.Errorf("error %v, want fs.ErrExist", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	parent := t.TempDir()
	if err := p.Export(ctx, filepath.Join(parent, "model"), ExportOptions{}); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v, want context.Canceled", err)
	}
	if left, err := os.ReadDir(parent); err != nil || len(left) > 0 {
		t.Errorf("a cancelled export left %v, %v", left, err)
	}
}
