package train

import (
	"errors"
	"fmt"

	"unstir/data"
)

// ErrLabels is wrapped by New's and Resume's error when a class-conditional model, or a classifier, does not fit the labels of the data.
var ErrLabels = errors.New("the labels do not fit the model")

// countClasses is the number of classes of data in which every image has one.
func countClasses(set data.Dataset, info data.Info) (int, error) {
	classes := len(info.Classes)
	for i := range info.Count {
		l := set.Label(i)
		if l < 0 {
			return 0, fmt.Errorf("train: %w: a classifier learns classes, but image %d of %s has none; a folder's images have those of its first-level subdirectories", ErrLabels, i, info.Name)
		}
		classes = max(classes, l+1)
	}
	if classes < 2 {
		return 0, fmt.Errorf("train: %w: a classifier tells at least 2 classes, and %s has %d", ErrLabels, info.Name, classes)
	}
	return classes, nil
}

// checkLabels makes sure that a class-conditional model has a class for every image.
func checkLabels(set data.Dataset, info data.Info, classes int) error {
	if classes == 0 {
		return nil
	}
	if classes < len(info.Classes) {
		return fmt.Errorf("train: %w: model.num_class_embeds is %d, but %s has %d classes; 0 is a model without classes", ErrLabels, classes, info.Name, len(info.Classes))
	}
	for i := range info.Count {
		switch l := set.Label(i); {
		case l < 0:
			return fmt.Errorf("train: %w: model.num_class_embeds is %d, but image %d of %s has no class; a folder's images have those of its first-level subdirectories; 0 is a model without classes", ErrLabels, classes, i, info.Name)
		case l >= classes:
			return fmt.Errorf("train: %w: model.num_class_embeds is %d, but image %d of %s is of class %d, counted from 0", ErrLabels, classes, i, info.Name, l)
		}
	}
	return nil
}
