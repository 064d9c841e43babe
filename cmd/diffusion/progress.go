package main

import (
	"fmt"
	"os"
	"time"

	"github.com/cheggaaa/pb/v3"
	"github.com/mattn/go-isatty"
)

// meter shows progress on stderr: a bar on a terminal, a plain line now and then elsewhere.
type meter struct {
	bar   *pb.ProgressBar
	what  string
	total int
	start time.Time
	last  time.Time
	first int // where the bar began: time left is judged by what this process has done
	now   int
}

const plainEvery = 10 * time.Second

// newMeter begins at `from` of `total`.
func newMeter(what string, from, total int) *meter {
	m := &meter{what: what, total: total, first: from, now: from, start: time.Now(), last: time.Now()}
	if !isatty.IsTerminal(os.Stderr.Fd()) {
		return m
	}
	m.bar = pb.New(total)
	m.bar.SetTemplateString(`{{string . "what"}} {{bar . "[" "=" ">" " " "]"}} {{percent . }} {{string . "note"}} {{string . "left"}}`)
	m.bar.Set("what", what).SetCurrent(int64(from))
	m.bar.SetWriter(os.Stderr)
	m.bar.Start()
	return m
}

// left is the time left, judged by the speed so far.
func (m *meter) left() string {
	done := m.now - m.first
	if done <= 0 {
		return ""
	}
	per := time.Since(m.start) / time.Duration(done)
	return "left " + (per * time.Duration(m.total-m.now)).Round(time.Second).String()
}

// set shows where the work stands. The first few calls are always shown.
func (m *meter) set(now int, note string) {
	m.now = now
	if m.bar != nil {
		m.bar.Set("note", note).Set("left", m.left()).SetCurrent(int64(now))
		return
	}
	if time.Since(m.last) < plainEvery && now != m.total {
		return
	}
	m.last = time.Now()
	fmt.Fprintf(os.Stderr, "%s %.1f%% %s %s\n", m.what, 100*float64(now)/float64(max(m.total, 1)), note, m.left())
}

// done ends the bar.
func (m *meter) done() {
	if m.bar != nil {
		m.bar.Finish()
	}
}

// Write prints a line between the bar's: a note about a file that was written.
func (m *meter) Write(p []byte) (int, error) {
	if m.bar != nil {
		fmt.Fprint(os.Stderr, "\r\033[K")
	}
	return os.Stderr.Write(p)
}
