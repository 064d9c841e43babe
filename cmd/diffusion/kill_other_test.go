//go:build !unix

package main

import "testing"

func TestKills(t *testing.T) {
	t.Skip("NOT TESTED HERE: kills need a Unix system's SIGKILL")
}
