package inspect

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"image"
	"math"
	"os"
	"reflect"
	"strings"
	"sync/atomic"
	"testing"

	"must/data"
	"must/data/account"
	"must/task/classification"
	"must/task/depth"
	"must/task/detection"
	"must/task/normals"
	"must/task/segmentation"
)

// A set of 40 images of 10×8 to 10×47 pixels with every label; every tenth is broken, in a way of its own.
type set struct{ n int }

var labels = data.Labels{
	classification.Name: {Classes: []string{"cat", "dog", "eel"}}, detection.Name: {Classes: []string{"box", "ball"}}, segmentation.Name: {Classes: []string{"sky", "sea"}},
	depth.Name: {Units: data.Metric}, normals.Name: {},
}

func (s set) Notes() []string     { return []string{"7 boxes are clipped"} }
func (s set) Len() int            { return s.n }
func (s set) Labels() data.Labels { return labels }
func (s set) Key(i int) string    { return fmt.Sprintf("%04d", i-i%13/12) } // 12 is called 11, and so on

func (s set) Sample(i int) (*data.Sample, error) {
	w, h := 10, 8+i
	d := &data.Sample{Key: s.Key(i), Image: image.NewRGBA(image.Rect(0, 0, w, h))}
	classification.Set(d, []float32{0, 1, 0})
	if i%4 == 0 {
		classification.Set(d, []float32{0.7, 0.2, 0.1})
	}
	segmentation.Set(d, data.NewGrid[uint8](w, h))
	depth.Set(d, data.NewGrid[float32](w, h))
	normals.Set(d, data.NewGrid[[3]float32](w, h))
	for p := range depth.Of(d).Pix {
		depth.Of(d).Pix[p] = 1 + float32(i)
		normals.Of(d).Pix[p] = [3]float32{0, 0, -1}
	}
	depth.Of(d).Pix[0], normals.Of(d).Pix[0], segmentation.Of(d).Pix[0] = float32(math.NaN()), [3]float32{}, data.Ignore
	normals.Of(d).Pix[1] = [3]float32{0, 0.6, 0.8}
	detection.Set(d, []data.Object{})
	for k := range i % 3 {
		detection.Set(d, append(detection.Of(d), data.Object{Box: data.Box{X1: 4, Y1: 4}, Crowd: k == 1}))
	}
	switch i {
	case 10:
		return nil, &data.SampleError{Key: d.Key, File: "ten.jpg", Err: errors.New("not an image")}
	case 20:
		detection.Set(d, []data.Object{{Box: data.Box{X1: 11, Y1: 4}}})
	case 30:
		segmentation.Of(d).Pix[5] = 2
	case 31:
		depth.Set(d, nil)
		normals.Set(d, nil)
		detection.Set(d, nil)
		segmentation.Set(d, nil)
		classification.Set(d, nil) // nothing is known of it
	}
	return d, nil
}

