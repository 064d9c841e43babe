package main

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"unstir"
	"unstir/checkpoints"
	"unstir/internal/npy"
)

// readImages reads the images [N, C, H, W] that a flag names, N >= 1, of the model's shape.
func readImages(flag, path string, p *unstir.Pipeline) (npy.Array[float32], error) {
	ch, h, w := p.Shape()
	a, err := npy.ReadFile[float32](path)
	if err == nil {
		err = a.CheckShape(-1, ch, h, w)
	}
	if err == nil && a.Shape[0] == 0 {
		err = errors.New("the array has no images")
	}
	if i := slices.IndexFunc(a.Data, func(v float32) bool { return v-v != 0 }); err == nil && i >= 0 {
		err = fmt.Errorf("image %d has a value %v", i/(ch*h*w), a.Data[i])
	}
	if err != nil {
		return a, fmt.Errorf("%s %s: %w", flag, path, withoutPath(err))
	}
	return a, nil
}

// withoutPath is an error of the file system without the path, which the message has already.
func withoutPath(err error) error {
	var path *fs.PathError
	if errors.As(err, &path) {
		return path.Err
	}
	return err
}

// labelsFor repeats a list of classes, by number or name, over n images; nil for a model without classes.
func labelsFor(p *unstir.Pipeline, list string, n int) ([]int, error) {
	classes, names := trainedClasses(p)
	switch {
	case classes == 0 && list == "":
		return nil, nil
	case classes == 0:
		return nil, usagef("--label %s: the model is not class-conditional; leave it out", list)
	case list == "":
		return nil, usagef("--label is missing: the model is class-conditional, with classes 0 to %d%s", classes-1, inWords(names))
	}
	var set []int
	for s := range strings.SplitSeq(list, ",") {
		l := classNumber(strings.TrimSpace(s), names)
		if l < 0 || l >= classes {
			return nil, usagef("--label %q: the classes are 0 to %d%s", s, classes-1, inWords(names))
		}
		set = append(set, l)
	}
	labels := make([]int, n)
	for i := range labels {
		labels[i] = set[i%len(set)]
	}
	return labels, nil
}

// trainedClasses is how many classes a model knows, and their names as far as its checkpoint tells. It may have room for
// more, which it has never seen.
func trainedClasses(p *unstir.Pipeline) (int, []string) {
	classes := p.Model().Config.NumClassEmbeds
	if st := p.Source.State; st != nil && len(st.Data.Classes) > 0 {
		return min(classes, len(st.Data.Classes)), st.Data.Classes
	}
	return classes, nil
}

// classNumber is the class of that number, or else of that name; -1 for neither.
func classNumber(s string, names []string) int {
	if l, err := strconv.Atoi(s); err == nil {
		return l
	}
	return slices.Index(names, s)
}

// inWords lists names behind a sentence.
func inWords(names []string) string {
	if len(names) == 0 {
		return ""
	}
	return ": " + strings.Join(names, ", ")
}

// runsDir is where runs go unless --out says otherwise.
const runsDir = "runs"

// openModel opens the model named, or the newest run's, and says which it is.
func openModel(c *cobra.Command, path string, ema bool) (*unstir.Pipeline, error) {
	if path == "" {
		run, err := checkpoints.NewestRun(runsDir)
		if err != nil {
			return nil, fmt.Errorf("no model is named, and the newest run cannot be taken: %w", err)
		}
		path = run
	}
	var options []unstir.OpenOption
	if !ema {
		options = append(options, unstir.WithRawWeights())
	}
	p, err := unstir.Open(c.Context(), path, options...)
	if errors.Is(err, fs.ErrNotExist) && !isDir(path) && !isFile(path) {
		return nil, fmt.Errorf("there is no directory %s; a model is the directory of a run, of a checkpoint or of a diffusers pipeline", path)
	}
	if err != nil {
		return nil, err
	}
	for _, s := range p.Source.Skipped {
		fmt.Fprintf(c.ErrOrStderr(), "skipped a damaged checkpoint: %v\n", s.Err)
	}
	fmt.Fprintf(c.ErrOrStderr(), "model %s\n", p.Source.Dir)
	return p, nil
}
