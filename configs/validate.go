package configs

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"unstir/data"
	"unstir/diffusion"
	"unstir/internal/setting"
	"unstir/unet"
)

// Validate checks every table with the Validate of its package, and what
// concerns two tables at once. The errors are of type [*Error], in the order of
// the file.
func (c *Config) Validate() error {
	var errs []*Error
	add := func(e *Error) { errs = append(errs, e) }
	if err := checkName(c.Name); err != nil {
		add(c.fault("name", fmt.Sprintf("name is %s; %v", literal(c.Name), err)))
	}
	if c.Seed > math.MaxInt64 {
		add(c.fault("seed", fmt.Sprintf("seed is %d; it must be at most %d, the largest integer of TOML", c.Seed, int64(math.MaxInt64))))
	}

	if c.Data.Dataset == "" && !c.given("data.dataset") {
		add(c.missing("data.dataset", "it must be one of "+quotedList(data.Names())))
	} else {
		errs = append(errs, c.explain("data", c.Data.Validate())...)
	}
	if c.IsClassifier() {
		errs = append(errs, c.checkClassifier()...)
	} else {
		errs = append(errs, c.checkModel()...)
	}
	scheduler := c.explain("scheduler", c.Scheduler.Validate())
	errs = append(errs, scheduler...)
	if c.Train.Steps == 0 && !c.given("train.steps") {
		add(c.missing("train.steps", "it must be the number of training steps, such as 10000"))
	} else {
		errs = append(errs, c.explain("train", c.Train.Validate())...)
	}
	if e := c.checkLabelDropout(); e != nil {
		add(e)
	}
	errs = append(errs, c.explain("ema", c.EMA.Validate())...)
	errs = append(errs, c.explain("checkpoint", c.Checkpoint.Validate())...)
	preview := c.explain("preview", c.Preview.Validate())
	errs = append(errs, preview...)
	if len(scheduler)+len(preview) == 0 && !c.IsClassifier() {
		if e := c.checkPreview(); e != nil {
			add(e)
		}
	}
	return sorted(errs)
}

// checkName tells whether a run may have that name, which becomes that of a
// directory.
func checkName(name string) error {
	bad := func(r rune) bool { return unicode.IsControl(r) || strings.ContainsRune(`/\:*?"<>|`, r) }
	if name == "" || name == "." || name == ".." || strings.ContainsFunc(name, bad) || !utf8.ValidString(name) {
		return errors.New(`it must do as the name of a directory: not empty, "." or "..", and without any of / \ : * ? " < > |`)
	}
	return nil
}

// checkModel validates [model], of which some keys may wait for the data.
func (c *Config) checkModel() []*Error {
	m := c.Model
	const lists = "down_block_types and up_block_types go together: give both, or leave both out"
	switch {
	case len(m.BlockOutChannels) == 0:
		return []*Error{c.missing("model.block_out_channels", "it must be the channels of each level, such as [32, 64, 64]")}
	case len(m.DownBlockTypes) == 0:
		return []*Error{c.missing("model.down_block_types", lists)}
	case len(m.UpBlockTypes) == 0:
		return []*Error{c.missing("model.up_block_types", lists)}
	}
	const maxLevels = 13 // the deepest of data.MaxSide = 2^12 pixels is one pixel
	if n := len(m.BlockOutChannels); n > maxLevels {
		return []*Error{c.fault("model.block_out_channels",
			fmt.Sprintf("model.block_out_channels has %d levels; it must have at most %d", n, maxLevels))}
	}
	for _, channels := range []*int{&m.InChannels, &m.OutChannels} {
		if *channels == 0 {
			*channels = 1
		}
	}
	m.SampleSize = unet.Size{} // checked below, with that of the data
	if errs := c.explain("model", m.Validate()); errs != nil {
		return errs
	}
	var errs []*Error
	for _, s := range []struct {
		key  string
		h, w int
	}{{"model.sample_size", c.Model.SampleSize.H, c.Model.SampleSize.W}, {"data.size", c.Data.Size.H, c.Data.Size.W}} {
		if s.h == 0 && s.w == 0 {
			continue
		}
		if err := m.CheckSize(s.h, s.w); err != nil {
			errs = append(errs, c.fault(s.key, fmt.Sprintf("%s: %v", s.key, err)))
		}
	}
	return errs
}

