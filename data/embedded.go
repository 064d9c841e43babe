package data

import (
	"bytes"
	"context"
	_ "embed"
)

// embeddedCount is how many images of MNIST's training split are in the program.
const embeddedCount = 10000

// The first 10,000 images of MNIST's training split and their labels, cut off
// by mnist10k/generate.go; mnist10k/README.md has the licence.
var (
	//go:embed mnist10k/train-images-10k-idx3-ubyte.gz
	embeddedImages []byte
	//go:embed mnist10k/train-labels-10k-idx1-ubyte.gz
	embeddedLabels []byte
)

func openEmbedded(ctx context.Context) (*rawSet, string, error) {
	images, err := newInput(ctx, "embedded MNIST images", bytes.NewReader(embeddedImages), int64(len(embeddedImages)))
	if err != nil {
		return nil, "", err
	}
	labels, err := newInput(ctx, "embedded MNIST labels", bytes.NewReader(embeddedLabels), int64(len(embeddedLabels)))
	if err != nil {
		return nil, "", err
	}
	r, err := readIDXPair(images, labels, len(digits))
	return r, "embedded: the first 10,000 images of MNIST's training split", err
}
