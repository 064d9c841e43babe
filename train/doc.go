// Package train is the training loop: draw a batch, noise it, compute L_simple and its gradient, update the
// weights by AdamW or Muon and their moving average, and keep what happens in a run's directory: a log, previews, a plot
// of the loss and checkpoints that a run goes on from bit for bit.
package train
