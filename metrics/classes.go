package metrics

import (
	"fmt"
	"math"
)

// histogram counts the images of each of so many classes.
func histogram(classes []int, numClasses int) ([]int, error) {
	if numClasses < 1 {
		return nil, fmt.Errorf("metrics: %d classes: there must be at least 1", numClasses)
	}
	h := make([]int, numClasses)
	for i, c := range classes {
		if c < 0 || c >= numClasses {
			return nil, fmt.Errorf("metrics: image %d is of class %d: it must be from 0 to %d", i, c, numClasses-1)
		}
		h[c]++
	}
	return h, nil
}

// entropy is the entropy in nats of a histogram with counts: 0 where all are of one class, ln K where K classes are equally
// frequent. Without any count it is 0.
func entropy(histogram []int) float64 {
	total := 0
	for _, c := range histogram {
		total += c
	}
	sum := 0.0
	for _, c := range histogram {
		if c > 0 {
			p := float64(c) / float64(total)
			sum -= p * math.Log(p)
		}
	}
	return max(0, sum)
}
