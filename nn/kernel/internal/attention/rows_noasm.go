//go:build !amd64 || noasm

package attention

func softmaxRows(p, largest, sum []float32, rows, width int, scale float32) {
	softmaxRowsGo(p, largest, sum, rows, width, scale)
}

func softmaxBackRows(p, ds, lse, delta []float32, rows, width int, scale float32) {
	softmaxBackRowsGo(p, ds, lse, delta, rows, width, scale)
}

func softmaxKeptRows(p, ds, delta []float32, rows, width int, scale float32) {
	softmaxKeptRowsGo(p, ds, delta, rows, width, scale)
}

func laneScores(p, a, lanes, high []float32, ld, rows, d int) {
	laneScoresGo(p, a, lanes, high, ld, rows, d)
}

func laneSum(out, a, p, factor []float32, ld, rows, d int) { laneSumGo(out, a, p, factor, ld, rows, d) }

func laneAdd(out, a, p []float32, ld, rows, d int) { laneAddGo(out, a, p, ld, rows, d) }

func laneExp(p, high, lse, inverse []float32, rows int, scale float32) {
	laneExpGo(p, high, lse, inverse, rows, scale)
}

func laneGradients(p, ds, lse, delta []float32, rows int, scale float32) {
	laneGradientsGo(p, ds, lse, delta, rows, scale)
}

func toLanes(lanes, rows []float32, ld, d int)   { toLanesGo(lanes, rows, ld, d) }
func fromLanes(rows, lanes []float32, ld, d int) { fromLanesGo(rows, lanes, ld, d) }

func packRows(dst, src []float32, ld, rows, d int) { packRowsGo(dst, src, ld, rows, d) }
