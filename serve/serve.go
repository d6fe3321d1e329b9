// Package serve answers over HTTP what models see in images: by the Open Inference Protocol, by a plain
// route, as Label Studio's ML backend, and on a page. docs/serve.md is the manual.
//
// A request is admitted or refused at once; its image is decoded and brought to the model's view on one of
// a few goroutines, waits for the batch it goes with, and is led back and described on one of those few
// again. So memory is bounded by the number admitted, and the engine only ever computes.
package serve

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"image"
	"io/fs"
	"net/http"
	"runtime"
	"slices"
	"strings"
	"time"

	"must/data"
	"must/data/imagefile"
	"must/web"
)

// Options say how a server behaves. See Defaults.
type Options struct {
	Version   string        // of the program
	Engine    string        // that runs networks of ours, see [teacher.Engine]
	MaxBatch  int           // images that a model sees at once
	MaxWait   time.Duration // that an image waits for others to be seen with
	Queue     int           // requests that wait or are worked at; more are refused
	MaxBody   int64         // bytes of a request
	MaxPixels int           // of an image
	Timeout   time.Duration // for a request, from its admission to its answer
	Threshold float64       // least score of an object where a request names none
	Settle    time.Duration // that a new model file rests before it is taken over
	Files     string        // folder of what Label Studio calls local files; "": none are read
	Studio    string        // address of the Label Studio that images may be fetched from; "": none are
	Token     string        // for it
	Log       func(format string, a ...any)
}

// Defaults are the options of must serve.
func Defaults() Options {
	return Options{
		MaxBatch: 8, MaxWait: 5 * time.Millisecond, Queue: 64, MaxBody: 64 << 20, MaxPixels: 40_000_000,
		Timeout: time.Minute, Threshold: 0.5, Settle: time.Second, Log: func(string, ...any) {},
	}
}

// A Server serves models by name. It is an http.Handler.
type Server struct {
	http.Handler
	o        Options
	models   []*model      // in the order given
	admitted chan struct{} // holds one for every request under way
	hands    chan struct{} // holds one for every goroutine that decodes or describes
	metrics  *metrics
	ending   context.Context
}

// New opens the models. Run keeps them fresh and Close frees them. When the context ends the server calls
// itself not ready; what is under way is still answered.
func New(ctx context.Context, models []Model, o Options) (*Server, error) {
	s := &Server{o: o, admitted: make(chan struct{}, o.Queue), hands: make(chan struct{}, max(2, runtime.GOMAXPROCS(0))), ending: ctx}
	s.metrics = newMetrics(func() float64 { return float64(len(s.admitted)) })
	for _, m := range models {
		if s.model(m.Name) != nil {
			s.Close()
			return nil, fmt.Errorf("two models are called %s; name them NAME=FILE", m.Name)
		}
		file := stampOf(m.Path)
		n, err := s.open(m.Path)
		if err != nil {
			s.Close()
			return nil, err
		}
		s.models = append(s.models, &model{Model: m, now: s.generation(m.Name, n), file: file})
	}
	s.Handler = s.routes()
	return s, nil
}

// Close frees the models when their last requests are answered.
func (s *Server) Close() {
	for _, m := range s.models {
		m.now.retire()
	}
}

// Run takes new model files over until the context of New ends.
func (s *Server) Run() {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		select {
		case <-s.ending.Done():
			return
		case <-tick.C:
			for _, m := range s.models {
				s.refresh(m)
			}
		}
	}
}

// model returns the model of a name, nil if there is none. Of a single model the name may be left out.
func (s *Server) model(name string) *model {
	if name == "" && len(s.models) == 1 {
		return s.models[0]
	}
	for _, m := range s.models {
		if m.Name == name {
			return m
		}
	}
	return nil
}

//go:embed page
var pageFiles embed.FS

func (s *Server) routes() http.Handler {
	mux := http.NewServeMux()
	handle := func(pattern string, h http.HandlerFunc) {
		_, route, _ := strings.Cut(pattern, " ")
		mux.Handle(pattern, s.metrics.measured(route, h))
	}
	files, err := fs.Sub(pageFiles, "page")
	if err != nil {
		panic(err) // embedded above
	}
	static := http.FileServerFS(files)
	for _, name := range []string{"/{$}", "/page.js", "/page.css", "/openapi.json", "/docs.html"} {
		mux.Handle("GET "+name, static)
	}
	mux.HandleFunc("GET /theme.css", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/css; charset=utf-8")
		w.Write([]byte(web.Theme))
	})
	mux.HandleFunc("GET /docs", func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, "/docs.html", http.StatusFound)
	})
	mux.Handle("GET /metrics", s.metrics.handler())
	handle("GET /models", s.list)
	handle("POST /models/{model}/predict", s.plain)
	s.v2(handle)
	s.studio(handle)
	return mux
}

// A failure is an error with the status that tells it.
type failure struct {
	status int
	err    error
}

func (f *failure) Error() string { return f.err.Error() }

func (f *failure) Unwrap() error { return f.err }

func fail(status int, format string, a ...any) error {
	return &failure{status, fmt.Errorf(format, a...)}
}

