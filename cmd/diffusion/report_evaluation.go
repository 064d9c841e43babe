package main

import (
	"errors"
	"fmt"
	"io/fs"
	"math"
	"path/filepath"
	"strconv"

	"unstir/internal/filekind"
	"unstir/internal/htmlreport"
	"unstir/metrics"
)

func (p *pageOf) evaluation() {
	text, err := filekind.ReadFile(filepath.Join(p.dir, evalName), maxReportText)
	if errors.Is(err, fs.ErrNotExist) {
		p.NoteOnEval = fmt.Sprintf("There is none: the run's directory has no %s.", evalName)
		if p.state != nil {
			p.NoteOnEval += " A command below makes one."
		}
		p.miss("There is no evaluation.")
		return
	}
	var r *metrics.Result
	if err == nil {
		r, err = metrics.ParseResult(text)
	}
	if err != nil {
		p.NoteOnEval = fmt.Sprintf("The evaluation cannot be read: %v.", err)
		p.miss("The evaluation cannot be read: %s.", evalName)
		return
	}
	p.Evaluation = describeEvaluation(r, p.classes)
	if r.BitsPerDim != nil {
		p.bound()
	}
	if r.ModelStep != nil && p.state != nil && *r.ModelStep != p.state.Step {
		p.NoteOnEval = fmt.Sprintf("The evaluation is of step %s, and the newest checkpoint of step %s.", counted(*r.ModelStep), counted(p.state.Step))
		p.miss("%s", p.NoteOnEval)
	}
}

// bound is the plot of the evaluation's bits per dimension.
func (p *pageOf) bound() {
	data, err := filekind.ReadFile(filepath.Join(p.dir, boundName), maxReportPicture)
	if err != nil {
		p.miss("The plot of the bits per dimension cannot be read: %v.", err)
		return
	}
	p.Bound = &htmlreport.Picture{
		Data: data, Caption: "Terms of the variational bound by timestep, and their sum up to each, in bits per dimension.",
		Alt: "Two curves over the timestep, which is on a logarithmic axis: the terms of the variational bound, and their sum up to each timestep",
	}
}

// describeEvaluation is a result for the page; classes are the names of those that it counts.
func describeEvaluation(r *metrics.Result, classes []string) *htmlreport.Evaluation {
	e := &htmlreport.Evaluation{Measures: measuresOf(r), How: howOf(r)}
	for i, n := range r.ClassHistogram {
		name := strconv.Itoa(i)
		if i < len(classes) {
			name = classes[i]
		}
		e.Classes = append(e.Classes, htmlreport.Class{Name: name, Count: n})
	}
	return e
}

// measuresOf are the rows of what there is.
func measuresOf(r *metrics.Result) (list []htmlreport.Measure) {
	add := func(v *float64, m htmlreport.Measure) {
		if v != nil {
			if m.Value == "" {
				m.Value = htmlreport.Number(*v)
			}
			list = append(list, m)
		}
	}
	beside := ""
	if r.FrechetReal != nil {
		beside = "real images " + htmlreport.Number(*r.FrechetReal)
		if r.FrechetNoise != nil {
			beside += ", noise " + htmlreport.Number(*r.FrechetNoise)
		}
		if r.Frechet != nil && *r.FrechetReal > 0 {
			beside += fmt.Sprintf("; %s times that of real images", strconv.FormatFloat(*r.Frechet / *r.FrechetReal, 'f', 1, 64))
		}
	}
	add(r.Frechet, htmlreport.Measure{Name: "Fréchet distance", Beside: beside, Means: "distance between the distributions of features; lower is better"})
	kernel := htmlreport.Measure{Name: "Kernel distance", Means: "the same by a kernel, without a bias; about 0 for real images"}
	if r.KernelMean != nil && r.KernelStd != nil {
		kernel.Value = htmlreport.Number(*r.KernelMean) + " ± " + htmlreport.Number(*r.KernelStd)
	}
	add(r.KernelMean, kernel)
	add(r.Precision, htmlreport.Measure{Name: "Precision", Means: "share of samples that lie among real images"})
	add(r.Recall, htmlreport.Measure{Name: "Recall", Means: "share of real images that lie among samples"})
	add(r.Density, htmlreport.Measure{Name: "Density", Means: "how densely samples lie where real images do; about 1 for real images"})
	add(r.Coverage, htmlreport.Measure{Name: "Coverage", Means: "share of real images that have a sample nearby"})
	entropy := htmlreport.Measure{Name: "Class entropy", Means: "evenness of the classes that a classifier sees in the samples, in nats"}
	if k := len(r.ClassHistogram); k > 1 {
		entropy.Beside = fmt.Sprintf("%s for %d even classes", htmlreport.Number(math.Log(float64(k))), k)
	}
	add(r.ClassEntropy, entropy)
	accuracy := htmlreport.Measure{Name: "Class accuracy", Means: "share of samples that a classifier reads as the class that was asked for"}
	if r.FeatureNetAccuracy != nil {
		accuracy.Beside = fmt.Sprintf("%s for real test images", htmlreport.Number(*r.FeatureNetAccuracy))
	}
	add(r.ClassAccuracy, accuracy)
	add(r.AccuracyScore, htmlreport.Measure{Name: "Accuracy score", Means: "share of real images that a classifier trained on the samples classifies correctly"})
	add(r.NearCopies, htmlreport.Measure{Name: "Near copies", Beside: "0.01 for unseen real images", Means: "share of samples as near to a training image as the nearest 1 % of unseen real images"})
	bits := htmlreport.Measure{Name: "Bits per dimension", Means: "variational bound on the code length of test images; lower is better"}
	if r.BitsPerDim != nil && r.BitsPerDimStdErr != nil {
		bits.Value = htmlreport.Number(*r.BitsPerDim) + " ± " + htmlreport.Number(*r.BitsPerDimStdErr)
	}
	add(r.BitsPerDim, bits)
	add(r.ImagesPerS, htmlreport.Measure{Name: "Images a second", Means: "speed of the sampling"})
	return list
}

// howOf says how the samples were made and compared, in the order of the keys.
func howOf(r *metrics.Result) (list []htmlreport.Fact) {
	add := func(label string, has bool, value func() string) {
		if has {
			list = append(list, htmlreport.Fact{Label: label, Value: value()})
		}
	}
	add("Samples", r.N > 0, func() string { return counted(r.N) })
	add("Dataset", r.Dataset != nil, func() string { return *r.Dataset })
	add("Sampler", r.Sampler != nil, func() string {
		if r.Steps != nil {
			return fmt.Sprintf("%s, %s steps", *r.Sampler, counted(*r.Steps))
		}
		return *r.Sampler
	})
	add("Seed", r.Seed != nil, func() string { return strconv.FormatUint(*r.Seed, 10) })
	add("Settings", r.Settings != nil, func() string { return *r.Settings })
	add("Model of step", r.ModelStep != nil, func() string { return counted(*r.ModelStep) })
	add("Features", r.FeatureNet != nil, func() string { return *r.FeatureNet })
	return list
}
