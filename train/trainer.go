package train

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"unstir/checkpoints"
	"unstir/classifier"
	"unstir/data"
	"unstir/diffusion"
	"unstir/internal/dirlock"
	"unstir/nn"
	"unstir/nn/engine"
	"unstir/nn/kernel"
	"unstir/unet"
)

// Setup is everything a run is made of. The configurations must be valid.
type Setup struct {
	Seed       uint64
	Data       data.Dataset
	Flip       bool // mirror images at random
	Model      unet.Config
	Scheduler  diffusion.Config
	Classifier *classifier.Config // what is trained instead of Model; what it leaves open follows from Data. Scheduler is then for a noisy one
	Test       data.Dataset       // of a classifier: what its accuracy is measured on at each checkpoint; nil: it is not
	Train      Config
	EMA        EMAConfig
	Checkpoint CheckpointConfig
	Preview    PreviewConfig
	Log        LogConfig

	Dir        string         // the run's directory
	ConfigTOML []byte         // the resolved configuration, kept with the run
	Version    string         // of the program, kept in checkpoints
	Discard    bool           // keep no checkpoint, not even of the last step: for benchmarks
	Patience   time.Duration  // how long the end of a run waits, trying again, for a disk that cannot be written; 0: not at all
	StopAt     int            // save and stop after this step; 0: go on to the end
	OnStep     func(Progress) // called after each step; may be nil
	Notes      io.Writer      // lines for people: what was saved where; nil: none
}

// Progress is what one step did.
type Progress struct {
	Step, Steps     int
	Images          int64   // seen so far
	Loss            float64 // of the step's batch: mean squared error, weighted as the configuration says; a classifier's mean cross-entropy
	Accuracy        float64 // of a classifier: the share of the batch's images whose class it told
	GradNorm        float64 // before clipping
	LR              float64
	ImagesPerSecond float64 // of this step
}

// Trainer trains one model: a UNet or a classifier. Its weights, moments and moving average are flat slices laid out alike.
type Trainer struct {
	Setup
	task      task
	schedule  *diffusion.Schedule // of noise; nil for a classifier that is not noisy
	params    *nn.Params
	optimizer optimizer
	started   bool // the task is

	weights, ema     []float32
	expAvg, expAvgSq []float32
	step             int       // steps done
	lrVersion        int       // of the learning-rate schedule
	perImage         []float64 // losses of the batch's images, unweighted
	images           []int     // of the dataset, in the batch
	last             Progress
	tested           *checkpoints.Test // the last test of a classifier; nil: none
	seconds          float64           // trained so far, over all starts
	saved            string            // the newest checkpoint of this run
	log              *logFile
	events           *eventFile // for TensorBoard; nil: none
	logFailing       bool       // the log cannot be written, which was noted
	dirMissing       bool       // the run's directory cannot be made again, which was noted
	skipDirCheck     bool       // the file system does not tell whether the directory was replaced
	lock             *dirlock.Lock
	info             data.Info
	sinceLogImages   int
	sinceLogSeconds  float64
}

// New prepares a run from the start, in a directory that holds no run yet. Resume goes on with one.
func New(s Setup) (*Trainer, error) {
	if err := claim(s.Dir); err != nil {
		return nil, err
	}
	return begin(s, func() error { return claim(s.Dir) })
}

// begin starts at step 0.
func begin(s Setup, check func() error) (*Trainer, error) {
	t, err := prepare(s, 0)
	if err != nil {
		return nil, err
	}
	t.params.Initialize(t.weights, s.Seed)
	copy(t.ema, t.weights)
	return t.openRun(check)
}

// maxValues bounds the numbers of one batch's images: 4 GB of float32.
const maxValues = 1 << 30

// prepare builds what New and Resume share. A run that goes on has a slice already; 0 for a new one.
func prepare(s Setup, slice int) (*Trainer, error) {
	t := &Trainer{Setup: s, info: s.Data.Info(), lrVersion: checkpoints.LRVersion}
	for _, err := range []error{s.Train.Validate(), s.checkLabelDropout(), s.EMA.Validate(), s.Checkpoint.Validate(), s.Preview.Validate()} {
		if err != nil {
			return nil, fmt.Errorf("train: %w", err)
		}
	}
	dim := valuesOf(t.info)
	switch {
	case s.Train.BatchSize > maxValues/dim:
		return nil, fmt.Errorf("train: train.batch_size is %d; images of %d values allow at most %d", s.Train.BatchSize, dim, maxValues/dim)
	case s.Preview.Images > maxValues/dim:
		return nil, fmt.Errorf("train: preview.images is %d; images of %d values allow at most %d", s.Preview.Images, dim, maxValues/dim)
	case s.StopAt < 0 || s.StopAt > s.Train.Steps:
		return nil, fmt.Errorf("train: stop at step %d of a run of %d steps", s.StopAt, s.Train.Steps)
	}
	var err error
	if s.Classifier == nil || s.Classifier.Noisy {
		if t.schedule, err = diffusion.NewSchedule(s.Scheduler); err != nil {
			return nil, fmt.Errorf("train: %w", err)
		}
	}
	if t.task, err = newTask(s, t.schedule); err != nil {
		return nil, err
	}
	if t.params, err = t.task.layout(); err != nil {
		return nil, fmt.Errorf("train: %w", err)
	}
	n := t.params.Len()
	t.optimizer = newOptimizer(s.Train.Optimizer, t.params)
	if err := t.fitModel(); err != nil {
		return nil, err
	}
	t.weights, t.ema = engine.AlignedFloats(n), engine.AlignedFloats(n)
	t.expAvg, t.expAvgSq = engine.AlignedFloats(n), engine.AlignedFloats(n)
	return t, t.fitStep(slice)
}

