// Package hashtest pins the bits of results in a file of hashes that is committed beside a test.
package hashtest

import (
	"bufio"
	"crypto/sha256"
	"encoding/binary"
	"flag"
	"fmt"
	"hash"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write the files of hashes instead of comparing with them")

// Hash hashes the bits of some results, each with its length.
func Hash(results ...[]float32) string {
	h := sha256.New()
	for _, x := range results {
		add(h, x)
	}
	return fmt.Sprintf("%x", h.Sum(nil)[:12])
}

func add(h hash.Hash, x []float32) {
	buf := binary.LittleEndian.AppendUint64(make([]byte, 0, 8+4*len(x)), uint64(len(x)))
	for _, v := range x {
		buf = binary.LittleEndian.AppendUint32(buf, math.Float32bits(v))
	}
	h.Write(buf)
}

// File is a file of hashes, one line "hash name" each.
type File struct {
	path string
	want map[string]string
	got  []string
}

// Open reads testdata/name. With -update it need not exist.
func Open(t *testing.T, name string) *File {
	t.Helper()
	f := &File{path: filepath.Join("testdata", name), want: map[string]string{}}
	if *update {
		return f
	}
	in, err := os.Open(f.path)
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	lines := bufio.NewScanner(in)
	for lines.Scan() {
		if sum, name, ok := strings.Cut(lines.Text(), " "); ok {
			f.want[name] = sum
		}
	}
	if err := lines.Err(); err != nil {
		t.Fatal(err)
	}
	return f
}

// Check compares the hash of results with the file's; with -update it records it.
func (f *File) Check(t *testing.T, name string, results ...[]float32) {
	t.Helper()
	sum := Hash(results...)
	f.got = append(f.got, sum+" "+name)
	if want := f.want[name]; !*update && sum != want {
		t.Errorf("%s: the results' hash is %s, not %q of %s: if the bits were meant to change, run the test with -update at AVX2 (UNSTIR_CPU=avx2) and say in the commit which did", name, sum, want, f.path)
	}
}

// Close fails where the file has a hash that nothing was compared with; with -update it writes the file.
func (f *File) Close(t *testing.T) {
	t.Helper()
	if *update {
		if err := os.WriteFile(f.path, []byte(strings.Join(f.got, "\n")+"\n"), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if len(f.got) != len(f.want) {
		t.Errorf("%s has %d hashes, and %d were compared", f.path, len(f.want), len(f.got))
	}
}
