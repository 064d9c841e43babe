//go:build !linux

package kernel

func osYield() {}