func TestRun(t *testing.T) {
	var text bytes.Buffer
	var calls atomic.Int32
	s, err := Run(context.Background(), set{40}, &text, Options{Progress: func(done, total int) {
		if n := calls.Add(1); int(n) != done || total != 40 {
			t.Errorf("progress %d of %d", done, total)
		}
	}})
	if err != nil {
		t.Fatal(err)
	}
	if s.Samples != 40 || s.Looked != 40 || s.Broken != 3 || s.Duplicates != 3 || !reflect.DeepEqual(s.FirstTwice, []string{"0011", "0024", "0037"}) {
		t.Errorf("%+v", s)
	}
	for i, want := range []string{"ten.jpg: not an image", "beyond the image", "class 2 of 2"} {
		if i >= len(s.FirstWrong) || !strings.Contains(s.FirstWrong[i].Error(), want) {
			t.Errorf("%v, want %q", s.FirstWrong, want)
		}
	}
	if s.Width != (account.Range{Min: 10, Median: 10, Max: 10}) || s.Height != (account.Range{Min: 8, Median: 27, Max: 47}) {
		t.Errorf("%v × %v", s.Width, s.Height)
	}
	if c := s.Tasks[classification.Name].(*classification.Counts); c.Labelled != 36 || c.Soft != 9 || c.Classes[0].Images != 9 || c.Classes[1].Images != 27 || c.Classes[2].Images != 0 {
		t.Errorf("classification %+v", c)
	}
	// Of 0 to 39 without 10, 20, 30, 31: 13 have no object, 11 one, 12 one and a crowd.
	if d := s.Tasks[detection.Name].(*detection.Counts); d.Labelled != 36 || d.Empty != 13 || d.Objects != 23 || d.Crowds != 12 || d.Small != 23 || d.Side() != (account.Range{Min: 4, Median: 4, Max: 4}) || account.RangeOf(d.PerImage) != (account.Range{Min: 0, Median: 1, Max: 1}) || d.Classes[0].Images != 23 {
		t.Errorf("detection %+v", d)
	}
	if c := s.Tasks[segmentation.Name].(*segmentation.Counts); c.Ignored != 36 || c.Classes[0].Pixels != c.Pixels-36 || c.Classes[1].Pixels != 0 {
		t.Errorf("segmentation %+v", c)
	}
	if d := s.Tasks[depth.Name].(*depth.Counts); d.Labelled != 36 || d.Invalid != 36 || d.Range().Min != 1 || d.Range().Max != 40 || math.Abs(d.Range().Median-27) > 0.5 || d.NeverValid != 0 {
		t.Errorf("depth %+v", d)
	}
	if n := s.Tasks[normals.Name].(*normals.Counts); n.Invalid != 36 || n.Away != 36 || n.Labelled != 36 {
		t.Errorf("normals %+v", n)
	}

	want, err := os.ReadFile("testdata/account.txt")
	if err != nil {
		t.Fatal(err)
	}
	if text.String() != string(want) {
		t.Errorf("account:\n%s", text.String())
	}
}

func TestWorkersDoNotMatter(t *testing.T) {
	var first Summary
	for _, workers := range []int{1, 7} {
		s, err := Run(context.Background(), set{40}, &bytes.Buffer{}, Options{Workers: workers})
		if err != nil {
			t.Fatal(err)
		}
		if workers == 1 {
			first = s
		} else if !reflect.DeepEqual(s, first) {
			t.Errorf("%d workers: %+v, want %+v", workers, s, first)
		}
	}
}

func TestPartOfASet(t *testing.T) {
	var text bytes.Buffer
	s, err := Run(context.Background(), set{1000}, &text, Options{Count: 10})
	if err != nil || s.Looked != 10 || s.Samples != 1000 || s.Height.Max != 908 || !strings.Contains(text.String(), "1,000, 10 of them looked at") {
		t.Errorf("%+v, %v\n%s", s, err, text.String())
	}
}

func TestStop(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := Run(ctx, set{40}, &bytes.Buffer{}, Options{}); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

func TestCheck(t *testing.T) {
	for want, change := range map[string]func(*data.Sample){
		"no image":                 func(s *data.Sample) { s.Image = nil },
		"2 class probabilities":    func(s *data.Sample) { classification.Set(s, []float32{1, 0}) },
		"object 0 is of class 2":   func(s *data.Sample) { detection.Set(s, []data.Object{{Box: data.Box{X1: 1, Y1: 1}, Class: 2}}) },
		"without area":             func(s *data.Sample) { detection.Set(s, []data.Object{{Box: data.Box{X1: math.NaN(), Y1: 1}}}) },
		"segmentation of 1×1":      func(s *data.Sample) { segmentation.Set(s, data.NewGrid[uint8](1, 1)) },
		"depth of 8×10":            func(s *data.Sample) { depth.Set(s, data.NewGrid[float32](8, 10)) },
		"normals of 10×8":          func(s *data.Sample) { normals.Of(s).Pix = normals.Of(s).Pix[:7] },
		"pixel (3, 1) is not of u": func(s *data.Sample) { normals.Of(s).Pix[13] = [3]float32{0, 0, -2} },
	} {
		s, err := set{1}.Sample(0)
		if err != nil {
			t.Fatal(err)
		}
		if err := check(s, labels); err != nil {
			t.Error(err)
		}
		change(s)
		if err := check(s, labels); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
}

func BenchmarkAdd(b *testing.B) {
	s, err := set{1 << 20}.Sample(100_000) // a megapixel
	if err != nil {
		b.Fatal(err)
	}
	tally := newTally(labels, 1)
	for b.Loop() {
		if err := check(s, labels); err != nil {
			b.Fatal(err)
		}
		tally.add(0, s, nil)
	}
}
