package pretext

import (
	"image"
	"image/color"
	"math"
	"math/rand/v2"

	"must/augment"
	"must/data"
	"must/draw"
	"must/loader"
	"must/model"
	"must/torch"
	"must/train"
)

// A Task is a pretext task, which can also be looked at.
type Task interface {
	train.Pretext

	// Pictures shows what the task makes of a sample's image: the views that are compared, or what is
	// shown of it and what the network fills in. Call it in torch.Do.
	Pictures(s *data.Sample, rng *rand.Rand) []draw.Tile
}

// pictures shows an image and two views of it.
func (c Config) pictures(s *data.Sample, size int, rng *rand.Rand) []draw.Tile {
	v := c.views(size)
	return []draw.Tile{
		{Caption: "image", Image: s.Image},
		{Caption: "a view", Image: v.View(s, rng).Image},
		{Caption: "another", Image: v.View(s, rng).Image},
	}
}

func (m *simCLR) Pictures(s *data.Sample, rng *rand.Rand) []draw.Tile {
	return m.pictures(s, m.net.Size, rng)
}

func (m *moco) Pictures(s *data.Sample, rng *rand.Rand) []draw.Tile {
	return m.pictures(s, m.net.Size, rng)
}

// Pictures shows an image, the patches that the encoder sees, and what the decoder makes of the others,
// whose mean and contrast are those of the image since the loss does not ask for them.
func (m *mae) Pictures(s *data.Sample, rng *rand.Rand) []draw.Tile {
	size := m.net.Size
	whole, _ := augment.Config{Size: size}.Eval(s)
	planes := make([]uint8, 3*size*size)
	loader.Planar(planes, whole.Image.Pix)
	order := make([]int64, m.total)
	for k, i := range rng.Perm(int(m.total)) {
		order[k] = int64(i)
	}
	hidden := order[m.shown:]
	predicted := make([]float32, int64(len(hidden))*3*m.patch*m.patch)
	torch.NoGrad(func() {
		x := m.net.Input(planes, 1, model.Mode{})
		torch.CopyTo(predicted, m.predict(x, 1, order, torch.From(hidden, int64(len(hidden)))))
	})

	seen, filled := clone(whole.Image), clone(whole.Image)
	patch, side := int(m.patch), size/int(m.patch)
	for k, at := range hidden {
		corner := image.Pt(int(at)%side*patch, int(at)/side*patch)
		p := predicted[k*3*patch*patch:][:3*patch*patch]
		mean, deviation := m.spread(whole.Image, corner)
		for i := range patch * patch {
			x, y := corner.X+i%patch, corner.Y+i/patch
			seen.SetRGBA(x, y, color.RGBA{128, 128, 128, 255})
			var rgb [3]uint8
			for c := range rgb {
				v := float64(p[3*i+c])*deviation + mean
				rgb[c] = uint8(math.Round(min(max(v*m.net.Std[c]+m.net.Mean[c], 0), 255)))
			}
			filled.SetRGBA(x, y, color.RGBA{rgb[0], rgb[1], rgb[2], 255})
		}
	}
	return []draw.Tile{
		{Caption: "image", Image: whole.Image}, {Caption: "seen", Image: seen}, {Caption: "filled in", Image: filled},
	}
}

// spread returns the mean and the deviation of the normalised values of a patch, as the loss has them.
func (m *mae) spread(img *image.RGBA, corner image.Point) (mean, deviation float64) {
	patch := int(m.patch)
	var values []float64
	for i := range patch * patch {
		at := img.PixOffset(corner.X+i%patch, corner.Y+i/patch)
		for c := range 3 {
			values = append(values, (float64(img.Pix[at+c])-m.net.Mean[c])/m.net.Std[c])
		}
	}
	n := float64(len(values))
	for _, v := range values {
		mean += v / n
	}
	for _, v := range values {
		deviation += (v - mean) * (v - mean) / (n - 1)
	}
	return mean, math.Sqrt(deviation + 1e-6)
}

func clone(img *image.RGBA) *image.RGBA {
	c := *img
	c.Pix = append([]uint8(nil), img.Pix...)
	return &c
}
