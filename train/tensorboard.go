package train

import (
	"bufio"
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"image/color"
	"image/png"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"unstir/internal/disk"
	"unstir/internal/tfevents"
)

// eventsName is the file by which TensorBoard knows a run. Its name depends neither on the time nor on the machine, so
// that a run that goes on has one file still, which is cut back and continued in its place: a TensorBoard that is
// reading it goes on where it was.
const eventsName = "events.out.tfevents.unstir"

// EventFile is the file in a run's directory that TensorBoard opens.
func EventFile(run string) string { return filepath.Join(run, eventsName) }

// Tags of what TensorBoard shows.
const (
	tagLoss     = "train/loss"
	tagGradNorm = "train/grad_norm"
	tagLR       = "train/lr"
	tagSpeed    = "train/images_per_s"
	tagAccuracy = "train/accuracy"
	tagTest     = "test/accuracy"
	tagPreview  = "previews"
	tagConfig   = "config"
)

// eventFile repeats the log, the previews and the configuration for TensorBoard. It has nothing of its own but the
// times of day: whatever has gone wrong, it is compared with what it repeats, cut where the two part, and completed.
type eventFile struct {
	path    string
	f       *disk.File
	wall    float64   // time of the last event, in seconds since 1970
	preview int       // step of the last preview; 0: none
	stale   bool      // it has to be completed before anything is appended
	failing bool      // it cannot be written, which was noted
	retry   time.Time // while it is failing: when a step tries again
}

// retryEvents is the time between tries to write the file again: each of them reads the whole log.
const retryEvents = 10 * time.Second

// openEvents opens the event file of a run that stands at the current step.
func (t *Trainer) openEvents() {
	if t.Log.TensorBoard {
		t.events = &eventFile{path: EventFile(t.Dir), stale: true}
		t.renewEvents()
	}
}

// eventStep appends a line of the log.
func (t *Trainer) eventStep(l LogLine) {
	switch e := t.events; {
	case e == nil:
	case t.logFailing:
		e.stale = true // the log comes first
	case !e.stale && e.f.InPlace():
		t.noteEvents(e.append(lineEvent(l), time.Now()))
	case e.retry.Before(time.Now()):
		e.stale = true
		t.renewEvents()
	}
}

// eventPreview appends the current step's preview.
func (t *Trainer) eventPreview() {
	e := t.events
	if e == nil {
		return
	}
	if !e.stale && e.f.InPlace() && e.preview < t.step {
		t.noteEvents(e.appendPreview(t.previewPath(), t.step, time.Now()))
		return
	}
	e.stale = true // there is one of the step already, which may be another
	t.renewEvents()
}

// renewEvents completes the file if that is due.
func (t *Trainer) renewEvents() {
	if t.events != nil && t.events.stale && !t.logFailing {
		t.noteEvents(t.completeEvents())
	}
}

// noteEvents notes when the file begins to fail, and when it is written again.
func (t *Trainer) noteEvents(err error) {
	e := t.events
	switch fails := err != nil; {
	case fails && !e.failing:
		t.note("TensorBoard's file: %s; training goes on, and the file is completed as soon as it can be written", withoutPackage(err))
	case !fails && e.failing:
		t.note("TensorBoard's file is written again, and is complete")
	}
	if e.failing = err != nil; e.failing {
		e.stale, e.retry = true, time.Now().Add(retryEvents)
	}
}

func (e *eventFile) close() {
	if e != nil && e.f != nil {
		e.f.Close()
		e.f = nil
	}
}

// entry is a line of the log or a preview.
type entry struct {
	step    int
	line    LogLine
	preview string // the file; "": a line
}

