package checkpoints_test

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"

	"unstir/checkpoints"
)

func ExampleSave() {
	run, err := os.MkdirTemp("", "run")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(run)
	fill := func(v float32) []checkpoints.Tensor {
		return []checkpoints.Tensor{{Name: "conv_in.bias", Shape: []int{1}, Fill: func(dst []float32) { dst[0] = v }}}
	}
	_, err = checkpoints.Save(context.Background(), run, &checkpoints.Checkpoint{
		State:     checkpoints.State{Step: 2000, BatchSize: 64, Slice: 8},
		UNet:      json.RawMessage(`{"_class_name": "UNet2DModel"}`),
		Scheduler: json.RawMessage(`{"_class_name": "DDPMScheduler"}`),
		EMA:       fill(1), Raw: fill(2), ExpAvg: fill(3), ExpAvgSq: fill(4),
	})
	if err != nil {
		panic(err)
	}
	m, err := checkpoints.Open(context.Background(), run)
	if err != nil {
		panic(err)
	}
	defer m.Close()
	bias := make([]float32, 1)
	err = m.Weights.ReadFloat32("conv_in.bias", bias)
	fmt.Println(filepath.Base(m.Dir), m.State.Step, bias, err)
	// Output: step-00002000 2000 [1] <nil>
}
