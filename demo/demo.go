// Package demo has the files of the model that is part of the library: a class-conditional model of MNIST's digits.
package demo

import "embed"

// Directory and file of Files.
const (
	Pipeline = "pipeline"            // the directory of a diffusers pipeline in float16
	State    = "training/state.json" // how far it was trained, and on what
)

// Files are the pipeline's and the state of its training. scripts/demo writes them.
//
//go:embed pipeline training/state.json
var Files embed.FS
