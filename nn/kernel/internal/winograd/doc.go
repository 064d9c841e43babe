// Package winograd computes 3x3 convolutions of stride 1 by Winograd's minimal filtering (A. Lavin, S. Gray, "Fast Algorithms
// for Convolutional Neural Networks", 2016): y = A^T [(G g G^T) * (B^T d B)] A. The elementwise products of many tiles, summed
// over the input channels, are one matrix product for each point, or "plane", of the transforms' grid.
//
//	matrices.txt                       the matrices A^T, B^T and G of each family and size of tile
//	family.go, transform.go, *_go.go   the families and their transforms in plain Go, held against these matrices
//	grid.go, layout.go                 how images are cut into tiles, smaller ones at the edges, and where their pixels are
//	winograd.go, multiply.go           the convolution, block by block of tiles; worker.go is what each thread has
//	panels.go                          the convolution, panel by panel of a filter that is new at every call
//	weights.go, weights_block.go       the gradient of the filter
//
// The letters are Lavin and Gray's: V the transformed tiles of the source, U the transformed filter, M their products; in the
// gradient of the filter W the transformed tiles of dy and D the sums of the products V^T W.
package winograd
