// Package parallel is the worker pool that all kernels share, and the scratch memory that their calls are given.
package parallel
