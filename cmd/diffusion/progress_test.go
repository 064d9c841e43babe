package main

import (
	"bytes"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"unstir/train"
)

// screen is a terminal that knows carriage returns: the lines that stand there in the end.
func screen(text string) []string {
	var lines []string
	var line []rune
	col := 0
	for _, r := range text {
		switch r {
		case '\r':
			col = 0
		case '\n':
			lines = append(lines, strings.TrimRight(string(line), " "))
			line, col = nil, 0
		default:
			for len(line) <= col {
				line = append(line, ' ')
			}
			line[col] = r
			col++
		}
	}
	return append(lines, strings.TrimRight(string(line), " "))
}

// Notes that are written while the bar draws itself stand whole on lines of their own, above the bar.
func TestNotesDoNotGarbleTheBar(t *testing.T) {
	var b bytes.Buffer
	m := newMeter(&b, "train", 0, 300)
	m.drawBar()
	m.bar.SetWidth(90).SetRefreshRate(time.Millisecond)
	m.bar.Start()
	var group sync.WaitGroup
	for w := range 2 {
		group.Go(func() {
			for i := range 100 {
				fmt.Fprintf(m, "note %d of %d: %s\n", i, w, strings.Repeat("x", i%60))
				time.Sleep(100 * time.Microsecond)
			}
		})
	}
	for i := range 300 {
		m.set(i+1, fmt.Sprintf("step %d/300, loss %.4f", i+1, 1/float64(i+1)))
		time.Sleep(50 * time.Microsecond)
	}
	group.Wait()
	m.done()
	lines := screen(b.String())
	notes, last := map[string]bool{}, ""
	for _, line := range lines {
		switch {
		case strings.HasPrefix(line, "note "):
			notes[line] = true
		case line != "":
			last = line
			if !strings.HasPrefix(line, "train [") {
				t.Errorf("a garbled line: %q", line)
			}
		}
	}
	for w := range 2 {
		for i := range 100 {
			if want := fmt.Sprintf("note %d of %d: %s", i, w, strings.Repeat("x", i%60)); !notes[strings.TrimRight(want, " ")] {
				t.Fatalf("the note %q is not on a line of its own", want)
			}
		}
	}
	if !strings.Contains(last, "100.00%") || !strings.Contains(last, "step 300/300") || strings.Contains(last, "left") {
		t.Errorf("the bar ends as %q", last)
	}
}

// Where stderr is no terminal there are plain lines, not too many, and the last one says that the work is done.
func TestPlainProgress(t *testing.T) {
	var b bytes.Buffer
	m := newMeter(&b, "ddim", 10, 1000)
	m.set(11, "t = 5")
	if b.Len() > 0 {
		t.Errorf("a line at once: %q", b.String())
	}
	m.start, m.shown = m.start.Add(-2*time.Second), m.shown.Add(-2*time.Second)
	for i := 12; i <= 20; i++ {
		m.set(i, "t = 4")
	}
	if got := b.String(); !strings.HasPrefix(got, "ddim 1.2%, t = 4, ") || !strings.HasSuffix(got, " left\n") || strings.Count(got, "\n") != 1 {
		t.Errorf("after a second: %q", got)
	}
	b.Reset()
	m.set(1000, "t = 0")
	m.set(1000, "t = 0")
	if got := b.String(); got != "ddim 100.0%, t = 0\n" {
		t.Errorf("in the end: %q", got)
	}
}

// The time left is judged by what this process has done, not by where it began.
func TestTimeLeft(t *testing.T) {
	m := newMeter(&bytes.Buffer{}, "train", 900, 1000)
	if m.left() != "" {
		t.Errorf("before the first step: %q", m.left())
	}
	m.start, m.now = time.Now().Add(-20*time.Second), 910
	if got := m.left(); got != ", 3m0s left" {
		t.Errorf("ten steps took 20 s and 90 are left: %q", got)
	}
}

// The speed that is shown is smooth: one slow step does not make it jump.
func TestSpeedIsSmoothed(t *testing.T) {
	var b bytes.Buffer
	n := &notes{w: &b, bar: newMeter(&b, "train", 0, 3)}
	for i, speed := range []float64{100, 100, 50} {
		n.step(train.Progress{Step: i + 1, Steps: 3, ImagesPerSecond: speed})
	}
	has(t, "the last line", b.String(), " 91 images/s")
}
