package safetensors

import (
	"encoding/binary"
	"fmt"
	"math"
)

// halfToFloat widens an IEEE 754 binary16, exactly.
func halfToFloat(h uint16) float32 {
	sign, exp, frac := uint32(h&0x8000)<<16, uint32(h>>10)&31, uint32(h&0x3ff)
	switch exp {
	case 31: // infinity, NaN
		return math.Float32frombits(sign | 0x7f800000 | frac<<13)
	case 0: // zero, subnormal: frac * 2^-24
		return math.Float32frombits(sign | math.Float32bits(float32(frac)*0x1p-24))
	}
	return math.Float32frombits(sign | (exp+112)<<23 | frac<<13)
}

// floatToHalf rounds to the nearest IEEE 754 binary16, to the even one of two
// that are equally near. What is 65520 or more becomes infinity.
func floatToHalf(f float32) uint16 {
	b := math.Float32bits(f)
	sign := uint16(b>>16) & 0x8000
	b &= 0x7fffffff
	switch {
	case b > 0x7f800000: // NaN; the quiet bit keeps it one
		return sign | 0x7e00 | uint16(b>>13)&0x3ff
	case b >= 0x47800000: // 2^16
		return sign | 0x7c00
	case b < 0x38800000: // 2^-14: the sum's last place is 2^-24, a half's smallest step
		return sign | uint16(math.Float32bits(math.Float32frombits(b)+0.5)-0x3f000000)
	}
	b += 0xfff + b>>13&1 // a carry goes into the exponent, as it should
	return sign | uint16((b-112<<23)>>13)
}

// decodeFloats converts src, len(dst) elements of a floating dtype. An F64 whose
// value is beyond T's range is an error.
func decodeFloats[T float32 | float64](dst []T, src []byte, d DType) error {
	switch d {
	case F16:
		for i := range dst {
			dst[i] = T(halfToFloat(binary.LittleEndian.Uint16(src[2*i:])))
		}
	case BF16:
		for i := range dst {
			dst[i] = T(math.Float32frombits(uint32(binary.LittleEndian.Uint16(src[2*i:])) << 16))
		}
	case F32:
		for i := range dst {
			dst[i] = T(math.Float32frombits(binary.LittleEndian.Uint32(src[4*i:])))
		}
	case F64:
		for i := range dst {
			v := math.Float64frombits(binary.LittleEndian.Uint64(src[8*i:]))
			dst[i] = T(v)
			if math.IsInf(float64(dst[i]), 0) && !math.IsInf(v, 0) {
				return fmt.Errorf("the value %g is beyond the range of float32", v)
			}
		}
	}
	return nil
}

// decodeInts converts src, len(dst) elements of an integer dtype or BOOL.
func decodeInts(dst []int64, src []byte, d DType) error {
	le, size := binary.LittleEndian, d.size()
	for i := range dst {
		b := src[i*size:]
		switch d {
		case BOOL, U8:
			dst[i] = int64(b[0])
		case I8:
			dst[i] = int64(int8(b[0]))
		case U16:
			dst[i] = int64(le.Uint16(b))
		case I16:
			dst[i] = int64(int16(le.Uint16(b)))
		case U32:
			dst[i] = int64(le.Uint32(b))
		case I32:
			dst[i] = int64(int32(le.Uint32(b)))
		case I64:
			dst[i] = int64(le.Uint64(b))
		case U64:
			v := le.Uint64(b)
			if v > math.MaxInt64 {
				return fmt.Errorf("the value %d is beyond the range of int64", v)
			}
			dst[i] = int64(v)
		}
	}
	return nil
}

// encode writes src as F32 or F16. A value that only F32 can hold is an error
// for F16.
func encode(dst []byte, src []float32, d DType) error {
	if d == F32 {
		for i, v := range src {
			binary.LittleEndian.PutUint32(dst[4*i:], math.Float32bits(v))
		}
		return nil
	}
	for i, v := range src {
		h := floatToHalf(v)
		if h&0x7fff == 0x7c00 && !math.IsInf(float64(v), 0) {
			return fmt.Errorf("the value %g is beyond the range of F16 (65504); write F32", v)
		}
		binary.LittleEndian.PutUint16(dst[2*i:], h)
	}
	return nil
}
