package main

import (
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"github.com/cheggaaa/pb/v3"
)

// meter shows how far a piece of work is: a bar on a terminal, a plain line now and then elsewhere. Lines that are
// written to it stand above the bar.
type meter struct {
	out   *barWriter
	bar   *pb.ProgressBar // nil where out is no terminal
	what  string
	total int
	start time.Time
	first int // where the work began: the time left is judged by what this process has done
	now   int
	shown time.Time // plain lines: when the last one was written
	ended bool
}

// A plain line is written after a second and then every ten.
const (
	plainFirst = time.Second
	plainEvery = 10 * time.Second
)

// newMeter begins at `from` of `total`.
func newMeter(w io.Writer, what string, from, total int) *meter {
	start := time.Now()
	m := &meter{
		out: &barWriter{w: w}, what: what, total: total, first: from, now: from,
		start: start, shown: start.Add(plainFirst - plainEvery),
	}
	if t, ok := w.(interface{ terminal() bool }); !ok || !t.terminal() {
		return m
	}
	m.drawBar()
	m.bar.Start()
	return m
}

// drawBar makes a bar, which draws itself once it is started.
func (m *meter) drawBar() {
	m.bar = pb.New(m.total)
	m.bar.SetTemplateString(`{{string . "what"}} {{bar . "[" "=" ">" " " "]"}} {{percent . }} {{string . "note"}}{{string . "left"}}`)
	m.bar.Set(pb.Terminal, true).Set(pb.ReturnSymbol, "\r").Set(pb.Color, false)
	m.bar.Set("what", m.what).SetCurrent(int64(m.first))
	m.bar.SetWriter(m.out)
}

// left is the time left, judged by the speed so far; "" where there is nothing to judge by, or nothing left.
func (m *meter) left() string {
	done := m.now - m.first
	if done <= 0 || m.now >= m.total {
		return ""
	}
	per := time.Since(m.start) / time.Duration(done)
	return ", " + (per * time.Duration(m.total-m.now)).Round(time.Second).String() + " left"
}

// set shows where the work stands.
func (m *meter) set(now int, note string) {
	m.now = now
	if m.bar != nil {
		m.bar.Set("note", note).Set("left", m.left()).SetCurrent(int64(now))
		return
	}
	switch {
	case m.ended, now < m.total && time.Since(m.shown) < plainEvery:
		return
	case now >= m.total:
		m.ended = true
	}
	m.shown = time.Now()
	if note != "" {
		note = ", " + note
	}
	fmt.Fprintf(m.out, "%s %.1f%%%s%s\n", m.what, 100*float64(now)/float64(max(m.total, 1)), note, m.left())
}

// done ends the bar.
func (m *meter) done() {
	if m.bar != nil {
		m.bar.Finish()
	}
}

// Write writes a line above the bar: a note about a file that was written.
func (m *meter) Write(p []byte) (int, error) {
	if m.bar == nil {
		return m.out.Write(p)
	}
	clear := "\r" + strings.Repeat(" ", m.bar.Width()) + "\r"
	if _, err := m.out.Write(append([]byte(clear), p...)); err != nil {
		return 0, err
	}
	return len(p), nil
}

// barWriter lets one write through at a time: the bar draws itself in a goroutine of its own.
type barWriter struct {
	mu sync.Mutex
	w  io.Writer
}

func (b *barWriter) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.w.Write(p)
}
