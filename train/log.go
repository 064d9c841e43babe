package train

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"unstir/internal/atomicfile"
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
}

// maxLog bounds a log.jsonl, in bytes: a million lines are 150 MB.
const maxLog = 1 << 30

// ReadLog reads a log.jsonl. A last line that a crash cut short is left out.
func ReadLog(path string) ([]LogLine, error) {
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
	lines, err := parseLog(data)
	if err != nil {
		return nil, oneline.Error(fmt.Errorf("train: %s:%w", path, err))
	}
	return lines, nil
}

// parseLog reads the text of a log. Its errors begin with the line's number.
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
			return nil, fmt.Errorf("%d: %w", n, err)
		}
		if lines == nil {
			lines = make([]LogLine, 0, min(bytes.Count(data, []byte("\n")), len(data)/shortest)+1)
		}
		lines = append(lines, l)
		at = end + 1
	}
	return lines, nil
}

// logFile appends to a log.jsonl.
type logFile struct{ f *os.File }

// openLog opens the log of a run that has done the given number of steps. Lines of later steps, which a crash
// left behind its newest checkpoint, are removed: the steps are about to be done again.
func openLog(path string, step int) (*logFile, error) {
	if _, err := os.Stat(path); err == nil {
		lines, err := ReadLog(path)
		if err != nil {
			return nil, err
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
	f, err := os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
	if err != nil {
		return nil, fmt.Errorf("train: open the log: %w", err)
	}
	return &logFile{f}, nil
}

func (l *logFile) write(line LogLine) error {
	data, err := json.Marshal(line)
	if err == nil {
		_, err = l.f.Write(append(data, '\n'))
	}
	if err != nil {
		return fmt.Errorf("train: write the log: %w", err)
	}
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

// logStep writes the step's line: of each of the first ten steps, then at intervals, and of the last.
func (t *Trainer) logStep() error {
	if t.step > 10 && t.step%t.Train.LogEvery != 0 && t.step != t.Train.Steps {
		return nil
	}
	line := LogLine{
		Step: t.step, Images: t.last.Images, Loss: t.last.Loss, GradNorm: t.last.GradNorm, LR: t.last.LR,
		ImagesPerSecond: float64(t.sinceLogImages) / max(t.sinceLogSeconds, 1e-9), Seconds: t.seconds,
	}
	t.sinceLogImages, t.sinceLogSeconds = 0, 0
	return t.log.write(line)
}
