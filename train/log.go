package train

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"time"

	"unstir/internal/atomicfile"
	"unstir/internal/disk"
	"unstir/internal/oneline"
)

// LogLine is one line of a run's log.jsonl.
type LogLine struct {
	Step            int     `json:"step"`
	Images          int64   `json:"images"`        // seen so far
	Loss            float64 `json:"loss"`          // of this step's batch
	GradNorm        float64 `json:"grad_norm"`     // before clipping
	LR              float64 `json:"lr"`            // learning rate
	ImagesPerSecond float64 `json:"images_per_s"`  // since the line before
	Seconds         float64 `json:"seconds_total"` // of training so far, over all starts

	// Of a classifier; nil for a UNet.
	Accuracy     *float64 `json:"accuracy,omitempty"`      // share of this step's images whose class it told
	TestAccuracy *float64 `json:"test_accuracy,omitempty"` // share of the test images, of the moving average; nil where it was not measured
}

// LogFile is the log in a run's directory.
func LogFile(run string) string { return filepath.Join(run, logName) }

// maxLog bounds a log.jsonl, in bytes: a million lines are 150 MB.
const maxLog = 1 << 30

// ReadLog reads a log.jsonl. A last line that a crash cut short is left out.
func ReadLog(path string) ([]LogLine, error) {
	data, err := readLogText(path)
	if err != nil {
		return nil, err
	}
	lines, err := parseLog(data)
	if err != nil {
		return nil, oneline.Error(fmt.Errorf("train: %s:%w", path, err))
	}
	return lines, nil
}

func readLogText(path string) ([]byte, error) {
	info, err := os.Stat(path)
	if err == nil && (!info.Mode().IsRegular() || info.Size() > maxLog) {
		err = fmt.Errorf("%s: not a file of at most %d bytes", path, maxLog)
	}
	var data []byte
	if err == nil {
		data, err = os.ReadFile(path)
	}
	if err != nil {
		return nil, fmt.Errorf("train: read the log: %w", err)
	}
	return data, nil
}

// parseLog reads the text of a log. Its errors begin with the line's number, and come with the lines before.
func parseLog(data []byte) ([]LogLine, error) {
	const shortest = len(`{"step":1}` + "\n")
	var lines []LogLine
	var l LogLine
	dec := json.NewDecoder(bytes.NewReader(data))
	for n, at := 1, 0; at < len(data); n++ {
		end := len(data)
		if i := bytes.IndexByte(data[at:], '\n'); i >= 0 {
			end = at + i
		}
		l = LogLine{}
		err := errors.New("it is empty")
		if len(bytes.TrimSpace(data[at:end])) > 0 {
			err = dec.Decode(&l)
		}
		switch {
		case err != nil:
		case dec.InputOffset() > int64(end) || len(bytes.TrimSpace(data[dec.InputOffset():end])) > 0:
			err = errors.New("it is not one JSON object")
		case l.Step < 1:
			err = errors.New("it has no step, which counts from 1")
		}
		if err != nil {
			if end == len(data) {
				break
			}
			return lines, fmt.Errorf("%d: %w", n, err)
		}
		if lines == nil {
			lines = make([]LogLine, 0, min(bytes.Count(data, []byte("\n")), len(data)/shortest)+1)
		}
		lines = append(lines, l)
		at = end + 1
	}
	return lines, nil
}

// logFile appends to a log.jsonl. Lines that cannot be written are kept in memory for the next try.
type logFile struct {
	path    string
	f       *disk.File
	pending []byte // lines to be written; the first may be written in part
	lines   int    // pending
}

