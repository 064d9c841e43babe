// Package eventtest reads, in tests, what a run left for TensorBoard.
package eventtest

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"testing"

	"unstir/internal/tfevents"
)

// Read returns the events of the one event file in a run's directory, and fails the test where there is none, or more,
// or anything in it is damaged.
func Read(tb testing.TB, run string) []tfevents.Event {
	tb.Helper()
	found, err := filepath.Glob(filepath.Join(run, "*tfevents*"))
	if err != nil || len(found) != 1 {
		tb.Fatalf("%s has the event files %q (%v), want one", run, found, err)
	}
	f, err := os.Open(found[0])
	if err != nil {
		tb.Fatal(err)
	}
	defer f.Close()
	var list []tfevents.Event
	for r := tfevents.NewReader(f); ; {
		data, err := r.Next()
		if errors.Is(err, io.EOF) {
			return list
		}
		if err != nil {
			tb.Fatalf("%s, after %d events: %v", found[0], len(list), err)
		}
		e, err := tfevents.Decode(data)
		if err != nil {
			tb.Fatalf("%s, after %d events: %v", found[0], len(list), err)
		}
		list = append(list, e)
	}
}

// Lines describes a run's events, one a line, without what differs from one run to the next: times and speeds.
func Lines(tb testing.TB, run string) (list []string) {
	tb.Helper()
	for _, e := range Read(tb, run) {
		line := fmt.Sprintf("step %d %s", e.Step, e.FileVersion)
		for _, v := range e.Values {
			switch {
			case v.Image != nil:
				line += fmt.Sprintf(" %s: %dx%dx%d %x", v.Tag, v.Image.Colors, v.Image.Height, v.Image.Width, sha256.Sum256(v.Image.Data))
			case v.Text != "":
				line += fmt.Sprintf(" %s: %q", v.Tag, v.Text)
			case v.Tag != "train/images_per_s":
				line += fmt.Sprintf(" %s: %g", v.Tag, v.Scalar)
			}
		}
		list = append(list, line)
	}
	return list
}
