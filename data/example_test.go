package data_test

import (
	"context"
	"fmt"
	"log"

	"unstir/data"
)

// checkers is a dataset that is computed: boards of 8 x 8 pixels, the class is
// the size of a square.
type checkers struct{}

func (checkers) Info() data.Info {
	return data.Info{
		Name: "checkers", Source: "computed", Hash: "checkers v1",
		Count: 3, Channels: 1, Height: 8, Width: 8,
		Classes: []string{"1", "2", "4"},
	}
}

func (checkers) Label(i int) int { return i }

func (checkers) Image(i int, dst []byte) {
	for p := range dst {
		if (p/8>>i+p%8>>i)%2 == 0 {
			dst[p] = 255
		} else {
			dst[p] = 0
		}
	}
}

// Any type with the methods of Dataset can be trained on.
func Example_customDataset() {
	loader := data.NewLoader(checkers{}, 3, 42, false, 0)
	defer loader.Close()
	batch, err := loader.Next(context.Background())
	if err != nil {
		log.Fatal(err)
	}
	defer loader.Release(batch)
	for class := range 3 {
		for i, label := range batch.Labels {
			if label == class {
				fmt.Println(class, batch.X[64*i:64*i+8])
			}
		}
	}
	// Output:
	// 0 [1 -1 1 -1 1 -1 1 -1]
	// 1 [1 1 -1 -1 1 1 -1 -1]
	// 2 [1 1 1 1 -1 -1 -1 -1]
}

func ExampleOpen() {
	ds, err := data.Open(context.Background(), data.Config{Dataset: data.MNIST10K, Size: data.Size{H: 32, W: 32}}, data.Options{})
	if err != nil {
		log.Fatal(err)
	}
	info := ds.Info()
	fmt.Println(info.Count, "images of", info.Channels, "x", info.Height, "x", info.Width)
	fmt.Println("the first is a", info.Classes[ds.Label(0)])
	// Output:
	// 10000 images of 1 x 32 x 32
	// the first is a 5
}

func ExampleNewMemory() {
	pixels := make([]byte, 100*3*16*16) // 100 images, RGB, 16 x 16
	ds, err := data.NewMemory(data.Info{Name: "mine", Channels: 3, Height: 16, Width: 16}, pixels, nil)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(ds.Info().Count, ds.Label(0))
	// Output: 100 -1
}
