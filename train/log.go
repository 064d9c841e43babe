package train

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"time"

	"unstir/internal/atomicfile"
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

// ReadLog reads a log.jsonl. A last line that a crash cut short is left out.
func ReadLog(path string) ([]LogLine, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("train: read the log: %w", err)
	}
	var lines []LogLine
	s := bufio.NewScanner(bytes.NewReader(data))
	for n := 1; s.Scan(); n++ {
		var l LogLine
		if err := json.Unmarshal(s.Bytes(), &l); err != nil {
			if bytes.HasSuffix(data, []byte("\n")) || !bytes.HasSuffix(data, s.Bytes()) {
				return nil, fmt.Errorf("train: %s:%d: %w", path, n, err)
			}
			break
		}
		lines = append(lines, l)
	}
	if err := s.Err(); err != nil {
		return nil, fmt.Errorf("train: read the log %s: %w", path, err)
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
