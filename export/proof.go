package export

import (
	"context"
	"errors"
	"fmt"
	"image"
	"strings"
	"text/tabwriter"

	"must/data"
	"must/data/scenes"
	"must/loader"
	"must/network"
	"must/onnx/ort"
	"must/predict"
	"must/task"
	"must/torch"
)

// The least number of images that a model is proven on, that of one for this program's use alone, and how
// many go at once.
const (
	leastImages  = 16
	engineImages = 3
	proofBatch   = 4
)

// Differences that are allowed, as parts of the range: rounding, and that of float16.
const (
	tolerance     = 1e-4
	halfTolerance = 5e-2
)

// A Proof is how far a model in ONNX Runtime is from libtorch.
type Proof struct {
	Images    int
	Tolerance float64
	Batches   []int                     // sizes
	Rows      map[int][]task.Difference // by the size of the batch, an output each
}

// Err is what is beyond the tolerance, nil if nothing is.
func (p *Proof) Err() error {
	var faults []string
	for _, batch := range p.Batches {
		for _, d := range p.Rows[batch] {
			switch {
			case d.Fault != "":
				faults = append(faults, fmt.Sprintf("%s, batch %d: %s", d.Output, batch, d.Fault))
			case !(d.Largest <= p.Tolerance):
				faults = append(faults, fmt.Sprintf("%s, batch %d: it differs by %.2g of its range, and at most %.0e may be", d.Output, batch, d.Largest, p.Tolerance))
			}
		}
	}
	if faults == nil {
		return nil
	}
	return errors.New("ONNX Runtime does not compute what libtorch does:\n  " + strings.Join(faults, "\n  "))
}

// String is the table of the largest differences.
func (p *Proof) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%d images in ONNX Runtime and in libtorch; largest differences, as parts of the range:\n", p.Images)
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	fmt.Fprint(w, "output")
	for _, batch := range p.Batches {
		fmt.Fprintf(w, "\tbatch %d", batch)
	}
	fmt.Fprintln(w, "\trange\t")
	for i, d := range p.Rows[p.Batches[0]] {
		fmt.Fprint(w, d.Output)
		for _, batch := range p.Batches {
			fmt.Fprintf(w, "\t%.1e", p.Rows[batch][i].Largest)
		}
		note := ""
		if d.Same > 0 || d.Tied > 0 {
			note = fmt.Sprintf("%d %s alike, %d other by a tie", d.Same, d.Of, d.Tied)
		}
		fmt.Fprintf(w, "\t%.4g\t%s\n", d.Range, note)
	}
	w.Flush()
	return b.String()
}

// prove runs a model and the network that it was made of on images, one by one and several at once.
func prove(ctx context.Context, n *network.Network, path string, o Options) (*Proof, error) {
	p := &Proof{Tolerance: tolerance, Batches: []int{1, proofBatch}, Rows: map[int][]task.Difference{}}
	if o.Half {
		p.Tolerance = halfTolerance
	}
	least, step := leastImages, proofBatch
	if o.engine { // as many at once as it will see on a CPU
		least = engineImages
		step = min(step, n.View().AtOnce())
		p.Batches = []int{step}
	}
	images, err := proofImages(o.Images, n.Size, least)
	if err != nil {
		return nil, err
	}
	p.Images = len(images)
	hold := step // images whose outputs are held at once
	if o.engine {
		hold = len(images) // they are small, and so both engines do not have to be large at the same time
	}
	expected := o.graph()
	expected.Ties = p.Tolerance
	type part struct {
		pix  predict.Images
		want task.Outputs
	}
	var session *ort.Session
	defer func() {
		if session != nil {
			session.Close()
		}
	}()
	for from := 0; from < len(images); from += hold {
		var parts []part
		for held := images[from:min(from+hold, len(images))]; len(held) > 0; held = held[min(step, len(held)):] {
			if err := ctx.Err(); err != nil {
				return nil, err
			}
			v := part{pix: bring(n.View(), held[:min(step, len(held))])}
			if err := torch.Do(func() { v.want = n.Outputs(v.pix.Pix, v.pix.N, expected) }); err != nil {
				return nil, err
			}
			parts = append(parts, v)
		}
		if session == nil {
			torch.Trim()
			if session, err = ort.Load(path, ort.Options{Threads: o.Threads}); err != nil {
				return nil, err
			}
		}
		for _, v := range parts {
			for _, batch := range p.Batches {
				got, err := runBy(session, v.pix, batch)
				if err != nil {
					return nil, err
				}
				p.Rows[batch] = merge(p.Rows[batch], n.Compare(v.want, got, expected, p.Tolerance))
			}
		}
	}
	return p, nil
}

