// Command featurenet writes the networks that the program embeds, from runs of the presets mnist-classifier and
// fashion-mnist-classifier, and the features of MNIST's test images:
//
//	go run ./scripts/featurenet -data-dir DIR mnist=runs/mnist-classifier fashion-mnist=runs/fashion-mnist-classifier
//
// The same runs give the same files on every machine with AVX2 or AVX-512.
package main

import (
	"context"
	"flag"
	"fmt"
	"log"
	"strings"

	"unstir"
	"unstir/data"
	"unstir/featurenet"
)

func main() {
	log.SetFlags(0)
	dir := flag.String("data-dir", "", "directory with the datasets' files; empty: the cache, then the network")
	out := flag.String("out", "featurenet/assets", "directory to write")
	flag.Parse()
	if flag.NArg() == 0 {
		log.Fatal("usage: go run ./scripts/featurenet [-data-dir DIR] [-out DIR] DATASET=RUN ...")
	}
	for _, arg := range flag.Args() {
		dataset, run, ok := strings.Cut(arg, "=")
		if !ok {
			log.Fatalf("%s: it must be DATASET=RUN", arg)
		}
		if err := write(context.Background(), *out, *dir, dataset, run); err != nil {
			log.Fatal(err)
		}
	}
}

func write(ctx context.Context, out, dir, dataset, run string) error {
	c, err := unstir.OpenClassifier(ctx, run)
	if err != nil {
		return err
	}
	test, err := data.Open(ctx, data.Config{Dataset: dataset}, data.Options{Dir: dir, Split: data.Test})
	if err != nil {
		return err
	}
	n, err := featurenet.WriteAssets(ctx, out, dataset+"-classifier", c.Model, test, dataset == data.MNIST)
	if err != nil {
		return err
	}
	fmt.Printf("%s: test accuracy %.2f %%\n", n.Name, 100**n.Accuracy)
	return nil
}
