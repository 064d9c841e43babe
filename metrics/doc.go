// Package metrics says how near generated images are to real ones, by statistics of their features: Fréchet and kernel
// distance, precision, recall, density and coverage, the histogram of predicted classes, and near copies of training
// images. It knows nothing of images: a feature is whatever a network makes of one, a row of d numbers.
//
//	samples, err := metrics.ReadFeatures("samples.npy") // [n, d]
//	...
//	references, err := metrics.ReadFeatures("test.npy")
//	...
//	result, err := metrics.Evaluate(ctx, metrics.Input{Samples: samples, References: references})
//	...
//	fmt.Print(result.Table())
//
// Everything is computed in float64, on as many goroutines as the kernels use (kernel.SetThreads); no result depends on
// how many these are. Errors are about the input, which they name, or are that of the context.
package metrics
