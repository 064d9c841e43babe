// Package nn has the layers of a UNet and of a classifier as functions on Gorgonia graph nodes, the parameters behind them, and the
// Gorgonia operations that both the planned engine and the stock tape machine run.
//
// Activations are NHWC, filters HWIO, linear weights [in, out]. A layer is one operation, forward and backward:
// what is fused (bias, time embedding and residual into a convolution, SiLU into a group norm) is fused inside
// an operation. Every operation has finite-difference tests for each of its inputs.
package nn
