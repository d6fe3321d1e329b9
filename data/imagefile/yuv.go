package imagefile

import (
	"image"
	"math"
)

// A matrix leads from YCbCr to RGB, in 1/65536.
type matrix struct{ black, y, rv, gu, gv, bu int32 }

// matrixOf returns the matrix of coefficients kr and kb (ITU-T H.273): 0.299 and 0.114 of ITU-R BT.601. full says that
// values use all of 0 to 255, else luma uses 16 to 235 and chroma 16 to 240.
func matrixOf(kr, kb float64, full bool) matrix {
	black, luma, chroma := int32(16), 255./219, 255./224
	if full {
		black, luma, chroma = 0, 1, 1
	}
	kg := 1 - kr - kb
	fixed := func(v float64) int32 { return int32(math.Round(v * (1 << 16))) }
	r, b := 2*(1-kr)*chroma, 2*(1-kb)*chroma
	return matrix{black, fixed(luma), fixed(r), fixed(b * kb / kg), fixed(r * kr / kg), fixed(b)}
}

// videoRange is how a lossy WebP stores its colours (RFC 6386 §9.2), which the standard library takes for JPEG's.
var videoRange = matrixOf(0.299, 0.114, false)

// convert paints what of a YCbCr image lies in dst, over white where it is transparent; other images are left as they are.
func convert(dst *image.RGBA, src image.Image, m matrix) {
	var alpha *image.NYCbCrA
	var yuv *image.YCbCr
	switch src := src.(type) {
	case *image.YCbCr:
		yuv = src
	case *image.NYCbCrA:
		yuv, alpha = &src.YCbCr, src
	default:
		return
	}
	shown := yuv.Rect.Intersect(dst.Rect)
	for y := shown.Min.Y; y < shown.Max.Y; y++ {
		for x := shown.Min.X; x < shown.Max.X; x++ {
			c := yuv.COffset(x, y)
			luma := m.y*(int32(yuv.Y[yuv.YOffset(x, y)])-m.black) + 1<<15
			cb, cr := int32(yuv.Cb[c])-128, int32(yuv.Cr[c])-128
			rgb := [3]int32{(luma + m.rv*cr) >> 16, (luma - m.gu*cb - m.gv*cr) >> 16, (luma + m.bu*cb) >> 16}
			p := dst.Pix[dst.PixOffset(x, y):][:4]
			for i, v := range rgb {
				v = min(max(v, 0), 255)
				if alpha != nil {
					v = 255 - (255-v)*int32(alpha.A[alpha.AOffset(x, y)])/255
				}
				p[i] = uint8(v)
			}
			p[3] = 255
		}
	}
}
