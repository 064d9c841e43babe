package unet

import "unstir/nn"

// Files, the public API and PyTorch have images as NCHW, filters as OIHW and linear weights as [out, in]; the
// graph has NHWC, HWIO and [in, out]. This file is the only place that converts.

// toNHWC converts n images of c channels and hw pixels.
func toNHWC(dst, src []float32, n, c, hw int) {
	for i := 0; i < n; i++ {
		transpose(dst[i*c*hw:(i+1)*c*hw], src[i*c*hw:(i+1)*c*hw], c, hw)
	}
}

// toNCHW is the inverse of toNHWC.
func toNCHW(dst, src []float32, n, c, hw int) {
	for i := 0; i < n; i++ {
		transpose(dst[i*c*hw:(i+1)*c*hw], src[i*c*hw:(i+1)*c*hw], hw, c)
	}
}

// transpose writes the rows x cols matrix src as a cols x rows matrix.
func transpose(dst, src []float32, rows, cols int) {
	for i := 0; i < rows; i++ {
		row := src[i*cols : (i+1)*cols]
		for j, v := range row {
			dst[j*rows+i] = v
		}
	}
}

// fileShape is the shape that a parameter has in files.
func fileShape(p nn.Param) []int {
	s := p.Shape
	switch p.Kind {
	case nn.Filter:
		return []int{s[3], s[2], s[0], s[1]}
	case nn.Matrix:
		return []int{s[1], s[0]}
	}
	return append([]int(nil), s...)
}

// toFile writes a parameter as files have it.
func toFile(dst, src []float32, p nn.Param) {
	switch p.Kind {
	case nn.Filter: // [R*R*in, out] -> [out, R*R*in], then [out, R*R, in] -> [out, in, R*R]
		rr, in, out := p.Shape[0]*p.Shape[1], p.Shape[2], p.Shape[3]
		for k := 0; k < rr; k++ {
			for c := 0; c < in; c++ {
				for o, v := range src[(k*in+c)*out : (k*in+c+1)*out] {
					dst[(o*in+c)*rr+k] = v
				}
			}
		}
	case nn.Matrix:
		transpose(dst, src, p.Shape[0], p.Shape[1])
	default:
		copy(dst, src)
	}
}

// fromFile is the inverse of toFile.
func fromFile(dst, src []float32, p nn.Param) {
	switch p.Kind {
	case nn.Filter:
		rr, in, out := p.Shape[0]*p.Shape[1], p.Shape[2], p.Shape[3]
		for k := 0; k < rr; k++ {
			for c := 0; c < in; c++ {
				row := dst[(k*in+c)*out : (k*in+c+1)*out]
				for o := range row {
					row[o] = src[(o*in+c)*rr+k]
				}
			}
		}
	case nn.Matrix:
		transpose(dst, src, p.Shape[1], p.Shape[0])
	default:
		copy(dst, src)
	}
}
