package featurenet

import (
	"bytes"
	"context"
	"embed"
	"encoding/json"
	"fmt"
	"path"
	"strconv"

	"unstir/checkpoints/safetensors"
	"unstir/classifier"
	"unstir/data"
	"unstir/metrics"
)

// The networks, and the features of MNIST's test images, all in float16. scripts/featurenet writes them.
//
//go:embed assets/*.safetensors
var assets embed.FS

// Metadata of a network's asset.
const (
	metaName     = "name"
	metaConfig   = "config"        // as classifier/config.json
	metaClasses  = "classes"       // a JSON list
	metaAccuracy = "test_accuracy" // of these weights, rounded as they are
	metaNetwork  = "network"       // of an asset of features: the name and version of the network that they are of
)

// An asset of features has one tensor, and its dataset's name with a suffix.
const (
	featuresTensor   = "features"
	referencesSuffix = "-test"
)

// assetOf names the asset of each dataset that has a network.
var assetOf = map[string]string{data.MNIST: data.MNIST, data.MNIST10K: data.MNIST, data.FashionMNIST: data.FashionMNIST}

// HasEmbedded tells whether the program has a network for a dataset.
func HasEmbedded(dataset string) bool { return assetOf[dataset] != "" }

// Embedded is the network for a dataset that HasEmbedded. It reads images of 1x28x28.
func Embedded(ctx context.Context, dataset string) (*Net, error) {
	asset, ok := assetOf[dataset]
	if !ok {
		return nil, fmt.Errorf("featurenet: the program has no network for %q", dataset)
	}
	r, err := openAsset(asset)
	var n *Net
	if err == nil {
		n, err = load(ctx, r)
	}
	if err != nil {
		return nil, fmt.Errorf("featurenet: the network for %s: %w", dataset, err)
	}
	if asset == data.MNIST {
		n.references = asset + referencesSuffix
	}
	return n, nil
}

func openAsset(name string) (*safetensors.Reader, error) {
	file := path.Join("assets", name+".safetensors")
	b, err := assets.ReadFile(file)
	if err != nil {
		return nil, err
	}
	return safetensors.NewReader(bytes.NewReader(b), int64(len(b)), file)
}

// load reads a network from its asset.
func load(ctx context.Context, r *safetensors.Reader) (*Net, error) {
	meta := r.Metadata()
	config, err := classifier.ParseConfig([]byte(meta[metaConfig]))
	if err != nil {
		return nil, err
	}
	var classes []string
	if err := json.Unmarshal([]byte(meta[metaClasses]), &classes); err != nil {
		return nil, fmt.Errorf("classes: %w", err)
	}
	accuracy, err := strconv.ParseFloat(meta[metaAccuracy], 64)
	if err != nil {
		return nil, fmt.Errorf("accuracy: %w", err)
	}
	m, err := classifier.Load(config, func(name string, _ []int, dst []float32) error { return r.ReadFloat32(name, dst) })
	if err != nil {
		return nil, err
	}
	return New(ctx, meta[metaName], m, classes, &accuracy)
}

// References are the network's features [N, D] of all test images of its dataset, rounded to float16; ok is false for a
// network that has none with it.
func (n *Net) References() (f metrics.Features, ok bool, err error) {
	if n.references == "" {
		return f, false, nil
	}
	fail := func(err error) (metrics.Features, bool, error) {
		return metrics.Features{}, false, fmt.Errorf("featurenet: the features of the test images: %w", err)
	}
	r, err := openAsset(n.references)
	if err != nil {
		return fail(err)
	}
	if of := r.Metadata()[metaNetwork]; of != n.Name {
		return fail(fmt.Errorf("they are of the network %q, not of %q", of, n.Name))
	}
	info, _ := r.Lookup(featuresTensor)
	if len(info.Shape) != 2 || info.Shape[1] != n.model.Config.Features {
		return fail(fmt.Errorf("their shape is %v; it must be [n, %d]", info.Shape, n.model.Config.Features))
	}
	f = metrics.Features{N: info.Shape[0], D: info.Shape[1], Data: make([]float64, info.Len())}
	if err := r.ReadFloat64(featuresTensor, f.Data); err != nil {
		return fail(err)
	}
	return f, true, nil
}