// Slice is the number of images that run through the model at a time.
func (t *Trainer) Slice() int {
	if t.Train.Slice > 0 {
		return min(t.Train.Slice, t.Train.BatchSize)
	}
	return min(t.task.slice(), t.Train.BatchSize)
}

// valuesOf is the number of values of an image.
func valuesOf(info data.Info) int { return info.Channels * info.Height * info.Width }

// Stopped is returned by Run when the run was cut short on purpose: everything is saved.
type Stopped struct {
	Step       int
	Checkpoint string // the directory to go on from
}

func (s *Stopped) Error() string {
	return fmt.Sprintf("train: stopped at step %d, saved in %s", s.Step, s.Checkpoint)
}

// Run trains to the last step, or until ctx is done or StopAt is reached; then it saves a checkpoint and returns
// a *Stopped. For a complete run it makes the last preview and the plot if they are missing. A step that
// ctx cuts short is not counted: it is done again, with the same numbers, on resuming. A number that is not finite
// ends the run with an error that wraps ErrNotFinite.
func (t *Trainer) Run(ctx context.Context) error {
	defer t.Close()
	t.catchUp(ctx)
	if t.step == t.Train.Steps {
		return nil // it was complete
	}
	t.notePreviews()
	if err := t.task.start(t.params, t.weights, t.Slice()); err != nil {
		return fmt.Errorf("train: %w", err)
	}
	t.started = true
	t.perImage = make([]float64, t.Train.BatchSize)
	loader := data.NewLoader(t.Data, t.Train.BatchSize, t.Seed, t.Flip, t.step)
	defer loader.Close()

	for t.step < t.Train.Steps {
		if ctx.Err() != nil || (t.StopAt > 0 && t.step >= t.StopAt) {
			return t.stop(ctx)
		}
		batch, err := loader.Next(ctx)
		if ctx.Err() != nil {
			return t.stop(ctx)
		}
		if err != nil {
			return fmt.Errorf("train: step %d: %w", t.step+1, err)
		}
		start := time.Now()
		t.images = batch.Index
		err = t.update(ctx, batch)
		loader.Release(batch)
		if ctx.Err() != nil && err != nil && !errors.Is(err, ErrNotFinite) {
			return t.stop(ctx)
		}
		if err != nil {
			return err
		}
		t.record(time.Since(start))
		if err := t.keep(ctx); err != nil {
			return err
		}
	}
	return t.finish(ctx)
}

// Saved is the directory of the run's newest checkpoint, "" if there is none yet.
func (t *Trainer) Saved() string { return t.saved }

// Tested is the last test of a classifier; nil where there was none.
func (t *Trainer) Tested() *checkpoints.Test { return t.tested }

// Step is the number of steps done.
func (t *Trainer) Step() int { return t.step }

// Last is what the newest step did.
func (t *Trainer) Last() Progress { return t.last }

// Parameters is the number of trainable values.
func (t *Trainer) Parameters() int { return t.params.Count() }

// FLOPs is the number of floating-point operations of one slice of a step, forward and backward, counting a
// multiply-add twice and convolutions as if computed directly. It is 0 before Run.
func (t *Trainer) FLOPs() float64 {
	if !t.started {
		return 0
	}
	return t.task.machine().Stats().FLOPs
}

// Close gives the run's directory back. Run does so when it returns.
func (t *Trainer) Close() {
	t.log.close()
	t.events.close()
	if t.lock != nil {
		t.lock.Unlock()
		t.lock = nil
	}
}

// update is one step: the gradient of the loss, clipped, and the optimizer with the moving average.
func (t *Trainer) update(ctx context.Context, b *data.Batch) error {
	r, err := t.task.run(ctx, b, t.perImage)
	if err != nil {
		return fmt.Errorf("train: step %d: %w", t.step+1, err)
	}
	n, norm := t.step+1, t.norm()
	if err := t.checkGradient(n, r.loss, norm); err != nil {
		return err
	}
	lr, scale := t.Train.learningRate(n, t.lrVersion), clipScale(norm, t.Train.GradClip)
	t.optimizer.step(t.weights, t.expAvg, t.expAvgSq, t.ema, t.task.grad(), kernel.AdamWStep{
		LR: lr, Beta1: t.Train.Beta1, Beta2: t.Train.Beta2, Eps: t.Train.Eps, WeightDecay: t.Train.WeightDecay,
		EMADecay: t.EMA.at(n), GradScale: scale, Step: n,
	})
	if err := t.checkUpdate(n, scale*norm); err != nil {
		return err
	}
	t.step = n
	t.last = Progress{
		Step: n, Steps: t.Train.Steps, Images: int64(n) * int64(t.Train.BatchSize), Loss: r.loss, Accuracy: r.accuracy, GradNorm: norm, LR: lr,
	}
	return nil
}
