package kernel

// suitsWinograd tells whether Winograd's algorithm applies to the shape, between
// images of src and dst channels, and was measured to be faster than the direct one
// (Zen 5, AVX-512 and AVX2): with fewer input channels the transforms cost more than
// the products save, and of a patch of an image of 2x2 pixels most is padding.
func (s ConvShape) suitsWinograd(src, dst int) bool {
	return s.R == 3 && s.Stride == 1 && s.PadTop == 1 && s.PadLeft == 1 && s.PadBottom == 1 && s.PadRight == 1 &&
		src >= 12 && dst >= 4 && s.H*s.W > 4 && !directOnly.Load()
}

// suitsUpsampled tells whether the convolution behind an upsampling has fewer products by F(4x4, 2x2) than the large image
// has in whole patches of F(4x4, 3x3), and enough pixels for its transformed filters, which are nearly three times the size
// (measured on Zen 4, AVX-512).
func (s ConvShape) suitsUpsampled(is *isa) bool {
	if !s.suitsWinograd(s.C, s.K) || !s.suitsWinograd(s.K, s.C) || 4*s.H*s.W < min(s.C, s.K) {
		return false
	}
	l := s.upsampled()
	small := newPatchGrid(s.N, s.H, s.W, &is.winoUp[0][0])
	return 4*small.products() < l.wholeFours()
}

// transformsOf is those of a phase of the convolution, and of its input's gradient.
func (s ConvShape) transformsOf(phase int, is *isa) *transforms {
	if s.Upsample {
		return &is.winoUp[phase/2][phase%2]
	}
	return s.winogradOf(is)
}

// winogradOf chooses the algorithm of stride 1, by the shape of an image and of the filter only, as was measured (Zen 4 and an Intel Xeon,
// AVX-512). F(6x6, 3x3) has fewer products, but more to transform: too much where there are few channels. Where there are few
// pixels for the channels, to make and to read the filter's 64 planes takes longer than the products that they save; one that
// was made once, only for one image. At 16x16 pixels with 256 channels 16 and 64 images then take 0.82 to 0.89 of the time, one
// image, whose filter comes from memory, 1.15 to 1.35 times as long (the 35.7 M model: 0.97 and 1.06). Not so with 512 channels
// to 256, on an Intel Xeon, whose memory is slower: with F(4x4, 3x3) in these layers the 35.7 M model takes 0.96 of the time with
// one image and 0.96 to 1.01 with 16.
func (s ConvShape) winogradOf(is *isa) *transforms {
	pixels, channels := s.H*s.W, min(s.C, s.K)
	few, many := 2*channels, 4*channels // pixels
	if s.FixedFilter && s.C*s.K <= sixFixed {
		few, many = channels, channels
	}
	if s.suitsSmall() {
		return &is.wino2
	}
	if s.H <= 6 || s.W <= 6 || s.C*s.K < 16*(s.C+s.K) || pixels < few || !s.FixedFilter && s.C*s.K > sixNew {
		return &is.wino4
	}
	if share := s.shareOfSix(is); share <= 0.75 || share <= 0.9 && pixels >= many {
		return &is.wino6
	}
	return &is.wino4
}

// sixNew is the most pairs of channels of a filter that is transformed to 64 planes at every call: with 128 channels to
// as many and 32x32 pixels F(6x6, 3x3) was measured to take 1.1 to 1.2 times as long on an Intel Xeon, with 256 to 128 up to 1.5
// times, as U, twice as large as by F(4x4, 3x3), leaves the second-level cache; on Zen 4 it takes 0.9 to 0.97 of the time. With
// 128 channels to 64 at 14x14 the mnist model's step is the same on the Xeon and 0.98 to 0.99 on Zen 4.
const sixNew = 1 << 13

// sixFixed is the most pairs of channels of a fixed filter that is worth 64 planes for few pixels, too.
const sixFixed = 1 << 16

// shareOfSix is how many products F(6x6, 3x3) has for each of F(4x4, 3x3)'s whole patches.
func (s ConvShape) shareOfSix(is *isa) float64 {
	six := newPatchGrid(s.N, s.H, s.W, &is.wino6)
	return float64(six.products()) / float64(s.wholeFours())
}

// wholeFours is how many products F(4x4, 3x3) would have if all of its patches were whole.
func (s ConvShape) wholeFours() int { return 36 * ((s.H + 3) / 4) * ((s.W + 3) / 4) }

// winogradOfGradient is winogradOf for the filter's gradient, whose sums are transformed once for all images. With 8 images and
// more F(6x6, 3x3) was measured to take 5 to 18 % less time where it has a tenth fewer products, also with few pixels for the
// channels (Zen 4, AVX-512, images from memory). One image of 16x16 pixels with 256 channels takes a tenth longer.
func (s ConvShape) winogradOfGradient(is *isa) *transforms {
	switch {
	case s.Upsample:
		return &is.winoUp[0][0]
	case s.suitsSmall():
		return &is.wino2
	case s.H > 6 && s.W > 6 && s.shareOfSix(is) <= 0.9:
		return &is.wino6
	}
	return &is.wino4
}

// suitsSmall tells whether F(2x2, 3x3) was measured to be faster than F(4x4, 3x3) (an Intel Xeon, AVX-512): its transformed
// filters have 16 planes instead of 36, which weighs more than its products where an image is one patch of the other and
// the filter is too large for the caches. At 4x4, with the filter in memory, one image takes half the time from 256 channels to
// as many; 8 images in training take as long, but from 512 to 256 channels a tenth to a quarter less forward and for the
// input's gradient; 64 images take half as long again.
func (s ConvShape) suitsSmall() bool {
	return s.H <= 4 && s.W <= 4 && min(s.C, s.K) >= 256
}

// comesFromFar tells whether a prepared filter was measured (Zen 5) to be read faster that way: where it is as large as that of
// 256 channels to 256, or of 128 to 128 and there are few patches. With many, their images push each other out of the
// cache, which small blocks suffer less from. Blocks of F(6x6, 3x3) with many channels are too small for that: where
// planes come first, two fifths are gained with 192 channels to 64 (Intel).
func (g *winograd) comesFromFar() bool {
	n := g.packedLen()
	return n > 2<<20 || n > 1<<19 && (g.n*g.perImage() <= 512 || tuned.planeFirst && g.size == 6 && g.src > 128)
}
