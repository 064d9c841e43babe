package featurenet

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"path/filepath"
	"strconv"

	"unstir/checkpoints/safetensors"
	"unstir/classifier"
	"unstir/data"
)

// FromDataset are the images of a dataset, which must have the size of a network's.
func FromDataset(d data.Dataset) Images {
	info := d.Info()
	pixels := make([]byte, info.Channels*info.Height*info.Width)
	return Images{N: info.Count, Read: func(i int, x []float32) {
		d.Image(i, pixels)
		for j, v := range pixels {
			x[j] = data.Value(v)
		}
	}}
}

// WriteAssets writes a classifier as the program embeds it, DIR/DATASET.safetensors in float16 with its accuracy on the
// test images as rounded, and with references the features of these, DIR/DATASET-test.safetensors. The test images must
// have the classifier's size and classes.
func WriteAssets(ctx context.Context, dir, name string, m *classifier.Model, test data.Dataset, references bool) (*Net, error) {
	info := test.Info()
	file := func(suffix string) string { return filepath.Join(dir, info.Name+suffix+".safetensors") }
	config, err := m.Config.JSON()
	if err != nil {
		return nil, err
	}
	classes, err := json.Marshal(info.Classes)
	if err != nil {
		return nil, err
	}
	var tensors []safetensors.Tensor
	for _, t := range m.Tensors() {
		tensors = append(tensors, safetensors.Tensor(t))
	}
	options := safetensors.Options{DType: safetensors.F16, Metadata: map[string]string{
		"format": "pt", metaName: name, metaConfig: string(config), metaClasses: string(classes), metaAccuracy: "0",
	}}
	var rounded bytes.Buffer
	if err := safetensors.Write(ctx, &rounded, tensors, options); err != nil {
		return nil, err
	}
	r, err := safetensors.NewReader(bytes.NewReader(rounded.Bytes()), int64(rounded.Len()), file(""))
	if err != nil {
		return nil, err
	}
	n, err := load(ctx, r)
	if err != nil {
		return nil, err
	}
	features, predicted, err := n.Measure(ctx, FromDataset(test), nil)
	if err != nil {
		return nil, err
	}
	right := 0
	for i, class := range predicted {
		if class == test.Label(i) {
			right++
		}
	}
	accuracy := float64(right) / float64(info.Count)
	n.Accuracy = &accuracy
	options.Metadata[metaAccuracy] = strconv.FormatFloat(accuracy, 'g', -1, 64)
	if err := safetensors.WriteFile(ctx, file(""), tensors, options); err != nil || !references {
		return n, err
	}
	options.Metadata = map[string]string{"format": "pt", metaNetwork: n.Name}
	err = safetensors.WriteFile(ctx, file(referencesSuffix), []safetensors.Tensor{{
		Name: featuresTensor, Shape: []int{features.N, features.D},
		Fill: func(dst []float32) {
			for i, v := range features.Data {
				dst[i] = float32(v)
			}
		},
	}}, options)
	if err != nil {
		return nil, fmt.Errorf("featurenet: %w", err)
	}
	return n, nil
}
