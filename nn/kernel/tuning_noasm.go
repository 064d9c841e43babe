//go:build !amd64 || noasm

package kernel

func thisMachine() tuning { return tuningOf(0) }
