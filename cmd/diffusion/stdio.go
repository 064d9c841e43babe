package main

import (
	"os"
	"sync"
	"time"

	"github.com/mattn/go-isatty"
)

// messages is standard error: progress, notes and errors. A write neither blocks nor fails, so that computing never
// depends on a reader. What a closed terminal, a closed pipe or a full disk does not take is dropped, and so is what
// comes while maxWaiting bytes wait for a reader that has stopped reading.
type messages struct {
	file *os.File

	mu      sync.Mutex
	changed *sync.Cond
	waiting []byte
	writing bool // a piece is being written
	pieces  int  // written so far
	stuck   bool // the reader took nothing for as long as flush waits
}

const (
	maxWaiting = 1 << 16
	maxPiece   = 1 << 12 // that every pipe takes at once
	patience   = 2 * time.Second
)

func newMessages(f *os.File) *messages {
	m := &messages{file: f}
	m.changed = sync.NewCond(&m.mu)
	go m.write()
	return m
}

// terminal reports whether standard error is a terminal.
func (m *messages) terminal() bool {
	return isatty.IsTerminal(m.file.Fd()) || isatty.IsCygwinTerminal(m.file.Fd())
}

func (m *messages) Write(p []byte) (int, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.waiting)+len(p) <= maxWaiting {
		m.waiting = append(m.waiting, p...)
		m.changed.Broadcast()
	}
	return len(p), nil
}

// write hands on what waits, for as long as the program runs.
func (m *messages) write() {
	piece := make([]byte, maxPiece)
	m.mu.Lock()
	defer m.mu.Unlock()
	for {
		for len(m.waiting) == 0 {
			m.changed.Wait()
		}
		n := copy(piece, m.waiting)
		m.waiting = m.waiting[:copy(m.waiting, m.waiting[n:])]
		m.writing = true
		m.mu.Unlock()
		_, _ = m.file.Write(piece[:n]) // there is nowhere to report a failure
		m.mu.Lock()
		m.writing, m.stuck = false, false
		m.pieces++
		m.changed.Broadcast()
	}
}

// flush waits until all is written, but not for a reader that takes nothing.
func (m *messages) flush() {
	m.mu.Lock()
	defer m.mu.Unlock()
	for (len(m.waiting) > 0 || m.writing) && !m.stuck {
		before, late := m.pieces, false
		timer := time.AfterFunc(patience, func() {
			m.mu.Lock()
			late = true
			m.mu.Unlock()
			m.changed.Broadcast()
		})
		for m.pieces == before && !late {
			m.changed.Wait()
		}
		timer.Stop()
		m.stuck = m.pieces == before
	}
}

// results is standard output. The messages before a result are written before it, as both may go to one place. A reader
// that has left is not an error; a full disk is one.
type results struct {
	file   *os.File
	before *messages
}

func (r *results) Write(p []byte) (int, error) {
	r.before.flush()
	n, err := r.file.Write(p)
	if err != nil && readerLeft(r.file, err) {
		return len(p), nil
	}
	return n, err
}
