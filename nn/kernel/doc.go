// Package kernel holds the float32 kernels below the network's layers: matrix product, convolution, group norm, attention,
// pointwise functions, the losses and the optimizer, and the worker pool that they run on; and inner products of float64, for
// statistics. It is a front: each subject is a package of its own below internal, which can be read alone.
//
// # Which function runs
//
// A convolution's algorithm is chosen in one place, internal/conv/choose.go, by the shape; [Algorithm] prints as in this table.
// Bits depend on the algorithm but not on how its filter is packed. N is the number of images, C and K are the input and output
// channels (exchanged for backward data), F(m x m, r x r) is Winograd's algorithm with tiles of m x m outputs for r x r taps, U is
// the filter that it transforms. UNSTIR_CONV=direct leaves Winograd's algorithms out.
//
//	layer                                        algorithm                          why, and what it measured (AVX-512)
//	3x3, stride 1, padding 1, C >= 12, K >= 4,   winograd F(4x4,3x3)                36 products a tile of 16 outputs instead of 144
//	more than 4 pixels
//	  from 9x9 pixels on (a), with C*K <= 8192   winograd F(6x6,3x3)                64 a tile of 36: 0.9 to 0.97 of the time of F(4x4)
//	  or a fixed filter, and >= 2 to 4 pixels                                       on Zen 4; with larger new filters 1.1 to 1.5 on an
//	  a channel (b)                                                                 Intel Xeon, whose caches U then leaves
//	  to 4x4 pixels with C, K >= 256             winograd F(2x2,3x3)                16 planes of U: one image 0.5, 64 images 1.5
//	  filter's gradient, from 9x9 pixels on (a)  winograd F(6x6,3x3)                0.82 to 0.95 with 8 images and more
//	  behind an upsampling (c)                   winograd F(4x4,2x2) by parity      4 x 25 products for 64 outputs instead of 144
//	behind an upsampling otherwise               upsampled, and one of the others   the doubled image is made in memory
//	3x3 from C >= 8 to K <= 3 (d)                GEMM with the taps as columns      a panel of 32 columns would be nearly empty
//	1x1, stride 1, no padding; linear layers     GEMM
//	all others, such as 3x3 with stride 2        implicit GEMM
//	  their filter's gradient                    GEMM for each tap
//	    from C < 8, or to K < 8 and K < C (d)    GEMM of im2col
//
//	packing of the filter
//	  new at every call, as in training          packed
//	    Winograd with tiles <= C/2, K/2 (e)      packed by panels                   U costs as much as the products; it stays in a cache
//	  fixed, as in sampling                      packed once
//	    U > 8 MB, or > 2 MB and <= 512 tiles (f) packed once, streamed              planes are fetched ahead
//
//	(a) exactly: from 7 rows and columns on, where F(6x6) has at most 0.9 of the products that F(4x4) has in whole tiles; at
//	    7x7 and 8x8 pixels it has as many
//	(b) of the smaller of C and K: 4 pixels a channel; 2 with at most 0.75 of the products, as at 14x14; 1 with a fixed filter and
//	    C*K <= 65536. Besides, C*K >= 16 (C + K), as the transforms grow with C + K and the products with C*K
//	(c) with C, K >= 12, a quarter of a pixel a channel before the upsampling, and fewer products than by whole tiles of F(4x4,3x3)
//	(d) with stride 1 only: backward data of the first, and K < 8 of a 3x3 for the second
//	(e) tiles of all images; C, K with 2 MB of second-level cache. Besides, transformed inputs of at most 10 MB, and 32 output
//	    channels for each thread
//	(f) with 2 MB of second-level cache also more tiles, for F(6x6,3x3) from more than 128 channels
//
// So a 3x3 convolution of 64 to 128 channels at 16x16 pixels, in training, is winograd F(6x6,3x3) in all three passes: C*K is 8192, not
// more; its 256 pixels are 4 for each of 64 channels; its 9 tiles an image have 0.84 of the products. Its filter is packed by
// panels up to 3 images (27 tiles; 7 images with 2 MB of second-level cache) and packed first with more. From 128 to
// 128 channels C*K is 16384, and F(4x4,3x3) computes it, but for the filter's gradient. `diffusion inspect --plan --train` prints
// what each layer of a model runs.
//
// # Packages
//
//	internal/cpu        levels, caches, UNSTIR_CPU and UNSTIR_CONV
//	internal/parallel   the worker pool, scratch memory
//	internal/mem        addresses of floats
//	internal/gemm       micro-kernels, packing, matrix products of any size
//	internal/winograd   Winograd's convolutions; their matrices are in matrices.txt
//	internal/direct     all others, by matrix products
//	internal/conv       the choice between them; the plan of a layer
//	internal/shape      the shape of a convolution
//	internal/reduce     sums over pieces of the images, in order
//	internal/norm, internal/attention, internal/optimizer, internal/vec
//	internal/inner      inner products of float64 rows
//
// Imports go one way, as imports_test.go lists them.
//
// # Words
//
//	micro-kernel  the inner loop of a matrix product in assembly, for a micro-tile of 1 to 14 rows and 16 or 32 columns
//	panel         32 columns of a product's B, packed row after row
//	plane         one of a transform's points in all tiles, or all channels: a matrix of the products
//	tile          m x m outputs, or the (m+r-1) x (m+r-1) inputs that they see
//	phase         the outputs of one parity of row and column behind an upsampling, which are a convolution of the small image
//	block         tiles that are transformed and multiplied at a time
//	piece         some of the images, whose part of a gradient is summed by itself
//	level         an instruction set
//
// # Layout
//
// Activations are NHWC, filters HWIO (a linear layer's weights are [in, out]), both row-major and without gaps.
//
// # Plans
//
// A kernel that needs preparation is a plan (Conv, GroupNorm, ...), made once for a shape. A plan's calls allocate nothing: the
// caller hands in scratch memory whose length the plan names, and whose content means nothing before and after. A plan serves
// one goroutine at a time; different plans may run side by side.
//
// # Levels
//
// Every kernel exists as AVX-512 and AVX2 assembly, or as AVX2 for both, and as plain Go. A package has one table of functions a level: plain Go's,
// generic, stands beside the loops that define the functions, the others in table_amd64.go. A plan takes the table of the level
// that is active when it is made, at first the best that the CPU has (see Level), and keeps it; Gemm and Dropout, which have no
// plan, look it up at each call. The programs in _generate write the assembly and its tables, which are committed in the
// packages that use them.
//
// # The same bits
//
// A result depends on the layer's shape only: not on the number of images in the call, the number of threads, or how the work
// was cut. AVX-512 and AVX2 give equal bits, because each output element sees the same fused multiply-adds in the same order;
// plain Go agrees within rounding.
package kernel
