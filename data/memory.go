package data

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"image"
	"math"
)

// Memory is a Dataset that is held in memory, one byte per value.
type Memory struct {
	info   Info
	pixels []byte  // images back to back, each [C,H,W]
	labels []int32 // nil: none
}

// Info implements [Dataset].
func (m *Memory) Info() Info { return m.info }

// Image implements [Dataset].
func (m *Memory) Image(i int, dst []byte) {
	dim := m.info.Channels * m.info.Height * m.info.Width
	copy(dst[:dim], m.pixels[i*dim:(i+1)*dim])
}

// Label implements [Dataset].
func (m *Memory) Label(i int) int {
	if m.labels == nil {
		return -1
	}
	return int(m.labels[i])
}

// NewMemory makes a Dataset of pixels: images back to back, each of
// info.Channels planes of info.Height rows of info.Width bytes. labels is nil or
// holds one class per image, -1 for none; where info.Classes is not nil, a label
// must be below its length. Count and Hash of info are computed, the rest of it
// is kept. The Memory keeps pixels; don't change them afterwards.
func NewMemory(info Info, pixels []byte, labels []int) (*Memory, error) {
	r := &rawSet{shape: shape{info.Channels, info.Height, info.Width}, pixels: pixels}
	if err := r.shape.check(); err != nil {
		return nil, fmt.Errorf("data: %w", err)
	}
	if len(pixels) == 0 || len(pixels)%r.dim() != 0 {
		return nil, fmt.Errorf("data: %d bytes are no whole number of images of %d channels of %d x %d (%d bytes each)",
			len(pixels), r.c, r.h, r.w, r.dim())
	}
	var err error
	if r.labels, err = checkLabels(labels, r.count(), info.Classes); err != nil {
		return nil, fmt.Errorf("data: %w", err)
	}
	m, err := r.memory(context.Background(), info, Config{})
	if err != nil {
		return nil, fmt.Errorf("data: %w", err)
	}
	return m, nil
}

// FromImages makes a Dataset of decoded images, cropped to the centre and
// resized to size; for the zero Size they must all have the same. channels is 1
// or 3. labels is nil or holds one class per image, -1 for none.
func FromImages(name string, images []image.Image, labels []int, size Size, channels int) (*Memory, error) {
	if len(images) == 0 {
		return nil, errors.New("data: no images")
	}
	if err := size.check(); err != nil {
		return nil, fmt.Errorf("data: size %v: %w", size, err)
	}
	for i, img := range images {
		b := img.Bounds()
		if size == (Size{}) && b.Size() != images[0].Bounds().Size() {
			return nil, fmt.Errorf("data: image %d is %d x %d, image 0 is %d x %d: give a size to resize them to",
				i, b.Dy(), b.Dx(), images[0].Bounds().Dy(), images[0].Bounds().Dx())
		}
		if b.Empty() {
			return nil, fmt.Errorf("data: image %d is empty", i)
		}
	}
	if size == (Size{}) {
		b := images[0].Bounds()
		size = Size{b.Dy(), b.Dx()}
	}
	sh := shape{channels, size.H, size.W}
	if err := sh.check(); err != nil {
		return nil, fmt.Errorf("data: %w", err)
	}
	labels32, err := checkLabels(labels, len(images), nil)
	if err != nil {
		return nil, fmt.Errorf("data: %w", err)
	}
	pixels, err := sh.alloc(len(images))
	if err != nil {
		return nil, fmt.Errorf("data: %w", err)
	}
	f := newFitter(sh)
	for i, img := range images {
		f.fit(pixels[i*sh.dim():(i+1)*sh.dim()], img)
	}
	return newMemory(Info{Name: name, Source: "memory"}, sh, pixels, labels32, hashSet(sh, len(images), labels32, pixels)), nil
}

func newMemory(info Info, sh shape, pixels []byte, labels []int32, hash string) *Memory {
	info.Count, info.Hash = len(pixels)/sh.dim(), hash
	info.Channels, info.Height, info.Width = sh.c, sh.h, sh.w
	return &Memory{info: info, pixels: pixels, labels: labels}
}

