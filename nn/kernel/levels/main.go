// The levels program prints the kernel levels that this machine can run, one a line: what to set UNSTIR_CPU to
// in order to test them all.
package main

import (
	"fmt"

	"unstir/nn/kernel"
)

func main() {
	for _, l := range []kernel.Level{kernel.Generic, kernel.AVX2, kernel.AVX512} {
		if kernel.SetLevel(l) == nil {
			fmt.Println(l)
		}
	}
}