// checkClassifier validates [classifier], and finds what has no meaning beside it.
func (c *Config) checkClassifier() []*Error {
	var errs []*Error
	if len(c.Classifier.Channels) == 0 && !c.given("classifier.channels") {
		errs = append(errs, c.missing("classifier.channels", "it must be the channels of each level, such as [32, 64, 64]"))
	} else {
		errs = append(errs, c.explain("classifier", c.Classifier.Validate())...)
	}
	why := map[string]string{
		"model":     "it trains a classifier and no UNet; leave [model] out, or [classifier]",
		"scheduler": "only a classifier of noisy images has noise; set classifier.noisy = true, or leave [scheduler] out",
		"preview":   "a classifier has no samples to preview; leave [preview] out",
	}
	told := ""
	for _, f := range fields { // the first key of each table is enough
		key := f.key()
		if c.has(f.table) || !c.given(key) || f.table == told || key == "preview.every" && c.Preview.Every == 0 {
			continue
		}
		told = f.table
		errs = append(errs, c.fault(key, fmt.Sprintf("%s is given beside [classifier]: %s", key, why[f.table])))
	}
	if c.Train.MinSNRGamma > 0 {
		errs = append(errs, c.fault("train.min_snr_gamma", fmt.Sprintf("train.min_snr_gamma is %s; it weights the loss of a UNet: a classifier's must be 0", literal(c.Train.MinSNRGamma))))
	}
	if c.Train.LabelDropout > 0 {
		errs = append(errs, c.fault("train.label_dropout", fmt.Sprintf("train.label_dropout is %s; it drops the classes that a UNet draws: a classifier's must be 0", literal(c.Train.LabelDropout))))
	}
	return errs
}

// checkLabelDropout finds label dropout in a model without labels.
func (c *Config) checkLabelDropout() *Error {
	if p := c.Train.LabelDropout; p > 0 && p < 1 && c.Model.NumClassEmbeds == 0 && !c.IsClassifier() {
		return c.fault("train.label_dropout", fmt.Sprintf("train.label_dropout is %s, but the model has no classes to drop: set model.num_class_embeds to their number", literal(p)))
	}
	return nil
}

// checkPreview makes the previews' sampler, so that a setting it refuses is
// found now and not at the first preview.
func (c *Config) checkPreview() *Error {
	p := c.Preview
	// Inversion turns images into noise: no preview.
	names := diffusion.Names(func(i diffusion.Info) bool { return !i.Inverts })
	if !slices.Contains(names, p.Sampler) {
		return c.fault("preview.sampler", fmt.Sprintf("preview.sampler is %s; it must be one of %s", literal(p.Sampler), quotedList(names)))
	}
	if p.Every == 0 {
		return nil
	}
	if T := c.Scheduler.NumTrainTimesteps; p.Steps > T {
		return c.fault("preview.steps", fmt.Sprintf("preview.steps is %d; it must be at most scheduler.num_train_timesteps = %d", p.Steps, T))
	}
	s, err := diffusion.NewSchedule(c.Scheduler)
	if err == nil {
		_, err = diffusion.New(p.Sampler, s, diffusion.Options{Steps: p.Steps})
	}
	if err != nil {
		return c.fault("preview.sampler", fmt.Sprintf("preview.sampler is %s with preview.steps = %d: %v", literal(p.Sampler), p.Steps, err))
	}
	return nil
}

// explain turns the errors of a package's Validate into Errors with the key's
// full name and line.
func (c *Config) explain(table string, err error) []*Error {
	if err == nil {
		return nil
	}
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		var errs []*Error
		for _, e := range joined.Unwrap() {
			errs = append(errs, c.explain(table, e)...)
		}
		return errs
	}
	var bad *setting.Error
	if !errors.As(err, &bad) {
		return []*Error{c.fault(table, fmt.Sprintf("%s: %v", table, err))}
	}
	named := *bad
	named.Table = table
	key, msg := table+"."+bad.Key, named.Error()
	if f := findField(key); f != nil && c.origin != nil && !c.given(key) {
		msg += fmt.Sprintf(" (the file leaves it out, and %s is the default)", shorten(literal(f.of(c).Interface())))
	}
	return []*Error{c.fault(key, msg)}
}

func quotedList(names []string) string {
	quoted := make([]string, len(names))
	for i, n := range names {
		quoted[i] = literal(n)
	}
	return strings.Join(quoted, ", ")
}
