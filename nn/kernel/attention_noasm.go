package kernel

func softmaxExp(row []float32, scale float32) (largest, sum float32) { return softmaxExpGo(row, scale) }

func softmaxBackward(p, ds []float32, scale, lse, delta float32) {
	softmaxBackwardGo(p, ds, scale, lse, delta)
}