// completeEvents cuts the file where it differs from the log and the previews, and appends what is missing. What is
// right stays as it is, the times included.
func (t *Trainer) completeEvents() error {
	lines, err := ReadLog(LogFile(t.Dir))
	if err != nil {
		return err
	}
	previews, err := Previews(t.Dir)
	if err != nil {
		return err
	}
	var entries []entry
	for _, p := range previews {
		if p.Step <= t.step && fitsEvent(p.Path) {
			entries = append(entries, entry{step: p.Step, preview: p.Path})
		}
	}
	for _, l := range lines {
		entries = append(entries, entry{step: l.Step, line: l})
	}
	slices.SortFunc(entries, func(a, b entry) int {
		return cmp.Or(cmp.Compare(a.step, b.step), cmp.Compare(a.preview, b.preview)) // the line before the preview
	})
	e, config, now := t.events, configText(t.ConfigTOML), time.Now()
	at := func(l LogLine) time.Time { // as far as it is known
		return now.Add(-time.Duration(max(0, t.seconds-l.Seconds) * float64(time.Second)))
	}
	told, left, err := e.cutBack(entries, config, t.step)
	if err != nil {
		return err
	}
	if told == "" {
		first := now
		if len(lines) > 0 {
			first = at(lines[0])
		}
		err = e.append(tfevents.Event{FileVersion: tfevents.Version}, first)
		if err == nil {
			err = e.append(textEvent(config, 0), first)
		}
		told = config
	}
	for _, x := range left {
		switch {
		case err != nil:
			return err
		case x.preview != "":
			err = e.appendPreview(x.preview, x.step, time.Time{})
		default:
			err = e.append(lineEvent(x.line), at(x.line))
		}
	}
	if err == nil && told != config {
		err = e.append(textEvent(config, t.step), now)
	}
	e.stale = err != nil
	return err
}

// cutBack opens the file for appending, with nothing in it but what belongs there up to a step, in its order. It
// returns the configuration that the file has last, "" of an empty file, and the entries that it does not have.
func (e *eventFile) cutBack(entries []entry, config string, step int) (told string, left []entry, err error) {
	e.close()
	e.wall, e.preview = 0, 0
	size, whole := int64(0), int64(0)
	switch info, err := os.Stat(e.path); {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return "", nil, err
	case !info.Mode().IsRegular():
		return "", nil, fmt.Errorf("%s is not a file", e.path)
	default:
		whole = info.Size()
		if told, size, left, err = e.compare(entries, config, step); err != nil {
			return "", nil, err
		}
		entries = left
	}
	if size < whole {
		if err := disk.Truncate(e.path, size); err != nil {
			return "", nil, err
		}
	}
	e.f, err = disk.OpenFile(e.path, os.O_APPEND|os.O_CREATE|os.O_RDWR, 0o644)
	return told, entries, err
}

// compare reads the file as far as it is right: size bytes.
func (e *eventFile) compare(entries []entry, config string, step int) (told string, size int64, left []entry, err error) {
	f, err := os.Open(e.path)
	if err != nil {
		return "", 0, nil, err
	}
	defer f.Close()
	r := tfevents.NewReader(bufio.NewReaderSize(f, 1<<16))
	left = entries
	for n, last := 0, int64(0); ; n++ {
		data, err := r.Next()
		if err != nil {
			break // the end, or what a crash left of it
		}
		ev, err := tfevents.Decode(data)
		if err != nil || ev.Step < last || ev.Step > int64(step) || len(left) > 0 && ev.Step > int64(left[0].step) {
			break
		}
		is := func(want tfevents.Event, err error) bool {
			want.WallTime = ev.WallTime
			return err == nil && bytes.Equal(data, want.Encode())
		}
		var first tfevents.Value
		if len(ev.Values) > 0 {
			first = ev.Values[0]
		}
		right := false
		switch {
		case n == 0:
			right = is(tfevents.Event{FileVersion: tfevents.Version}, nil)
		case n == 1 || first.Tag == tagConfig:
			right = is(textEvent(first.Text, int(ev.Step)), nil) && first.Text != told && (first.Text == config || ev.Step < int64(step))
			if right {
				told = first.Text
			}
		case len(left) > 0 && is(left[0].event()):
			right = true
			if left[0].preview != "" {
				e.preview = left[0].step
			}
			left = left[1:]
		case first.Tag == tagPreview: // it stays when its file was removed
			right = ev.Step > int64(e.preview) && (len(left) == 0 || ev.Step < int64(left[0].step))
			if right {
				e.preview = int(ev.Step)
			}
		}
		if !right {
			break
		}
		e.wall, last = ev.WallTime, ev.Step
		if n > 0 {
			size = r.Offset()
		}
	}
	return told, size, left, nil
}

