package nn

import "fmt"

// Files, the public API and PyTorch have images as NCHW, filters as OIHW and linear weights as [out, in]; the
// graph has NHWC, HWIO and [in, out]. This file is the only place that converts.

// ToNHWC converts n images of c channels and hw pixels from NCHW.
func ToNHWC(dst, src []float32, n, c, hw int) {
	for i := 0; i < n; i++ {
		transpose(dst[i*c*hw:(i+1)*c*hw], src[i*c*hw:(i+1)*c*hw], c, hw)
	}
}

// ToNCHW is the inverse of ToNHWC.
func ToNCHW(dst, src []float32, n, c, hw int) {
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
func fileShape(p Param) []int {
	s := p.Shape
	switch p.Kind {
	case Filter:
		return []int{s[3], s[2], s[0], s[1]}
	case Matrix:
		return []int{s[1], s[0]}
	}
	return append([]int(nil), s...)
}

// toFile writes a parameter as files have it.
func toFile(dst, src []float32, p Param) {
	switch p.Kind {
	case Filter: // [R*R*in, out] -> [out, R*R*in], then [out, R*R, in] -> [out, in, R*R]
		rr, in, out := p.Shape[0]*p.Shape[1], p.Shape[2], p.Shape[3]
		for k := 0; k < rr; k++ {
			for c := 0; c < in; c++ {
				for o, v := range src[(k*in+c)*out : (k*in+c+1)*out] {
					dst[(o*in+c)*rr+k] = v
				}
			}
		}
	case Matrix:
		transpose(dst, src, p.Shape[0], p.Shape[1])
	default:
		copy(dst, src)
	}
}

// fromFile is the inverse of toFile.
func fromFile(dst, src []float32, p Param) {
	switch p.Kind {
	case Filter:
		rr, in, out := p.Shape[0]*p.Shape[1], p.Shape[2], p.Shape[3]
		for k := 0; k < rr; k++ {
			for c := 0; c < in; c++ {
				row := dst[(k*in+c)*out : (k*in+c+1)*out]
				for o := range row {
					row[o] = src[(o*in+c)*rr+k]
				}
			}
		}
	case Matrix:
		transpose(dst, src, p.Shape[1], p.Shape[0])
	default:
		copy(dst, src)
	}
}

// Tensor is one parameter as files have it.
type Tensor struct {
	Name  string
	Shape []int
	Fill  func(dst []float32) // writes the values in the order of files
}

// Tensors lists the parts of a flat slice (weights, moments, gradients) as the tensors that files have, in the
// order of p.
func (p *Params) Tensors(flat []float32) []Tensor {
	out := make([]Tensor, len(p.List))
	for i, q := range p.List {
		view := p.View(flat, i)
		out[i] = Tensor{Name: q.Name, Shape: fileShape(q), Fill: func(dst []float32) { toFile(dst, view, q) }}
	}
	return out
}

// Check calls check for every parameter, with the name and the shape that files have, until it fails. It needs no
// weights, so that a file can be compared with a configuration first.
func (p *Params) Check(check func(name string, shape []int) error) error {
	for _, q := range p.List {
		if err := check(q.Name, fileShape(q)); err != nil {
			return fmt.Errorf("tensor %q: %w", q.Name, err)
		}
	}
	return nil
}

// Fill reads every parameter into a flat slice: read fills dst with the tensor of a name, which must have the given
// shape, as files have it (OIHW filters, [out, in] linear weights).
func (p *Params) Fill(flat []float32, read func(name string, shape []int, dst []float32) error) error {
	var buf []float32
	for i, q := range p.List {
		if cap(buf) < q.Size {
			buf = make([]float32, q.Size)
		}
		buf = buf[:q.Size]
		if err := read(q.Name, fileShape(q), buf); err != nil {
			return fmt.Errorf("tensor %q: %w", q.Name, err)
		}
		fromFile(p.View(flat, i), buf, q)
	}
	return nil
}
