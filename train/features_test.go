package train

import (
	"testing"

	"must/data"
	"must/predict"
	"must/task/features"
)

// seen is a set of toys with what two encoders see of them: the mean colour of each cell of a 2×2 grid, and
// that of the whole image.
type seen struct {
	toys
	moments map[string]*data.Moments
}

const whole, cells = "features.whole", "features.cells"

func newSeen(n int) seen {
	s := seen{toys: set(n), moments: map[string]*data.Moments{}}
	for i := range n {
		sample, _ := s.Sample(i)
		for _, task := range []string{whole, cells} {
			l := features.Of(sample, task)
			s.moments[task] = s.moments[task].Pool(data.MomentsOf(l.Values, l.Channels))
		}
	}
	return s
}

func (s seen) Labels() data.Labels {
	return data.Labels{whole: {Channels: 3, Grid: 1, Moments: s.moments[whole]}, cells: {Channels: 3, Grid: 2, Moments: s.moments[cells]}}
}

func (s seen) Sample(i int) (*data.Sample, error) {
	sample, err := s.toys.Sample(i)
	if err != nil {
		return nil, err
	}
	out := &data.Sample{Key: sample.Key, Image: sample.Image}
	for task, grid := range map[string]int{whole: 1, cells: 2} {
		values := make([]float32, grid*grid*3)
		side := 64 / grid
		for y := range 64 {
			for x := range 64 {
				c := sample.Image.RGBAAt(x, y)
				for k, v := range []uint8{c.R, c.G, c.B} {
					values[((y/side)*grid+x/side)*3+k] += float32(v) / float32(side*side)
				}
			}
		}
		out.Put(features.New(task, grid, 3, values))
	}
	return out, nil
}

// A student of two encoders sees what they see, of images that it learned from.
func TestLearnsFeatures(t *testing.T) {
	s := newSeen(8)
	c := config(120)
	c.LR = 0.05
	j := job(t, c, s.Labels(), cells, whole)
	j.Train = s
	run(t, j)
	scores, err := predict.Evaluate(t.Context(), j.Net, s, predict.Options{Batch: 8})
	if err != nil {
		t.Fatal(err)
	}
	for _, task := range []string{cells, whole} {
		for _, v := range scores[task] {
			if !(v.Value > 0.8) {
				t.Errorf("%s: %s is %.3f on the images that were learned", task, v.Name, v.Value)
			}
		}
	}
}
