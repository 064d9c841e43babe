package winograd

import (
	"unsafe"

	"unstir/nn/kernel/internal/mem"
)

// Winograd's F(2x2, 3x3), with the points 0, 1, -1 and infinity (Lavin and Gray, 2016, eq. 7, but for the sign of the
// last point), computes a 2x2 patch of outputs with 16 multiplications where the direct sum takes 36. F(4x4, 3x3) takes 9
// for each output channel and pixel where this takes 16, but its transformed filters have 36 planes.

// wino2InputRow is B^T d.
func wino2InputRow(d [4]float32) [4]float32 {
	return [4]float32{d[0] - d[2], d[1] + d[2], d[2] - d[1], d[3] - d[1]}
}

// wino2OutputRow is A^T m.
func wino2OutputRow(m [4]float32) [2]float32 {
	return [2]float32{m[0] + (m[1] + m[2]), m[1] - m[2] + m[3]}
}

// wino2GradientRow is A y.
func wino2GradientRow(y [2]float32) [4]float32 {
	return [4]float32{y[0], y[0] + y[1], y[0] - y[1], y[1]}
}

// wino2FilterRow is G g.
func wino2FilterRow(g [3]float32) [4]float32 {
	e := g[0] + g[2]
	return [4]float32{g[0], float32(0.5 * (e + g[1])), float32(0.5 * (e - g[1])), g[2]}
}

// wino2FilterGradientRow is G^T u.
func wino2FilterGradientRow(u [4]float32) [3]float32 {
	e := float32(0.5 * (u[1] + u[2]))
	return [3]float32{u[0] + e, float32(0.5 * (u[1] - u[2])), e + u[3]}
}

// put4 writes a row of planes from at on.
func (p *patch) put4(at uintptr, row [4]float32) {
	for j, v := range row {
		*mem.Move(p.data, at+uintptr(j)*p.plane) = v
	}
}

func genericWino2Input(t *byte) {
	p := (*patch)(unsafe.Pointer(t))
	for c := uintptr(0); c < uintptr(4*p.count); c += 4 {
		var half [4][4]float32 // by column
		for j := range half {
			half[j] = wino2InputRow([4]float32{mem.Read(p.at(p.image, 0, j), c), mem.Read(p.at(p.image, 1, j), c), mem.Read(p.at(p.image, 2, j), c), mem.Read(p.at(p.image, 3, j), c)})
		}
		for i := range 4 {
			p.put4(c+uintptr(4*i)*p.plane, wino2InputRow([4]float32{half[0][i], half[1][i], half[2][i], half[3][i]}))
		}
	}
}

func genericWino2Output(t *byte) {
	p := (*patch)(unsafe.Pointer(t))
	for c := uintptr(0); c < uintptr(4*p.count); c += 4 {
		var half [4][2]float32 // by row
		for i := range half {
			half[i] = wino2OutputRow(p.row4(c, i))
		}
		for j := range 2 {
			for i, v := range wino2OutputRow([4]float32{half[0][j], half[1][j], half[2][j], half[3][j]}) {
				v += mem.Read(p.init, c)
				if p.add != nil {
					v += mem.Read(p.at(p.add, i, j), c)
				}
				*mem.Move(p.at(p.image, i, j), c) = v
			}
		}
	}
}

// row4 reads row i of four planes at an offset.
func (p *patch) row4(at uintptr, i int) (m [4]float32) {
	for j := range m {
		m[j] = mem.Read(p.data, at+uintptr(4*i+j)*p.plane)
	}
	return m
}

func genericWino2Gradient(t *byte) {
	p := (*patch)(unsafe.Pointer(t))
	for c := uintptr(0); c < uintptr(4*p.count); c += 4 {
		var half [2][4]float32 // by column
		for j := range half {
			half[j] = wino2GradientRow([2]float32{mem.Read(p.at(p.image, 0, j), c), mem.Read(p.at(p.image, 1, j), c)})
		}
		for i := range 4 {
			p.put4(c+uintptr(4*i)*p.plane, wino2GradientRow([2]float32{half[0][i], half[1][i]}))
		}
	}
}

func genericWino2Filter(t *byte) {
	p := (*patch)(unsafe.Pointer(t))
	for c := uintptr(0); c < uintptr(p.count); c++ {
		var half [3][4]float32 // by column
		for j := range half {
			tap := func(i int) float32 { return mem.Read(p.image, c*p.pixel+uintptr(3*i+j)*p.row) }
			half[j] = wino2FilterRow([3]float32{tap(0), tap(1), tap(2)})
		}
		for i := range 4 {
			p.put4(c*p.step+uintptr(4*i)*p.plane, wino2FilterRow([3]float32{half[0][i], half[1][i], half[2][i]}))
		}
	}
}

func genericWino2FilterGradient(t *byte) {
	p := (*patch)(unsafe.Pointer(t))
	for c := uintptr(0); c < uintptr(p.count); c++ {
		var half [4][3]float32 // by row
		for i := range half {
			half[i] = wino2FilterGradientRow(p.row4(c*p.step, i))
		}
		for j := range 3 {
			for i, v := range wino2FilterGradientRow([4]float32{half[0][j], half[1][j], half[2][j], half[3][j]}) {
				*mem.Move(p.image, c*p.pixel+uintptr(3*i+j)*p.row) = v
			}
		}
	}
}
