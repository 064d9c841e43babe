//go:build !amd64 || noasm

package optimizer

func adamwVec(w, m, v, ema, g []float32, k *adamwConstants) { adamwGo(w, m, v, ema, g, k) }
