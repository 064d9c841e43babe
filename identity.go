package unstir

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"hash"
	"math"
	"slices"
	"strings"

	"unstir/nn"
)

// Hash is a SHA-256, in hexadecimal, over what the pipeline's images depend on: the weights that it has, by name, and
// the configurations of model and scheduler as their files have them. A model that was copied or moved has the same
// one; the moving average of a checkpoint's weights and the weights as trained have two.
func (p *Pipeline) Hash() (string, error) {
	h := sha256.New()
	configs := p.configs
	if configs == nil { // not from files: as Export would write them
		model, err := p.model.Config.JSON()
		if err != nil {
			return "", fmt.Errorf("unstir: hash: %w", err)
		}
		scheduler, err := p.Schedule.Config.JSON()
		if err != nil {
			return "", fmt.Errorf("unstir: hash: %w", err)
		}
		configs = [][]byte{model, scheduler}
	}
	for _, c := range configs {
		fmt.Fprintf(h, "%d\n", len(c))
		h.Write(c)
	}
	tensors := p.model.Tensors()
	slices.SortFunc(tensors, func(a, b nn.Tensor) int { return strings.Compare(a.Name, b.Name) })
	var values []float32
	for _, t := range tensors {
		n := 1
		for _, d := range t.Shape {
			n *= d
		}
		values = slices.Grow(values[:0], n)[:n]
		t.Fill(values)
		fmt.Fprintf(h, "%s %v\n", t.Name, t.Shape)
		hashFloats(h, values)
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

// hashFloats adds numbers as little-endian float32, the bytes that safetensors files have of them.
func hashFloats(h hash.Hash, x []float32) {
	var buf [4096]byte
	for part := range slices.Chunk(x, len(buf)/4) {
		for i, v := range part {
			binary.LittleEndian.PutUint32(buf[4*i:], math.Float32bits(v))
		}
		h.Write(buf[:4*len(part)])
	}
}
