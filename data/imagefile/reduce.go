package imagefile

import "image"

// divisor returns the largest of 1, 2, 4 and 8 by which the sides of an image can be divided and stay at least side.
func divisor(full image.Point, side int) int {
	d := 1
	for side > 0 && d < 8 && min(full.X, full.Y)/(2*d) >= side {
		d *= 2
	}
	return d
}

// reduce returns what paint draws of a screen, the mean of every d×d pixels being one: sides are rounded up, the last
// ones are means of the pixels that there are. Only d rows are painted at a time.
func reduce(screen image.Rectangle, d int, paint func(*image.RGBA)) *image.RGBA {
	w, h := screen.Dx(), screen.Dy()
	out := image.NewRGBA(image.Rect(0, 0, (w+d-1)/d, (h+d-1)/d))
	strip := image.NewRGBA(image.Rect(0, 0, w, d))
	for y := range out.Rect.Dy() {
		rows := min(d, h-d*y)
		strip.Rect = image.Rect(0, d*y, w, d*y+rows)
		paint(strip)
		for x := range out.Rect.Dx() {
			columns := min(d, w-d*x)
			n := uint32(rows * columns)
			r, g, b := n/2, n/2, n/2
			for row := range rows {
				at := strip.Pix[row*strip.Stride+4*d*x:][:4*columns]
				for ; len(at) >= 4; at = at[4:] {
					r, g, b = r+uint32(at[0]), g+uint32(at[1]), b+uint32(at[2])
				}
			}
			p := out.Pix[y*out.Stride+4*x:][:4]
			p[0], p[1], p[2], p[3] = uint8(r/n), uint8(g/n), uint8(b/n), 255
		}
	}
	return out
}
