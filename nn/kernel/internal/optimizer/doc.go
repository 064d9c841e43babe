// Package optimizer is AdamW with the moving average of the weights, in one pass over flat slices, and Muon for matrices
// within them.
package optimizer
