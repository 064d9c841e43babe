package checkpoints

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"unstir/checkpoints/safetensors"
	"unstir/internal/filekind"
)

// findWeights finds a unet's safetensors file or the index of its shards. Where there is neither, it takes the only
// variant, such as diffusion_pytorch_model.fp16.safetensors.
func findWeights(dir string) (string, error) {
	single := filepath.Join(dir, weightsName)
	index := strings.TrimSuffix(single, ".safetensors") + safetensors.IndexSuffix
	for _, path := range []string{single, index} {
		if isFile(path) {
			return path, nil
		}
		if err := filekind.CheckLink(path); err != nil {
			return "", err
		}
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return "", err
	}
	var variants, others, pickles, names []string
	for _, e := range entries {
		name := e.Name()
		if !isFile(filepath.Join(dir, name)) {
			continue
		}
		switch ext := filepath.Ext(name); {
		case ext == ".safetensors" && isVariant(name):
			variants = append(variants, name)
		case ext == ".safetensors":
			others = append(others, name)
		case ext == ".bin" || ext == ".pt" || ext == ".pth" || ext == ".ckpt":
			pickles = append(pickles, name)
		default:
			names = append(names, name)
		}
	}
	looked := fmt.Sprintf("%s has neither %s nor %s", dir, weightsName, filepath.Base(index))
	switch {
	case len(variants) == 1:
		return filepath.Join(dir, variants[0]), nil
	case len(variants) > 1:
		return "", fmt.Errorf("%s, but the variants %s; rename or copy the one that is meant to %s", looked, strings.Join(variants, ", "), weightsName)
	case len(others) > 0:
		return "", fmt.Errorf("%s; rename %s if that is the one meant", looked, others[0])
	case len(pickles) > 0:
		return "", fmt.Errorf("%s, only %s, a pickle, which can run code and is not read; convert it to safetensors, with diffusers by "+
			"UNet2DModel.from_pretrained(%q, use_safetensors=False).save_pretrained(%q)", looked, pickles[0], dir, dir)
	case len(names) > 0:
		return "", fmt.Errorf("%s, only %s", looked, strings.Join(names[:min(len(names), 8)], ", "))
	}
	return "", errors.New(looked)
}

// isVariant recognises diffusion_pytorch_model.VARIANT.safetensors, which diffusers writes for variant="fp16" or "ema".
func isVariant(name string) bool {
	base, _, _ := strings.Cut(weightsName, ".")
	middle, ok := strings.CutPrefix(strings.TrimSuffix(name, ".safetensors"), base+".")
	return ok && middle != "" && !strings.Contains(middle, ".")
}
