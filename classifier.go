package unstir

import (
	"context"
	"fmt"

	"unstir/checkpoints"
	"unstir/classifier"
	"unstir/diffusion"
	"unstir/featurenet"
	"unstir/internal/oneline"
)

// Classifier is a trained classifier of images, with the moving average of its weights.
type Classifier struct {
	Source   Source
	Model    *classifier.Model
	Schedule *diffusion.Schedule // of the noise that it was trained on; nil for one that reads images without noise
}

// OpenClassifier reads a classifier: the directory of a run (its newest whole checkpoint), or of a checkpoint. Every file
// is checked against the checkpoint's manifest. A weight that is not finite is an error that names its tensor.
func OpenClassifier(ctx context.Context, dir string) (*Classifier, error) {
	c, err := checkpoints.Open(ctx, dir)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	if c.Classifier == nil {
		return nil, fmt.Errorf("unstir: %s: it is a diffusion model and no classifier; a classifier is trained by a configuration with [classifier]", c.Dir)
	}
	config, err := classifier.ParseConfig(c.Classifier)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", c.ClassifierFile, err)
	}
	out := &Classifier{Source: Source{Dir: c.Dir, Weights: c.Weights.Name(), State: c.State, Skipped: c.Skipped}}
	if out.Model, err = readClassifier(config, c); err != nil {
		return nil, oneline.Error(fmt.Errorf("unstir: %s: %w", c.Dir, err))
	}
	if !config.Noisy {
		return out, nil
	}
	if c.Scheduler == nil {
		return nil, fmt.Errorf("unstir: %s: it is a classifier of noisy images, and there is no %s to say how noisy", c.Dir, c.SchedulerFile)
	}
	scheduler, err := diffusion.ParseConfig(c.Scheduler)
	if err == nil {
		out.Schedule, err = diffusion.NewSchedule(scheduler)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", c.SchedulerFile, err)
	}
	return out, nil
}

// readClassifier reads every parameter of a classifier.
func readClassifier(config classifier.Config, c *checkpoints.Model) (m *classifier.Model, err error) {
	err = readWeights(c.Weights, func(string) (string, bool) { return "", false },
		func(check func(name string, shape []int) error) error {
			params, err := classifier.Layout(config)
			if err != nil {
				return err
			}
			return params.Check(check)
		},
		func(read func(name string, shape []int, dst []float32) error) error {
			m, err = classifier.Load(config, read)
			return err
		})
	return m, err
}

// FeatureNet is the classifier as a network whose features measure samples. It must be one of images without noise.
func (c *Classifier) FeatureNet(ctx context.Context) (*featurenet.Net, error) {
	st := c.Source.State
	var accuracy *float64
	if st.Test != nil {
		accuracy = &st.Test.Accuracy
	}
	name := fmt.Sprintf("%s classifier of step %d", st.Data.Name, st.Step)
	n, err := featurenet.New(ctx, name, c.Model, st.Data.Classes, accuracy)
	if err != nil {
		return nil, fmt.Errorf("unstir: %s: %w", c.Source.Dir, err)
	}
	return n, nil
}