// bring brings images to a view.
func bring(v predict.View, images []*image.RGBA) predict.Images {
	size := 3 * v.W * v.H
	all := predict.Images{Pix: make([]uint8, len(images)*size), N: len(images), W: v.W, H: v.H}
	for i, img := range images {
		img, _ = v.Bring(img)
		loader.Planar(all.Pix[i*size:][:size], img.Pix)
	}
	return all
}

// merge keeps the largest of differences.
func merge(rows, more []task.Difference) []task.Difference {
	if rows == nil {
		return more
	}
	for i, d := range more {
		r := &rows[i]
		r.Largest, r.Range = max(r.Largest, d.Largest), max(r.Range, d.Range)
		r.Same, r.Tied = r.Same+d.Same, r.Tied+d.Tied
		if r.Fault == "" {
			r.Fault = d.Fault
		}
	}
	return rows
}

// runBy runs a model on images, so many at once, and joins the outputs.
func runBy(session *ort.Session, images predict.Images, batch int) (task.Outputs, error) {
	names := make([]string, len(session.Outputs))
	for i, o := range session.Outputs {
		names[i] = o.Name
	}
	all := task.Outputs{}
	size := 3 * images.H * images.W
	for from := 0; from < images.N; from += batch {
		n := min(batch, images.N-from)
		out, err := runIn(session, predict.Images{Pix: images.Pix[from*size:][:n*size], N: n, H: images.H, W: images.W}, names)
		if err != nil {
			return nil, err
		}
		for name, a := range out {
			before := all[name]
			if before.Shape != nil {
				a.Shape[0] += before.Shape[0]
			}
			all[name] = task.Array{Shape: a.Shape, Values: append(before.Values, a.Values...)}
		}
	}
	return all, nil
}

// runIn runs a model on images and gives the outputs named.
func runIn(session *ort.Session, images predict.Images, names []string) (task.Outputs, error) {
	in := ort.Tensor{Shape: []int64{int64(images.N), 3, int64(images.H), int64(images.W)}, Bytes: images.Pix}
	if session.Inputs[0].Type != ort.Uint8 {
		in.Values = make([]float32, len(images.Pix))
		for i, v := range images.Pix {
			in.Values[i] = float32(v)
		}
	}
	out, err := session.Run([]ort.Tensor{in}, names...)
	if err != nil {
		return nil, err
	}
	all := task.Outputs{}
	for i, name := range names {
		all[name] = task.Array{Shape: out[i].Shape, Values: out[i].Values}
	}
	return all, nil
}

// proofImages are those of a set, or rendered ones where that is none, and always a tall, a wide and a
// tiny one besides.
func proofImages(set data.Dataset, size, least int) ([]*image.RGBA, error) {
	var images []*image.RGBA
	side := min(max(size, scenes.MinSize), scenes.MaxSize)
	rendered, err := scenes.Open(data.Source{Set: "unlabelled", Split: "val", Size: side, Count: least})
	if err != nil {
		return nil, err
	}
	take := func(from data.Dataset, i int) error {
		s, err := from.Sample(i)
		if err == nil {
			images = append(images, s.Image)
		}
		return err
	}
	for _, cut := range []image.Rectangle{image.Rect(side/3, 0, side/3+max(1, side/3), side), image.Rect(0, side/2, side, side/2+max(1, side/5)), image.Rect(side/2, side/2, side/2+7, side/2+5)} {
		if err := take(rendered, len(images)); err != nil {
			return nil, err
		}
		last := &images[len(images)-1]
		*last = crop(*last, cut)
	}
	if set != nil {
		for i := range set.Len() {
			if err := take(set, i); err != nil {
				return nil, err
			}
		}
	}
	for len(images) < least {
		if err := take(rendered, len(images)); err != nil {
			return nil, err
		}
	}
	return images, nil
}

func crop(img *image.RGBA, r image.Rectangle) *image.RGBA {
	out := image.NewRGBA(image.Rect(0, 0, r.Dx(), r.Dy()))
	for y := range r.Dy() {
		copy(out.Pix[y*out.Stride:], img.Pix[img.PixOffset(r.Min.X, r.Min.Y+y):][:out.Stride])
	}
	return out
}
