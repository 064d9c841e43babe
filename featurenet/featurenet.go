// Package featurenet measures images by networks: a feature is a value of a classifier's last layer but one, and rows of
// features are what package metrics compares. The networks for MNIST and Fashion-MNIST are part of the program, as are the
// features of MNIST's test images.
package featurenet

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"

	"unstir/checkpoints/safetensors"
	"unstir/classifier"
	"unstir/metrics"
)

// Net is a classifier whose features measure images. Its methods may be called by several goroutines at once.
type Net struct {
	Name     string   // and version, which is the beginning of the weights' SHA-256
	Accuracy *float64 // share of the test images that it classifies correctly; nil: not measured
	Classes  []string // names, in label order; nil: they have none

	model      *classifier.Model
	references string // the asset with the features of its dataset's test images; "": there is none
}

// New makes a network of a classifier of images without noise. The version is appended to the name: the first twelve
// digits of the SHA-256 of the classifier's weights, as a safetensors file of float32 has them.
func New(ctx context.Context, name string, m *classifier.Model, classes []string, accuracy *float64) (*Net, error) {
	if m.Config.Noisy {
		return nil, errors.New("featurenet: the classifier reads noisy images; one that measures samples is trained with classifier.noisy = false")
	}
	hash := sha256.New()
	var tensors []safetensors.Tensor
	for _, t := range m.Tensors() {
		tensors = append(tensors, safetensors.Tensor(t))
	}
	if err := safetensors.Write(ctx, hash, tensors, safetensors.Options{}); err != nil {
		return nil, fmt.Errorf("featurenet: hash the weights: %w", err)
	}
	return &Net{Name: name + " " + hex.EncodeToString(hash.Sum(nil))[:12], Accuracy: accuracy, Classes: classes, model: m}, nil
}

// Config is the network's configuration: the images that it reads, its classes and the number of its features.
func (n *Net) Config() classifier.Config { return n.model.Config }

// Images are N images of a network's size.
type Images struct {
	N    int
	Read func(i int, x []float32) // writes image i [C, H, W] in [-1, 1] to x
}

// Measure returns the features [N, D] of images and their predicted classes. No value depends on which images are measured
// together, or on the number of threads. done, unless it is nil, is told how many images are measured so far.
func (n *Net) Measure(ctx context.Context, im Images, done func(images int)) (metrics.Features, []int, error) {
	c := n.model.Config
	batch := max(1, min(classifier.DefaultSlice(c), im.N))
	p, err := classifier.NewPredictor(n.model, batch)
	if err != nil {
		return metrics.Features{}, nil, fmt.Errorf("featurenet: %w", err)
	}
	dim := c.InChannels * c.Height * c.Width
	x, logits, features := make([]float32, batch*dim), make([]float32, batch*c.Classes), make([]float32, batch*c.Features)
	out := metrics.Features{N: im.N, D: c.Features, Data: make([]float64, im.N*c.Features)}
	classes := make([]int, im.N)
	for first := 0; first < im.N; first += batch {
		k := min(batch, im.N-first)
		for i := range k {
			im.Read(first+i, x[i*dim:(i+1)*dim])
		}
		if err := p.Predict(ctx, logits[:k*c.Classes], features[:k*c.Features], x[:k*dim], nil); err != nil {
			return metrics.Features{}, nil, fmt.Errorf("featurenet: %w", err)
		}
		classifier.Argmax(classes[first:first+k], logits[:k*c.Classes])
		for i, v := range features[:k*c.Features] {
			out.Data[first*c.Features+i] = float64(v)
		}
		if done != nil {
			done(first + k)
		}
	}
	return out, classes, nil
}
