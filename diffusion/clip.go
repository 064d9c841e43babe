package diffusion

import (
	"math"
	"slices"
)

// clipper changes a guess of x_0 (one image) in place.
type clipper struct {
	kind  Clip
	limit float64 // static: the range; dynamic: the largest threshold
	ratio float64 // dynamic: the quantile
}

// clipper is the options' clipping, or else the config's: thresholding goes
// before clip_sample. Dynamic thresholding asked for by the options alone has
// no largest threshold, as in its paper: sample_max_value belongs to
// thresholding = true.
func (s *Schedule) clipper(o Options) clipper {
	c := s.Config
	kind := o.Clip
	if kind == "" {
		switch {
		case c.Thresholding:
			kind = ClipDynamic
		case c.ClipSample:
			kind = ClipStatic
		default:
			kind = ClipNone
		}
	}
	limit := c.ClipSampleRange
	if kind == ClipDynamic {
		limit = c.SampleMaxValue
		if !c.Thresholding {
			limit = math.Inf(1)
		}
	}
	return clipper{kind: kind, limit: limit, ratio: c.ThresholdingRatio}
}

// apply clips x0; scratch has at least its length.
func (c clipper) apply(x0, scratch []float64) {
	switch c.kind {
	case ClipStatic:
		clamp(x0, c.limit)
	case ClipDynamic:
		// Saharia et al., "Photorealistic Text-to-Image Diffusion Models with
		// Deep Language Understanding", 2022, section 2.3.
		abs := scratch[:len(x0)]
		for j, v := range x0 {
			abs[j] = math.Abs(v)
		}
		threshold := min(max(quantile(abs, c.ratio), 1), c.limit)
		clamp(x0, threshold)
		for j := range x0 {
			x0[j] /= threshold
		}
	}
}

func clamp(x []float64, limit float64) {
	for j, v := range x {
		x[j] = min(max(v, -limit), limit)
	}
}

// quantile is the q-quantile of x, linear between neighbours; it sorts x.
func quantile(x []float64, q float64) float64 {
	slices.Sort(x)
	at := q * float64(len(x)-1)
	i := int(at)
	if i+1 >= len(x) {
		return x[len(x)-1]
	}
	return x[i] + float64((at-float64(i))*(x[i+1]-x[i]))
}
