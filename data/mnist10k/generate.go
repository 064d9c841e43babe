//go:build ignore

// Generate cuts the embedded sample set off MNIST's training split:
//
//	go run data/mnist10k/generate.go MNISTDIR data/mnist10k
//
// MNISTDIR holds the published train-images-idx3-ubyte.gz and
// train-labels-idx1-ubyte.gz. The first 10,000 entries of each are written as
// IDX, gzip at its best level, without a time stamp: the same input gives the
// same bytes.
package main

import (
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"fmt"
	"io"
	"log"
	"os"
	"path/filepath"
)

const count = 10000

func main() {
	log.SetFlags(0)
	if len(os.Args) != 3 {
		log.Fatal("usage: go run data/mnist10k/generate.go MNISTDIR OUTDIR")
	}
	for _, f := range []struct {
		in, out   string
		head, dim int // bytes of the header, bytes of an entry
	}{
		{"train-images-idx3-ubyte.gz", "train-images-10k-idx3-ubyte.gz", 16, 28 * 28},
		{"train-labels-idx1-ubyte.gz", "train-labels-10k-idx1-ubyte.gz", 8, 1},
	} {
		in, out := filepath.Join(os.Args[1], f.in), filepath.Join(os.Args[2], f.out)
		if err := cut(in, out, f.head, f.dim); err != nil {
			log.Fatal(err)
		}
	}
}

func cut(in, out string, head, dim int) error {
	file, err := os.Open(in)
	if err != nil {
		return err
	}
	defer file.Close()
	z, err := gzip.NewReader(file)
	if err != nil {
		return fmt.Errorf("%s: %w", in, err)
	}
	b := make([]byte, head+count*dim)
	if _, err := io.ReadFull(z, b); err != nil {
		return fmt.Errorf("%s: %w", in, err)
	}
	if n := binary.BigEndian.Uint32(b[4:]); n != 60000 {
		return fmt.Errorf("%s has %d entries, expected the 60000 of the training split", in, n)
	}
	binary.BigEndian.PutUint32(b[4:], count)

	var packed bytes.Buffer
	w, err := gzip.NewWriterLevel(&packed, gzip.BestCompression)
	if err != nil {
		return err
	}
	if _, err := w.Write(b); err != nil {
		return err
	}
	if err := w.Close(); err != nil {
		return err
	}
	return os.WriteFile(out, packed.Bytes(), 0o644)
}
