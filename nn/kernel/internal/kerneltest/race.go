//go:build race

package kerneltest

// RaceDetector tells whether the tests run under the race detector, which is up to a hundred times slower.
const RaceDetector = true