// refuse answers with an error.
func (s *Server) refuse(w http.ResponseWriter, r *http.Request, err error) {
	status := http.StatusInternalServerError
	if f, ok := errors.AsType[*failure](err); ok {
		status = f.status
	} else if limit, ok := web.TooLarge(err); ok {
		status, err = http.StatusRequestEntityTooLarge, fmt.Errorf("the request has more than %d bytes; shrink the image, or raise --max-body", limit)
	} else if r.Context().Err() != nil { // nobody reads this
		status = 499
	} else if errors.Is(err, context.DeadlineExceeded) {
		status, err = http.StatusGatewayTimeout, fmt.Errorf("no answer within %v; the server is busy: try again, or raise --timeout", s.o.Timeout)
	} else {
		s.o.Log("%s: %v", r.URL.Path, err)
	}
	if status == http.StatusServiceUnavailable {
		w.Header().Set("Retry-After", "1")
	}
	web.Error(w, status, "%v", err)
}

// admit counts a request as under way, or refuses it where too many are.
func (s *Server) admit(r *http.Request, name string) (ctx context.Context, g *generation, release func(), err error) {
	m := s.model(name)
	if m == nil {
		var names []string
		for _, m := range s.models {
			names = append(names, m.Name)
		}
		return nil, nil, nil, fail(http.StatusNotFound, "no model %q; there are %s", name, strings.Join(names, ", "))
	}
	select {
	case s.admitted <- struct{}{}:
	default:
		return nil, nil, nil, fail(http.StatusServiceUnavailable, "%d requests are under way already; try again in a second", s.o.Queue)
	}
	g, done := m.acquire()
	ctx, cancel := context.WithTimeout(r.Context(), s.o.Timeout)
	return ctx, g, func() {
		cancel()
		done()
		<-s.admitted
	}, nil
}

// A question is an image and what is asked about it.
type question struct {
	content   []byte      // of an image file; or
	img       *image.RGBA // pixels
	tasks     []string    // nil: all that the model knows
	threshold float64
	pixels    bool // the answer needs the image too
}

// An answer is what a model sees, in the frame of the image as it is shown.
type answer struct {
	*data.Sample
	size image.Point
	*generation
}

// describe makes the JSON of an answer.
func (a answer) describe() *Prediction {
	p := describe(a.Sample, a.size, a.knows)
	p.Network = a.Hash
	return p
}

// hand waits for one of the goroutines that may decode or describe.
func (s *Server) hand(ctx context.Context) (release func(), err error) {
	select {
	case s.hands <- struct{}{}:
		return func() { <-s.hands }, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// ask puts a question to a model and waits for the answer. The use of it is made of the answer on one of
// the few goroutines that hold images.
func (s *Server) ask(ctx context.Context, g *generation, q question, use func(answer) error) error {
	if q.tasks == nil {
		q.tasks = g.tasks()
	}
	for _, t := range q.tasks {
		if !g.knows.Has(t) {
			return fail(http.StatusBadRequest, "the model does not know %s; it knows %s", t, strings.Join(g.tasks(), ", "))
		}
	}
	if !(q.threshold >= 0 && q.threshold <= 1) {
		return fail(http.StatusBadRequest, "the threshold is %v; it is a score, in [0, 1]", q.threshold)
	}
	g.coming.Add(1)
	j, img, err := s.prepare(ctx, g, q)
	if err == nil {
		select {
		case g.jobs <- j:
		case <-ctx.Done():
			err = ctx.Err()
		}
	}
	g.coming.Add(-1)
	if err != nil {
		return err
	}
	var seen result
	select {
	case seen = <-j.done:
	case <-ctx.Done():
		return ctx.Err()
	}
	if seen.err != nil {
		return seen.err
	}
	release, err := s.hand(ctx)
	if err != nil {
		return err
	}
	defer release()
	pred := g.finish(j.item, seen.pred, q.tasks, q.threshold)
	pred.Image = img
	return use(answer{pred, j.source, g})
}

// prepare decodes an image and brings it to the model's view; the image itself is dropped unless the
// answer needs it.
func (s *Server) prepare(ctx context.Context, g *generation, q question) (*job, *image.RGBA, error) {
	release, err := s.hand(ctx)
	if err != nil {
		return nil, nil, err
	}
	defer release()
	img := q.img
	if img == nil {
		w, h, err := imagefile.Size(q.content)
		if err != nil {
			return nil, nil, fail(http.StatusBadRequest, "the image cannot be read: %w", err)
		}
		if err := s.checkPixels(w, h); err != nil {
			return nil, nil, err
		}
		if img, err = imagefile.DecodeBytes(q.content); err != nil {
			return nil, nil, fail(http.StatusBadRequest, "the image cannot be read: %w", err)
		}
	}
	j := &job{item: g.bring(img), ctx: ctx, tasks: slices.Clone(q.tasks), done: make(chan result, 1)}
	if !q.pixels {
		img = nil
	}
	return j, img, nil
}

func (s *Server) checkPixels(w, h int) error {
	if w < 1 || h < 1 || w > s.o.MaxPixels/h {
		return fail(http.StatusRequestEntityTooLarge, "an image of %d×%d pixels; at most %d are taken: shrink it, or raise --max-pixels", w, h, s.o.MaxPixels)
	}
	return nil
}
