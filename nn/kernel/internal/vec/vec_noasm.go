//go:build !amd64 || noasm

package vec

func Add(dst, a, b []float32)                                { addGo(dst, a, b) }
func scaleVec(dst, a []float32, k float32)                   { scaleGo(dst, a, k) }
func scaledDiff(dst, a, b []float32, k float32)              { scaledDiffGo(dst, a, b, k) }
func siluVec(dst, x []float32)                               { siluVecGo(dst, x) }
func siluBackVec(dx, x, dy []float32)                        { siluBackGo(dx, x, dy) }
func sumPairs(dst, top, bottom []float32, w, c int)          { sumPairsGo(dst, top, bottom, w, c) }
func sumSquaresLanes(lanes *[16]float64, x []float32)        { sumSquaresGo(lanes, x) }
func sumSquaredDiffLanes(lanes *[16]float64, a, b []float32) { sumSquaredDiffGo(lanes, a, b) }
func dotLanes(lanes *[16]float64, a, b []float32)            { dotGo(lanes, a, b) }
func dropoutVec(dst, x, u []float32, keep, scale float32)    { dropoutGo(dst, x, u, keep, scale) }
