package conv

import (
	"strings"

	"unstir/nn/kernel/internal/cpu"
	"unstir/nn/kernel/internal/gemm"
	"unstir/nn/kernel/internal/shape"
	"unstir/nn/kernel/internal/winograd"
)

// Pass is one of the three computations of a convolution.
type Pass int

// The passes.
const (
	Forward        Pass = iota // y from x and the filter
	BackwardData               // the gradient of x from that of y and the filter
	WeightGradient             // the gradient of the filter from x and that of y
)

func (p Pass) String() string {
	return [...]string{Forward: "forward", BackwardData: "backward data", WeightGradient: "weight gradient"}[p]
}

// Method is a way to compute a pass.
type Method int

// The methods. The last two are a weight gradient's only, FewChannels and ImplicitGEMM the other passes'.
const (
	Winograd     Method = iota
	GEMM                // pixels map to pixels: a matrix product with a row for each
	ImplicitGEMM        // the elements under the taps are a product's A in place, or in copied rows with their padding
	FewChannels         // all taps are columns of one product; their elements are added up for each pixel
	Im2col              // the elements under the taps are copied side by side
	TapByTap            // a product for each tap, from copied rows with their padding
)

var methods = [...]string{GEMM: "GEMM", ImplicitGEMM: "implicit GEMM", FewChannels: "GEMM with the taps as columns", Im2col: "GEMM of im2col", TapByTap: "GEMM for each tap"}

// Packing is when and for whom the filter is brought into the form that the products read.
type Packing int

// The packings. A weight gradient has none.
const (
	NoPacking    Packing = iota
	PackedCall           // at each call, by all threads, before the products
	PackedPanels         // at each call, panel by panel: a thread packs one into its cache and uses it for all tiles
	PackedOnce           // once, and the filter stays in the caches from block to block
	Streamed             // once, and the filter comes from the last cache or from memory for each block, fetched ahead
)

var packings = [...]string{PackedCall: "packed", PackedPanels: "packed by panels", PackedOnce: "packed once", Streamed: "packed once, streamed"}

// Algorithm is how a pass is computed.
type Algorithm struct {
	Method  Method
	Family  winograd.Family // of Winograd
	Packing Packing
	Doubled bool // behind an upsampling: the doubled image, or its gradient, is made in memory
	Swapped bool // of a weight gradient's products: x and dy exchange their places, for few output channels
}

// String is the algorithm's name, such as "winograd F(6x6,3x3), packed by panels".
func (a Algorithm) String() string {
	var parts []string
	if a.Doubled {
		parts = append(parts, "upsampled")
	}
	if a.Method == Winograd {
		parts = append(parts, "winograd "+a.Family.String())
	} else {
		parts = append(parts, methods[a.Method])
	}
	if a.Packing != NoPacking {
		parts = append(parts, packings[a.Packing])
	}
	return strings.Join(parts, ", ")
}

// Choose decides how a pass of a convolution is computed on a machine by so many threads. No other place decides it. What the
// results' bits depend on, the method and the family, comes from the shape of an image and of the filter alone, never from the
// machine, the threads or the number of images; only the packing does. The doc comment of package kernel has the table.
func Choose(s shape.Conv, pass Pass, threads int, c cpu.Info) Algorithm {
	if s.Upsample && !suitsParities(s, c) {
		a := Choose(s.Upsampled(), pass, threads, c)
		a.Doubled = true
		return a
	}
	if pass == WeightGradient {
		return chooseGradient(s, c)
	}
	src, dst := s.C, s.K
	if pass == BackwardData {
		src, dst = dst, src
	}
	a := Algorithm{Method: ImplicitGEMM, Packing: PackedCall}
	fixed := s.FixedFilter && pass == Forward
	if fixed {
		a.Packing = PackedOnce
	}
	switch {
	case s.R == 3 && dst <= 3 && src >= 8 && (pass == Forward || s.Stride == 1):
		// A panel of 32 columns would be nearly empty.
		a.Method = FewChannels
	case suitsWinograd(s, src, dst, c):
		a.Method, a.Family = Winograd, family(s)
		tiles := s.N * winograd.Tiles(a.Family, s.H, s.W)
		switch {
		case fixed && suitsStreaming(a.Family, src, dst, tiles, c):
			a.Packing = Streamed
		case !fixed && suitsPanels(a.Family, src, dst, tiles, threads, c):
			a.Packing = PackedPanels
		}
	case isGEMM(s):
		a.Method = GEMM
	}
	return a
}

