package main

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestTargetsAreFunctionsOfF(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x_test.go")
	text := `package x

import "testing"

func FuzzOne(f *testing.F) {}
func FuzzHelper(t *testing.T, b []byte) {}
func FuzzOther(t *testing.T) {}
func TestX(t *testing.T) {}
func (x) FuzzMethod(f *testing.F) {}
func Fuzz2(f *testing.F) {}
`
	if err := os.WriteFile(path, []byte(text), 0o666); err != nil {
		t.Fatal(err)
	}
	if got, err := targets(path); err != nil || !slices.Equal(got, []string{"FuzzOne", "Fuzz2"}) {
		t.Errorf("%q, %v", got, err)
	}
}

// A target that fails makes the run fail and shows why; one that runs has a line with its executions.
func TestRunTellsTargetsThatFail(t *testing.T) {
	if testing.Short() {
		t.Skip("it builds a module")
	}
	dir := t.TempDir()
	for name, text := range map[string]string{
		"go.mod": "module m\n\ngo 1.26\n",
		"p/p_test.go": `package p

import "testing"

func FuzzBad(f *testing.F) {
	f.Add("")
	f.Fuzz(func(t *testing.T, s string) { t.Error("it is wrong") })
}

func FuzzGood(f *testing.F) {
	f.Add("")
	f.Fuzz(func(t *testing.T, s string) {})
}
`,
	} {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	t.Chdir(dir)
	var out strings.Builder
	o := options{time: 100 * time.Millisecond, longOf: regexp.MustCompile("x"), only: regexp.MustCompile(""), parallel: 1}
	err := run(o, &out)
	if err == nil || err.Error() != "1 targets failed" {
		t.Errorf("error %v", err)
	}
	for _, want := range []string{`p\.FuzzBad +\d+ executions +[\d.]+ s  FAILED`, "it is wrong", `p\.FuzzGood +\d+ executions +[\d.]+ s  ok`} {
		if !regexp.MustCompile(want).MatchString(out.String()) {
			t.Errorf("no %s in\n%s", want, &out)
		}
	}
}

// The executions are those of the fuzzer's last line.
func TestExecutionsAreTheLast(t *testing.T) {
	text := "fuzz: elapsed: 3s, execs: 1234 (411/sec), new interesting: 0 (total: 1)\n" +
		"fuzz: elapsed: 6s, execs: 5678 (1481/sec), new interesting: 2 (total: 3)\nPASS\n"
	found := executions.FindAllStringSubmatch(text, -1)
	if len(found) != 2 || found[1][1] != "5678" {
		t.Errorf("found %q", found)
	}
}

func TestTheFuzzersOwnEndIsNoFailure(t *testing.T) {
	for text, end := range map[string]bool{
		"fuzz: elapsed: 2s, execs: 10 (5/sec)\n--- FAIL: FuzzX (2.02s)\n    context deadline exceeded\nFAIL\n": true,
		"--- FAIL: FuzzX (0.02s)\n    --- FAIL: FuzzX (0.00s)\n        x_test.go:1: it is wrong\n":             false,
	} {
		if ended.MatchString(text) != end {
			t.Errorf("%q: want %t", text, end)
		}
	}
}
