// Package cpu knows the instruction sets ("levels") that the kernels are written for, which of them this machine has, the
// size of its caches, and the environment variables that choose: UNSTIR_CPU and UNSTIR_CONV. No other package asks the
// processor or reads them. github.com/klauspost/cpuid tells what the processor and the operating system support.
package cpu