// chooseGradient is Choose for the filter's gradient.
func chooseGradient(s shape.Conv, c cpu.Info) Algorithm {
	if suitsWinograd(s, s.C, s.K, c) {
		return Algorithm{Method: Winograd, Family: gradientFamily(s)}
	}
	if isGEMM(s) {
		return Algorithm{Method: GEMM}
	}
	// With few output channels the vectors' lanes are x's channels.
	a, src := Algorithm{Method: TapByTap, Swapped: s.R > 1 && s.Stride == 1 && s.K < 8 && s.C > s.K}, s.C
	if a.Swapped {
		src = s.K
	}
	if src < 8 {
		a.Method = Im2col
	}
	return a
}

// isGEMM tells whether the pixels of the output are those of the input.
func isGEMM(s shape.Conv) bool {
	return s.R == 1 && s.Stride == 1 && s.PadTop == 0 && s.PadLeft == 0 && s.PadBottom == 0 && s.PadRight == 0
}

// suitsWinograd tells whether Winograd's algorithm applies to the shape, between images of src and dst channels, and was
// measured to be faster than the direct one (Zen 5, AVX-512 and AVX2): with fewer input channels the transforms cost more than
// the products save, and of a tile of an image of 2x2 pixels most is padding. With stride 2, F(4x4, 2x2) of every second row
// and column of taps won 0.973 to 0.987 of a training step and lost as much with one image, for planes that taps share and
// seven more transforms: it was removed.
func suitsWinograd(s shape.Conv, src, dst int, c cpu.Info) bool {
	return s.R == 3 && s.Stride == 1 && s.PadTop == 1 && s.PadLeft == 1 && s.PadBottom == 1 && s.PadRight == 1 &&
		src >= 12 && dst >= 4 && s.H*s.W > 4 && !c.Direct
}

// suitsParities tells whether the convolution behind an upsampling has fewer products by F(4x4, 2x2) than the large image
// has in whole tiles of F(4x4, 3x3), and enough pixels for its transformed filters, which are nearly three times the size
// (measured on Zen 4, AVX-512).
func suitsParities(s shape.Conv, c cpu.Info) bool {
	large := s.Upsampled()
	return suitsWinograd(s, s.C, s.K, c) && suitsWinograd(s, s.K, s.C, c) && 4*s.H*s.W >= min(s.C, s.K) &&
		4*winograd.Products(winograd.Up, s.H, s.W) < wholeFours(large.H, large.W)
}

// family chooses by the shape of an image and of the filter only, as was measured (Zen 4 and an Intel Xeon, AVX-512).
// F(6x6, 3x3) has fewer products, but more to transform: too much where there are few channels. Where there are few
// pixels for the channels, to make and to read the filter's 64 planes takes longer than the products that they save; one that
// was made once, only for one image. At 16x16 pixels with 256 channels 16 and 64 images then take 0.82 to 0.89 of the time, one
// image, whose filter comes from memory, 1.15 to 1.35 times as long (the 35.7 M model: 0.97 and 1.06). Not so with 512 channels
// to 256, on an Intel Xeon, whose memory is slower: with F(4x4, 3x3) in these layers the 35.7 M model takes 0.96 of the time with
// one image and 0.96 to 1.01 with 16.
func family(s shape.Conv) winograd.Family {
	if s.Upsample {
		return winograd.Up
	}
	pixels, channels := s.H*s.W, min(s.C, s.K)
	few, many := 2*channels, 4*channels // pixels
	if s.FixedFilter && s.C*s.K <= sixFixed {
		few, many = channels, channels
	}
	switch share := shareOfSix(s); {
	case suitsF2(s):
		return winograd.F2
	case s.H <= 6 || s.W <= 6 || s.C*s.K < 16*(s.C+s.K) || pixels < few || !s.FixedFilter && s.C*s.K > sixNew:
		return winograd.F4
	case share <= 0.75 || share <= 0.9 && pixels >= many:
		return winograd.F6
	}
	return winograd.F4
}