// openLog opens the log of a run that has done the given number of steps. Lines of later steps, which a crash
// left behind its newest checkpoint, are removed: the steps are about to be done again. A corrupt log is kept beside
// the new one, which gets the lines before the first that cannot be read.
func openLog(path string, step int, note func(string, ...any)) (*logFile, error) {
	if data, err := readLogText(path); !errors.Is(err, fs.ErrNotExist) {
		if err != nil {
			return nil, err
		}
		lines, err := parseLog(data)
		if err != nil {
			aside := path + ".corrupt"
			if err := disk.Rename(path, aside); err != nil {
				return nil, fmt.Errorf("train: set the corrupt log aside: %w", err)
			}
			note("%v: the log is corrupt and is kept as %s; the new one has the %d lines before it",
				oneline.Error(fmt.Errorf("%s:%w", path, err)), aside, len(lines))
		}
		err = atomicfile.Write(path, func(w io.Writer) error {
			for _, l := range lines {
				if l.Step > step {
					break
				}
				if err := json.NewEncoder(w).Encode(l); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return nil, fmt.Errorf("train: cut the log back to step %d: %w", step, err)
		}
	}
	l := &logFile{path: path}
	if err := l.open(); err != nil {
		return nil, fmt.Errorf("train: open the log: %w", err)
	}
	return l, nil
}

func (l *logFile) open() (err error) {
	l.f, err = disk.OpenFile(l.path, os.O_APPEND|os.O_CREATE|os.O_RDWR, 0o644)
	return err
}

// write appends a line, after the pending ones.
func (l *logFile) write(line LogLine) error {
	data, err := json.Marshal(line)
	if err != nil {
		return fmt.Errorf("train: write the log: %w", err)
	}
	l.pending = append(append(l.pending, data...), '\n')
	l.lines++
	return l.flush()
}

// flush writes the pending lines.
func (l *logFile) flush() error {
	if l.lines == 0 {
		return nil
	}
	n, err := l.f.Write(l.pending)
	l.lines -= bytes.Count(l.pending[:n], []byte("\n"))
	l.pending = l.pending[n:]
	if err != nil {
		return fmt.Errorf("train: write the log: %w", err)
	}
	return nil
}

// sync writes the pending lines and makes the log durable.
func (l *logFile) sync() error {
	if err := l.flush(); err != nil {
		return err
	}
	if err := l.f.Sync(); err != nil {
		return fmt.Errorf("train: write the log: %w", err)
	}
	return nil
}

// reopen opens the log again after its file was removed, and writes again what the open file still has. If there is
// another file at its path, the log continues there.
func (l *logFile) reopen() error {
	if _, err := os.Lstat(l.path); errors.Is(err, fs.ErrNotExist) {
		text, err := io.ReadAll(io.NewSectionReader(l.f, 0, math.MaxInt64))
		if err != nil {
			return fmt.Errorf("read the removed log: %w", err)
		}
		err = atomicfile.Write(l.path, func(w io.Writer) error { _, err := w.Write(text); return err })
		if err != nil {
			return err
		}
	}
	old := l.f
	if err := l.open(); err != nil {
		l.f = old
		return err
	}
	old.Close() // it was for reading: a failure has no meaning
	return nil
}

func (l *logFile) close() {
	if l != nil && l.f != nil {
		l.f.Close()
	}
}

// record completes the step's progress and tells the observer.
func (t *Trainer) record(took time.Duration) {
	seconds := took.Seconds()
	t.seconds += seconds
	t.sinceLogImages += t.Train.BatchSize
	t.sinceLogSeconds += seconds
	t.last.ImagesPerSecond = float64(t.Train.BatchSize) / max(seconds, 1e-9)
	if t.OnStep != nil {
		t.OnStep(t.last)
	}
}

// logged tells whether the step has a line in the log: each of the first ten steps, then at intervals, and the last; and
// each that is tested.
func (t *Trainer) logged() bool {
	return t.step <= 10 || t.step%t.Train.LogEvery == 0 || t.step == t.Train.Steps || t.tests()
}

// logStep writes the step's line.
func (t *Trainer) logStep() {
	line := LogLine{
		Step: t.step, Images: t.last.Images, Loss: t.last.Loss, GradNorm: t.last.GradNorm, LR: t.last.LR,
		ImagesPerSecond: float64(t.sinceLogImages) / max(t.sinceLogSeconds, 1e-9), Seconds: t.seconds,
	}
	if t.Classifier != nil {
		accuracy := t.last.Accuracy
		line.Accuracy = &accuracy
	}
	if t.tested != nil && t.tested.Step == t.step {
		line.TestAccuracy = &t.tested.Accuracy
	}
	t.sinceLogImages, t.sinceLogSeconds = 0, 0
	t.noteLog(t.log.write(line))
	t.eventStep(line)
}

// noteLog notes when the log begins to fail, and when it can be written again.
func (t *Trainer) noteLog(err error) {
	switch fails := err != nil; {
	case fails && !t.logFailing:
		t.note("%s; training goes on, and the log's lines are kept until they can be written", withoutPackage(err))
	case !fails && t.logFailing:
		t.note("the log is written again, and no line is missing")
	}
	t.logFailing = err != nil
}
