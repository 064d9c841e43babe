package main

import (
	"bytes"
	"flag"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"unstir/internal/samples"
)

var (
	sampleKills    = flag.Int("samplekills", 6, "TestKilledSamplingGoesOn: how often the program is killed")
	sampleKillSeed = flag.Uint64("samplekillseed", 1, "TestKilledSamplingGoesOn: seed of the choice of moments")
)

// A program that is killed at any moment of sampling into a directory, with SIGKILL where the system has it, leaves
// whole images only, and the same command ends with exactly as many as asked for: those of a run that was not
// disturbed, to the byte.
func TestKilledSamplingGoesOn(t *testing.T) {
	workspaceWithRun(t)
	const n = 60
	args := strings.Fields("sample --model runs/tiny --sampler ddim --steps 2 --eta 1 --batch 3 --n 60 --out")
	must(t, append(args, "whole")...)
	whole := pngs(t, "whole")
	manifest := string(readFile(t, "whole/samples.json"))

	r := rand.New(rand.NewPCG(*sampleKillSeed, 0))
	killed, ended := 0, 0
	for killed < *sampleKills {
		// Begin anew now and then, and where all is there, with some images gone.
		switch have := pngs(t, "cut"); {
		case r.IntN(8) == 0:
			if err := os.RemoveAll("cut"); err != nil {
				t.Fatal(err)
			}
		case len(have) == n:
			for name := range have {
				if r.IntN(3) > 0 {
					if err := os.Remove(filepath.Join("cut", name)); err != nil {
						t.Fatal(err)
					}
				}
			}
		}
		if killDuringSampling(t, r, append(args, "cut")) {
			killed++
		} else {
			ended++
		}
		for name, data := range pngs(t, "cut") {
			if data != whole[name] {
				t.Fatalf("after kill %d, %s is not the image of an undisturbed run (%d bytes, want %d)", killed, name, len(data), len(whole[name]))
			}
		}
		if exists("cut/samples.json") && string(readFile(t, "cut/samples.json")) != manifest {
			t.Fatalf("after kill %d, samples.json is\n%s", killed, readFile(t, "cut/samples.json"))
		}
	}
	t.Logf("%d kills, and %d runs that ended before theirs", killed, ended)
	os.Remove(filepath.Join("cut", samples.Name(r.IntN(n)))) // so that there is something left to do
	must(t, append(args, "cut")...)
	sameSet(t, "cut", "whole", n)
	if got, want := files(t, "cut"), files(t, "whole"); len(got) != len(want) {
		t.Errorf("%d files are there, want %d: something is left over", len(got), len(want))
	}
}

// killDuringSampling runs the program in a process of its own and kills it: some time after its start, or after one
// image more is there. It returns false where the program has ended by itself before that, which must be well.
func killDuringSampling(t *testing.T, r *rand.Rand, args []string) bool {
	t.Helper()
	cmd := command(t.Context(), args...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	before, images := len(pngs(t, "cut")), r.IntN(40)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- cmd.Wait() }()
	if r.IntN(4) == 0 {
		images = 0
		time.Sleep(time.Duration(r.IntN(100)) * time.Millisecond)
	}
	for len(names(t, "cut", ".png"))-before < images {
		select {
		case err := <-done:
			if err != nil {
				t.Fatalf("the program failed: %v\n%s", err, stderr.String())
			}
			return false
		case <-time.After(200 * time.Microsecond):
		}
	}
	time.Sleep(time.Duration(r.IntN(2000)) * time.Microsecond)
	if err := cmd.Process.Kill(); err != nil && err != os.ErrProcessDone {
		t.Fatal(err)
	}
	if err := <-done; err == nil {
		return false
	}
	if stderr := stderr.String(); strings.Contains(stderr, "diffusion: ") {
		t.Fatalf("the program failed: %s", stderr)
	}
	return true
}

// names lists a directory's files whose names end so; none where there is no directory.
func names(t *testing.T, dir, suffix string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	var list []string
	for _, e := range entries {
		if strings.HasSuffix(e.Name(), suffix) {
			list = append(list, e.Name())
		}
	}
	return list
}
