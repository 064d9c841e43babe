// Generate writes the kernels' assembly with avo. To regenerate every family, from
// this directory:
//
//	sh generate.sh
//
// and to check that the committed files are what it writes (CI does): sh check.sh.
// A family is one .s file, one .go file of declarations beside it, and the tables that hold its functions, one a level:
//
//	go run . -family gemm -pkg gemm -out ../internal/gemm/gemm_amd64.s -stubs ../internal/gemm/gemm_amd64.go \
//		-tables ../internal/gemm/table_amd64.go
//
// To add a family, write its generator in a file of its own here and enter it into
// families from an init function; generate.sh finds it by itself.
//
// It is a module of its own so that users of the kernels do not depend on avo; the
// directory's underscore hides it from ./... . golang.org/x/tools is raised because
// the version that avo asks for does not compile with this Go.
package main

import (
	"flag"
	"fmt"
	"os"
	"slices"

	"github.com/mmcloughlin/avo/build"
	"github.com/mmcloughlin/avo/pass"
)

// family is the kernels of a package.
type family struct {
	table string // the type of its tables
	write func() // builds its kernels and enters them into the tables
}

var families = map[string]family{}

func main() {
	name := flag.String("family", "", "which family of kernels to write")
	list := flag.Bool("list", false, "print the families' names")
	tables := flag.String("tables", "", "where to write the family's tables")
	flag.Parse()
	var names []string
	for n := range families {
		names = append(names, n)
	}
	slices.Sort(names)
	if *list {
		for _, n := range names {
			fmt.Println(n)
		}
		return
	}
	f, known := families[*name]
	if !known {
		fmt.Fprintf(os.Stderr, "generate: -family %q is unknown; the families are %v\n", *name, names)
		os.Exit(2)
	}
	build.ConstraintExpr("amd64,!noasm")
	f.write()
	pass.Compile = pass.Concat(pass.Compile, pass.InstructionPass(spellPrefetchW)) // what Generate runs
	build.Generate()
	if err := writeTables(*tables, *name, f.table); err != nil {
		fmt.Fprintf(os.Stderr, "generate: the tables of %s: %v\n", *name, err)
		os.Exit(1)
	}
}
