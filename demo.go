package unstir

import (
	"fmt"

	"unstir/checkpoints"
	"unstir/demo"
)

// Demo is the model that is part of the library: a class-conditional model of MNIST's digits, 28x28 pixels, of 1.6
// million weights in float16, which needs neither a file nor a network. Labels are 0 to 9, each its digit. It is meant
// for sampling with few steps, such as 25 of "ddim".
func Demo() (*Pipeline, error) {
	p, err := openDemo()
	if err != nil {
		return nil, fmt.Errorf("unstir: the demo: %w", err)
	}
	return p, nil
}

func openDemo() (*Pipeline, error) {
	text, err := demo.Files.ReadFile(demo.State)
	if err != nil {
		return nil, err
	}
	state, err := checkpoints.ParseState(text, demo.State)
	if err != nil {
		return nil, err
	}
	c, err := checkpoints.OpenFS(demo.Files, demo.Pipeline)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	c.Dir, c.State = "demo", state
	return newPipeline(c, c.Weights, false)
}
