package metrics

import (
	"cmp"
	"context"
	"math"
	"slices"
)

// Pair is a sample and the training image nearest to it.
type Pair struct {
	Sample, Training int     // rows
	Distance         float64 // Euclidean, between their features
}

// nearest finds the nearest training row of every sample; of equally near ones the first.
func nearest(ctx context.Context, samples, training Features, packed *rows) ([]Pair, error) {
	pairs := make([]Pair, samples.N)
	err := eachTile(ctx, samples.N, func(first, end int, tile []float64) {
		for i := first; i < end; i++ {
			pairs[i] = Pair{i, 0, math.Inf(1)}
		}
		packed.distances(samples, first, end, tile, func(i, j int, squared []float64) {
			p := &pairs[i]
			for l, d := range squared {
				if d < p.Distance {
					p.Training, p.Distance = j+l, d
				}
			}
		})
		for i := first; i < end; i++ { // without the cancellation of |x|² + |y|² - 2 x.y
			p, sum := &pairs[i], 0.0
			for l, v := range training.row(p.Training) {
				diff := v - samples.row(i)[l]
				sum += float64(diff * diff)
			}
			p.Distance = math.Sqrt(sum)
		}
	})
	return pairs, err
}

// copyPercentile is the percentile of the test images' nearest distances below which a sample is a near copy.
const copyPercentile = 1

// Copies tells how many samples are suspiciously near to training images.
type Copies struct {
	Share     float64 // of samples nearer than Threshold to a training image
	Threshold float64 // the 1st percentile of the test images' own distances to their nearest training images
	Nearest   []Pair  // every sample's, the nearest first
}

// NearCopies compares the distances of samples to their nearest training images with those of test images. A model that
// copies nothing has a share of about 1 %.
func NearCopies(ctx context.Context, samples, test, training Features) (Copies, error) {
	if err := checkPair(samples, test); err != nil {
		return Copies{}, err
	}
	if err := checkWith("training images", training, samples.D); err != nil {
		return Copies{}, err
	}
	packed := pack(training)
	own, err := nearest(ctx, test, training, packed)
	if err != nil {
		return Copies{}, err
	}
	pairs, err := nearest(ctx, samples, training, packed)
	if err != nil {
		return Copies{}, err
	}
	distances := make([]float64, len(own))
	for i, p := range own {
		distances[i] = p.Distance
	}
	c := Copies{Threshold: percentile(distances, copyPercentile), Nearest: pairs}
	below := 0
	for _, p := range pairs {
		below += count(p.Distance < c.Threshold)
	}
	c.Share = float64(below) / float64(len(pairs))
	slices.SortStableFunc(pairs, func(a, b Pair) int { return cmp.Compare(a.Distance, b.Distance) })
	return c, nil
}

// percentile interpolates between the two nearest ranks, as numpy.percentile does by default. It sorts values.
func percentile(values []float64, percent float64) float64 {
	slices.Sort(values)
	at := percent / 100 * float64(len(values)-1)
	low := int(at)
	if low+1 == len(values) {
		return values[low]
	}
	return values[low] + (at-float64(low))*(values[low+1]-values[low])
}