// append writes an event. Its time is at least that of the event before.
func (e *eventFile) append(ev tfevents.Event, at time.Time) error {
	ev.WallTime = max(e.wall, float64(at.UnixMicro())/1e6)
	if _, err := e.f.Write(tfevents.AppendRecord(nil, ev.Encode())); err != nil {
		return err
	}
	e.wall = ev.WallTime
	return nil
}

// appendPreview writes the preview of a step.
func (e *eventFile) appendPreview(path string, step int, at time.Time) error {
	if !fitsEvent(path) {
		return nil
	}
	ev, err := entry{step: step, preview: path}.event()
	if err == nil {
		err = e.append(ev, at)
	}
	if err == nil {
		e.preview = step
	}
	return err
}

// event is the entry for TensorBoard, without the time.
func (x entry) event() (tfevents.Event, error) {
	if x.preview == "" {
		return lineEvent(x.line), nil
	}
	data, err := os.ReadFile(x.preview)
	if err != nil {
		return tfevents.Event{}, err
	}
	c, err := png.DecodeConfig(bytes.NewReader(data))
	if err != nil {
		return tfevents.Event{}, fmt.Errorf("%s: %w", x.preview, err)
	}
	colors := 3
	if c.ColorModel == color.GrayModel {
		colors = 1
	}
	image := &tfevents.Image{Height: c.Height, Width: c.Width, Colors: colors, Data: data}
	return tfevents.Event{Step: int64(x.step), Values: []tfevents.Value{{Tag: tagPreview, Image: image}}}, nil
}

func lineEvent(l LogLine) tfevents.Event {
	e := tfevents.Event{Step: int64(l.Step), Values: []tfevents.Value{
		{Tag: tagLoss, Scalar: float32(l.Loss)},
		{Tag: tagGradNorm, Scalar: float32(l.GradNorm)},
		{Tag: tagLR, Scalar: float32(l.LR)},
		{Tag: tagSpeed, Scalar: float32(l.ImagesPerSecond)},
	}}
	if l.Accuracy != nil {
		e.Values = append(e.Values, tfevents.Value{Tag: tagAccuracy, Scalar: float32(*l.Accuracy)})
	}
	if l.TestAccuracy != nil {
		e.Values = append(e.Values, tfevents.Value{Tag: tagTest, Scalar: float32(*l.TestAccuracy)})
	}
	return e
}

func textEvent(text string, step int) tfevents.Event {
	return tfevents.Event{Step: int64(step), Values: []tfevents.Value{{Tag: tagConfig, Text: text}}}
}

// configText is a configuration as a block of code in Markdown.
func configText(toml []byte) string {
	var b strings.Builder
	for line := range strings.Lines(string(toml)) {
		b.WriteString("    " + line)
	}
	if b.Len() == 0 {
		return "none"
	}
	return b.String()
}

// fitsEvent tells whether a file is a picture, and short enough for a record.
func fitsEvent(path string) bool {
	info, err := os.Stat(path)
	if err != nil || !info.Mode().IsRegular() || info.Size() > tfevents.MaxRecord-1024 {
		return false
	}
	f, err := os.Open(path)
	if err != nil {
		return false
	}
	defer f.Close()
	_, err = png.DecodeConfig(f)
	return err == nil
}
