// Package engine runs Gorgonia graphs whose operations are Ops, without allocating.
//
// Gorgonia builds the expression graph and differentiates it; the engine decides where each value lives. New
// orders the nodes, finds how long each value is needed, and lays all of them out in one arena; RunAll then
// calls the kernels in order. Machine is a gorgonia.VM, and the stock TapeMachine runs the same graph with the
// same bits: it is the engine's test oracle.
package engine
