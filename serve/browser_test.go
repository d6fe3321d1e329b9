package serve

import (
	"bytes"
	"encoding/base64"
	"image/png"
	"slices"
	"testing"

	"github.com/chromedp/chromedp/kb"

	"must/data"
	"must/data/scenes"
	"must/label"
	"must/predict"
	"must/task/classification"
	"must/task/depth"
	"must/task/detection"
	"must/task/normals"
	"must/task/segmentation"
	"must/web/browser"
)

// oracle stands in for a model that is right: it knows one picture.
type oracle struct {
	knows data.Labels
	truth *data.Sample
	size  int
}

func (o *oracle) Knows() data.Labels { return o.knows }
func (o *oracle) View() predict.View {
	return predict.View{W: o.size, H: o.size, Fit: predict.Letterbox}
}
func (o *oracle) Settings() []byte { return nil }
func (o *oracle) Free()            {}

func (o *oracle) See(images predict.Images, tasks ...string) ([]*data.Sample, error) {
	out := make([]*data.Sample, images.N)
	for i := range out {
		out[i] = &data.Sample{}
		for _, t := range o.knows.Tasks() {
			if slices.Contains(tasks, t) {
				out[i].Put(o.truth.Label(t))
			}
		}
	}
	return out, nil
}

// asked is a rendered picture and all that an oracle says of it: what is true of it, and of depth and
// normals something to draw.
func asked(t *testing.T, index, size int) (*oracle, []byte) {
	t.Helper()
	ds, err := scenes.Open(data.Source{Set: "stuff", Split: "train", Count: index + 1, Size: size})
	if err != nil {
		t.Fatal(err)
	}
	s, err := ds.Sample(index)
	if err != nil {
		t.Fatal(err)
	}
	classification.Set(s, []float32{.72, .2, .08})
	objects := detection.Of(s)
	for k := range objects {
		objects[k].Score = 1 - .12*float32(k+1)
	}
	g, n := data.NewGrid[float32](size, size), data.NewGrid[[3]float32](size, size)
	for y := range size {
		for x := range size {
			g.Set(x, y, 9-8*float32(y)/float32(size))
			n.Set(x, y, [3]float32{0, -.6, -.8})
		}
	}
	depth.Set(s, g)
	normals.Set(s, n)
	l := ds.Labels().With(classification.Name, data.Meaning{Classes: []string{"outdoors", "indoors", "seaside"}}).
		With(depth.Name, data.Meaning{Units: data.Metric}).With(normals.Name, data.Meaning{})
	var b bytes.Buffer
	if err := png.Encode(&b, s.Image); err != nil {
		t.Fatal(err)
	}
	return &oracle{l, s, size}, b.Bytes()
}

// The page in a real browser: a picture is pasted, tasks are chosen by the keyboard, numbers told; then on a
// phone, in the dark.
func TestPage(t *testing.T) {
	o, picture := asked(t, 37, 256)
	s, h := server(t, options())
	n := &network{Teacher: label.Teacher{Net: o, Hash: "0123456789abcdef"}, knows: o.knows, view: o.View()}
	s.models = append(s.models, &model{Model: Model{Name: "student"}, now: s.generation("student", n)})

	p := browser.Open(t, h.URL, 1180, 760)
	p.Wait(`document.querySelectorAll('#chips button[data-task]').length === 5`)
	p.Fits()
	p.Shot("serve-empty")
	browser.Eval[bool](p, `(() => {
		const bytes = Uint8Array.from(atob(`+browser.JSON(base64.StdEncoding.EncodeToString(picture))+`), c => c.charCodeAt(0));
		const data = new DataTransfer();
		data.items.add(new File([bytes], 'p.png', { type: 'image/png' }));
		return dispatchEvent(new ClipboardEvent('paste', { clipboardData: data }));
	})()`)
	p.Wait(`shown && !document.getElementById('canvas').hidden && document.getElementById('busy').hidden`)
	p.Wait(`document.querySelectorAll('#numbers table').length === 2`) // class and objects
	want := 0
	for _, o := range detection.Of(o.truth) {
		if o.Score >= threshold {
			want++
		}
	}
	if rows := browser.Eval[int](p, `document.querySelectorAll('#numbers table')[1].rows.length`); rows != want || want < 2 {
		t.Errorf("%d objects are told, %d are there", rows, want)
	}
	if text := browser.Eval[string](p, `document.getElementById('numbers').innerText`); !bytes.Contains([]byte(text), []byte("72.0 %")) {
		t.Errorf("the numbers are %q", text)
	}
	p.Shot("serve-objects")

	// By the keyboard alone: least score, tasks.
	p.Focus("score")
	for range 80 {
		p.Keys(kb.ArrowRight)
	}
	if rows := browser.Eval[int](p, `document.querySelectorAll('#numbers table')[1].rows.length`); rows >= want {
		t.Errorf("a higher least score leaves %d of %d objects", rows, want)
	}
	for _, task := range []string{"segmentation", "depth", "normals"} {
		browser.Eval[bool](p, `document.querySelector('[data-task=`+task+`]').focus(), true`)
		p.Keys(" ")
		p.Wait(`document.querySelector('[data-task=` + task + `]').getAttribute('aria-pressed') === 'true' && shown.` + task + `.layer`)
	}
	// What the picture says under the pointer is what the map has: a palette PNG and a .npy are read right.
	got := browser.Eval[[]float64](p, `[shown.segmentation.data[40 * 256 + 30], shown.depth.data[64 * 256 + 9], shown.normals.data[2]]`)
	if c := segmentation.Of(o.truth).At(30, 40); got[0] != float64(c) || got[1] != float64(depth.Of(o.truth).At(9, 64)) || got[2] > -.79 {
		t.Errorf("the maps read %v; the class is %d", got, c)
	}
	mask := detection.Of(o.truth)[0].Mask
	if k := browser.Eval[int](p, `shown.masks[0].data.reduce((a, b) => a + b)`); k != count(mask.Pix) {
		t.Errorf("a mask has %d pixels, on the page %d", count(mask.Pix), k)
	}

	p.Size(390, 844, true)
	p.Dark(true)
	browser.Eval[bool](p, `document.activeElement.blur(), $('score').value = 0.3, document.querySelector('[data-task=segmentation]').click(), true`)
	p.Fits()
	p.Shot("serve-phone")
	p.Size(1180, 760, false)
	p.Dark(false)
	browser.Eval[bool](p, `document.querySelector('[data-task=depth]').click(), true`)
	p.Shot("serve-depth")

	// What is no picture is told.
	browser.Eval[bool](p, `look(new Blob(['no picture'])), true`)
	p.Wait(`!document.getElementById('error').hidden`)
}

func count(pix []uint8) (n int) {
	for _, v := range pix {
		n += int(v)
	}
	return n
}
