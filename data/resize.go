package data

import (
	"context"
	"image"
	"runtime"
	"sync"
	"sync/atomic"

	"golang.org/x/image/draw"
)

// fitter brings images to one shape: centre crop to the aspect ratio, then
// Catmull-Rom resampling. What is transparent is laid over white. Not for
// concurrent use.
type fitter struct {
	shape
	canvas *image.RGBA
	scaler draw.Scaler // for sources of scalerFor
	from   image.Point
}

func newFitter(sh shape) *fitter {
	return &fitter{shape: sh, canvas: image.NewRGBA(image.Rect(0, 0, sh.w, sh.h))}
}

// fit writes img to dst as planes.
func (f *fitter) fit(dst []byte, img image.Image) {
	crop := f.crop(img.Bounds())
	for i := range f.canvas.Pix {
		f.canvas.Pix[i] = 0xff
	}
	if size := crop.Size(); size == f.canvas.Rect.Max {
		draw.Draw(f.canvas, f.canvas.Rect, img, crop.Min, draw.Over)
	} else {
		if f.scaler == nil || f.from != size {
			f.scaler, f.from = draw.CatmullRom.NewScaler(f.w, f.h, size.X, size.Y), size
		}
		f.scaler.Scale(f.canvas, f.canvas.Rect, img, crop, draw.Over, nil)
	}
	plane := f.h * f.w
	for i := range plane {
		p := f.canvas.Pix[4*i : 4*i+3 : 4*i+3]
		if f.c == 1 {
			dst[i] = luma(p[0], p[1], p[2])
			continue
		}
		dst[i], dst[plane+i], dst[2*plane+i] = p[0], p[1], p[2]
	}
}

// luma is Rec. 601's weighting of the channels; equal channels stay as they are.
func luma(r, g, b byte) byte {
	return byte((299*uint32(r) + 587*uint32(g) + 114*uint32(b) + 500) / 1000)
}

// crop is the largest rectangle in the middle of b with the aspect ratio h : w.
func (f *fitter) crop(b image.Rectangle) image.Rectangle {
	w, h := b.Dx(), b.Dy()
	if w*f.h > h*f.w {
		w = max(1, (h*f.w+f.h/2)/f.h)
	} else {
		h = max(1, (w*f.h+f.w/2)/f.w)
	}
	at := b.Min.Add(image.Pt((b.Dx()-w)/2, (b.Dy()-h)/2))
	return image.Rectangle{at, at.Add(image.Pt(w, h))}
}

// planes shows the bytes of one image [C,H,W] as an image.Image.
type planes struct {
	gray *image.Gray
	rgba *image.RGBA
}

func newPlanes(sh shape) *planes {
	r := image.Rect(0, 0, sh.w, sh.h)
	if sh.c == 1 {
		return &planes{gray: &image.Gray{Stride: sh.w, Rect: r}}
	}
	return &planes{rgba: image.NewRGBA(r)}
}

// image is valid until the next call.
func (p *planes) image(pix []byte) image.Image {
	if p.gray != nil {
		p.gray.Pix = pix
		return p.gray
	}
	n := len(pix) / 3
	for i := range n {
		q := p.rgba.Pix[4*i : 4*i+4 : 4*i+4]
		q[0], q[1], q[2], q[3] = pix[i], pix[n+i], pix[2*n+i], 0xff
	}
	return p.rgba
}

// forEach calls f(0) ... f(n-1), each once, on several goroutines, each with an
// f of its own. It returns the error of the smallest index, after which no more
// are begun, or the context's.
func forEach(ctx context.Context, n int, newWorker func() func(i int) error) error {
	var (
		wg     sync.WaitGroup
		next   atomic.Int64
		failed atomic.Bool
		mu     sync.Mutex
		at     int
		err    error
	)
	for range min(n, runtime.GOMAXPROCS(0)) {
		wg.Go(func() {
			f := newWorker()
			// Indices are claimed in order and what is claimed is done, so the
			// smallest index that fails is always among the errors.
			for !failed.Load() && ctx.Err() == nil {
				i := int(next.Add(1)) - 1
				if i >= n {
					return
				}
				if e := f(i); e != nil {
					mu.Lock()
					if err == nil || i < at {
						at, err = i, e
					}
					mu.Unlock()
					failed.Store(true)
				}
			}
		})
	}
	wg.Wait()
	if err == nil {
		err = ctx.Err()
	}
	return err
}
