// Package soak holds no code of the program, only a test of what hours of training and sampling leave behind:
// resident memory, file handles and goroutines must stay level. Its length is set by flags:
//
//	go test ./internal/soak -v                                                     # 2,400 steps and 4,000 images
//	go test ./internal/soak -v -timeout 3h -args -train 1h -samples 100000         # an hour, and memory within 2 %
package soak
