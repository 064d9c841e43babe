package safetensors_test

import (
	"bytes"
	"context"
	"fmt"
	"log"

	"unstir/checkpoints/safetensors"
)

func ExampleWrite() {
	weight := []float32{1, 2, 3, 4, 5, 6}
	var file bytes.Buffer
	err := safetensors.Write(context.Background(), &file, []safetensors.Tensor{
		{Name: "linear.weight", Shape: []int{2, 3}, Fill: func(dst []float32) { copy(dst, weight) }},
		{Name: "linear.bias", Shape: []int{2}, Fill: func(dst []float32) { dst[0], dst[1] = 0.5, -0.5 }},
	}, safetensors.Options{})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(file.Len(), "bytes")
	// Output: 208 bytes
}

func ExampleReader_ReadFloat32() {
	var file bytes.Buffer
	safetensors.Write(context.Background(), &file, []safetensors.Tensor{
		{Name: "linear.bias", Shape: []int{2}, Fill: func(dst []float32) { dst[0], dst[1] = 0.5, -0.5 }},
	}, safetensors.Options{DType: safetensors.F16})

	// From a file: safetensors.Open("model.safetensors"), and Close at the end.
	r, err := safetensors.NewReader(bytes.NewReader(file.Bytes()), int64(file.Len()), "model.safetensors")
	if err != nil {
		log.Fatal(err)
	}
	for _, name := range r.Names() {
		info, _ := r.Lookup(name)
		values := make([]float32, info.Len())
		if err := r.ReadFloat32(name, values); err != nil {
			log.Fatal(err)
		}
		fmt.Println(name, info.DType, info.Shape, values)
	}
	err = r.ReadFloat32("linear.biass", make([]float32, 2))
	fmt.Println(err)
	// Output:
	// linear.bias F16 [2] [0.5 -0.5]
	// model.safetensors: no tensor "linear.biass" (of 1; the most alike is "linear.bias")
}