// shape is the channels, height and width of one image.
type shape struct{ c, h, w int }

func (s shape) dim() int { return s.c * s.h * s.w }

func (s shape) check() error {
	if s.c != 1 && s.c != 3 {
		return fmt.Errorf("%d channels: there must be 1 (gray) or 3 (RGB)", s.c)
	}
	if s.h < 1 || s.h > MaxSide || s.w < 1 || s.w > MaxSide {
		return fmt.Errorf("images of %d x %d: height and width go from 1 to %d", s.h, s.w, MaxSide)
	}
	return nil
}

// with is s as the config wants it.
func (s shape) with(c Config) shape {
	if c.Channels != 0 {
		s.c = c.Channels
	}
	if c.Size != (Size{}) {
		s.h, s.w = c.Size.H, c.Size.W
	}
	return s
}

// maxSetBytes is the most that one dataset may take in memory.
const maxSetBytes = 64 << 30

// alloc makes room for n images.
func (s shape) alloc(n int) ([]byte, error) {
	need := int64(n) * int64(s.dim())
	if need > maxSetBytes || need > math.MaxInt {
		return nil, fmt.Errorf("%d images of %d x %d with %d channels need %.0f GiB of memory: choose a smaller data.size",
			n, s.h, s.w, s.c, float64(need)/(1<<30))
	}
	return make([]byte, need), nil
}

// rawSet is a dataset as its files hold it.
type rawSet struct {
	shape
	pixels []byte
	labels []int32 // nil: none
}

func (r *rawSet) count() int { return len(r.pixels) / r.dim() }

// memory brings the images to the config's size and channels.
func (r *rawSet) memory(ctx context.Context, info Info, c Config) (*Memory, error) {
	sh := r.with(c)
	hash := hashSet(sh, r.count(), r.labels, r.pixels)
	pixels := r.pixels
	if sh != r.shape {
		var err error
		if pixels, err = r.fitAll(ctx, sh); err != nil {
			return nil, err
		}
	}
	return newMemory(info, sh, pixels, r.labels, hash), nil
}

func (r *rawSet) fitAll(ctx context.Context, sh shape) ([]byte, error) {
	n := r.count()
	pixels, err := sh.alloc(n)
	if err != nil {
		return nil, err
	}
	err = forEach(ctx, n, func() func(int) error {
		f, in := newFitter(sh), newPlanes(r.shape)
		return func(i int) error {
			f.fit(pixels[i*sh.dim():(i+1)*sh.dim()], in.image(r.pixels[i*r.dim():(i+1)*r.dim()]))
			return nil
		}
	})
	return pixels, err
}

// hashSet is the SHA-256 of the shape that images are used in, their number,
// labels and content. content is what the source holds and not the resized
// images, whose last bit may differ between architectures.
func hashSet(sh shape, n int, labels []int32, content []byte) string {
	h := sha256.New()
	head := make([]byte, 0, 64+4*len(labels))
	for _, v := range []int{sh.c, sh.h, sh.w, n, len(labels), len(content)} {
		head = binary.LittleEndian.AppendUint64(head, uint64(v))
	}
	for _, l := range labels {
		head = binary.LittleEndian.AppendUint32(head, uint32(l))
	}
	h.Write(head)
	h.Write(content)
	return hex.EncodeToString(h.Sum(nil))
}

func checkLabels(labels []int, n int, classes []string) ([]int32, error) {
	if labels == nil {
		return nil, nil
	}
	if len(labels) != n {
		return nil, fmt.Errorf("%d labels for %d images", len(labels), n)
	}
	limit := math.MaxInt32
	if classes != nil {
		limit = len(classes) - 1
	}
	out := make([]int32, n)
	for i, l := range labels {
		if l < -1 || l > limit {
			return nil, fmt.Errorf("label %d of image %d: labels go from 0 to %d, and -1 is none", l, i, limit)
		}
		out[i] = int32(l)
	}
	return out, nil
}