const (
	// sixNew is the most pairs of channels of a filter that is transformed to 64 planes at every call: with 128 channels to
	// as many and 32x32 pixels F(6x6, 3x3) was measured to take 1.1 to 1.2 times as long on an Intel Xeon, with 256 to 128 up
	// to 1.5 times, as U, twice as large as by F(4x4, 3x3), leaves the second-level cache; on Zen 4 it takes 0.9 to 0.97 of
	// the time. With 128 channels to 64 at 14x14 the mnist model's step is the same on the Xeon and 0.98 to 0.99 on Zen 4.
	sixNew = 1 << 13

	// sixFixed is the most pairs of channels of a fixed filter that is worth 64 planes for few pixels, too.
	sixFixed = 1 << 16
)

// gradientFamily is family for the filter's gradient, whose sums are transformed once for all images. With 8 images and
// more F(6x6, 3x3) was measured to take 5 to 18 % less time where it has a tenth fewer products, also with few pixels for the
// channels (Zen 4, AVX-512, images from memory). One image of 16x16 pixels with 256 channels takes a tenth longer.
func gradientFamily(s shape.Conv) winograd.Family {
	switch {
	case s.Upsample:
		return winograd.Up
	case suitsF2(s):
		return winograd.F2
	case s.H > 6 && s.W > 6 && shareOfSix(s) <= 0.9:
		return winograd.F6
	}
	return winograd.F4
}

// shareOfSix is how many products F(6x6, 3x3) has for each of F(4x4, 3x3)'s whole tiles.
func shareOfSix(s shape.Conv) float64 {
	return float64(winograd.Products(winograd.F6, s.H, s.W)) / float64(wholeFours(s.H, s.W))
}

// wholeFours is how many products F(4x4, 3x3) would have if all of its tiles were whole.
func wholeFours(h, w int) int { return 36 * ((h + 3) / 4) * ((w + 3) / 4) }

// suitsF2 tells whether F(2x2, 3x3) was measured to be faster than F(4x4, 3x3) (an Intel Xeon, AVX-512): its transformed
// filters have 16 planes instead of 36, which weighs more than its products where an image is one tile of the other and
// the filter is too large for the caches. At 4x4, with the filter in memory, one image takes half the time from 256 channels to
// as many; 8 images in training take as long, but from 512 to 256 channels a tenth to a quarter less forward and for the
// input's gradient; 64 images take half as long again.
func suitsF2(s shape.Conv) bool {
	return s.H <= 4 && s.W <= 4 && min(s.C, s.K) >= 256
}

// suitsStreaming tells whether a filter that was packed once was measured (Zen 5) to be read faster by large blocks of tiles,
// plane by plane: where it is as large as that of 256 channels to 256, or of 128 to 128 and there are few tiles. With many,
// their images push each other out of the cache, which small blocks suffer less from. Blocks of F(6x6, 3x3) with many
// channels are too small for that: where planes come first, two fifths are gained with 192 channels to 64 (Intel).
func suitsStreaming(f winograd.Family, src, dst, tiles int, c cpu.Info) bool {
	n := winograd.PackedLen(f, src, dst)
	return n > 2<<20 || n > 1<<19 && (tiles <= 512 || c.L2 >= 2<<20 && f == winograd.F6 && src > 128)
}

// suitsPanels tells whether a filter that is new at every call was measured to be better packed panel by panel: where it is
// not small beside the tiles, whose transforms stay in the last cache, and there are no more threads than panels.
func suitsPanels(f winograd.Family, src, dst, tiles, threads int, c cpu.Info) bool {
	share := 2 // tiles for each channel
	if c.L2 >= 2<<20 {
		share = 1
	}
	const transformed = 5 << 19 // floats
	return share*tiles <= min(src, dst) && f.Planes()*tiles*src <= transformed && gemm.Padded(dst)/gemm.PanelWidth >= threads
}
