package pretext

import (
	"image"
	"image/color"
	"math"
	"math/rand/v2"
	"slices"

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
	order := m.order(1, rng)
	hidden := order[m.shown:]
	var pixels []float32 // of each hidden patch, normalised as the network's input is
	torch.NoGrad(func() {
		x, at := m.net.Input(planes, 1, model.Mode{}), torch.From(hidden, int64(len(hidden)))
		_, mean, deviation := m.target(x, at)
		pixels = torch.Values[float32](m.predict(x, 1, order, at).Mul(deviation).Add(mean))
	})

	seen, filled := clone(whole.Image), clone(whole.Image)
	patch, side := int(m.patch), size/int(m.patch)
	for k, at := range hidden {
		corner := image.Pt(int(at)%side*patch, int(at)/side*patch)
		p := pixels[k*3*patch*patch:]
		for i := range patch * patch {
			x, y := corner.X+i%patch, corner.Y+i/patch
			seen.SetRGBA(x, y, color.RGBA{128, 128, 128, 255})
			var rgb [3]uint8
			for c := range rgb {
				v := float64(p[3*i+c])*m.net.Std[c] + m.net.Mean[c]
				rgb[c] = uint8(math.Round(min(max(v, 0), 255)))
			}
			filled.SetRGBA(x, y, color.RGBA{rgb[0], rgb[1], rgb[2], 255})
		}
	}
	return []draw.Tile{
		{Caption: "image", Image: whole.Image}, {Caption: "seen", Image: seen}, {Caption: "filled in", Image: filled},
	}
}

func clone(img *image.RGBA) *image.RGBA {
	c := *img
	c.Pix = slices.Clone(img.Pix)
	return &c
}
