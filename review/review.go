// Package review is a page to look at pseudo labels and to decide about them: a grid of images with their
// labels drawn in, sorted by what is worth a look, and one large view. Decisions go beside the shards, see
// shards.Decision. docs/review.md is the manual.
package review

import (
	"cmp"
	"context"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"

	"must/data"
	"must/label/shards"
	"must/task/classification"
	"must/task/detection"
	"must/web"
)

// A Server shows one set. It is an http.Handler.
type Server struct {
	http.Handler
	review  *shards.Review
	images  data.Dataset
	at      []int32 // where each image of the set is among the images, -1: nowhere; nil: in the same order
	labels  data.Labels
	classes []class
	scan    *scanner
	cache   *cache
	hands   chan struct{} // holds one for every picture being drawn
	against string
}

// Open opens a finished set for review with the images that were labelled, and another set of labels of the
// same images to compare it with, unless its name is empty.
func Open(ctx context.Context, dir string, images data.Dataset, against string) (*Server, error) {
	r, err := shards.OpenReview(dir)
	if err != nil {
		return nil, err
	}
	s := &Server{review: r, images: images, labels: r.Labels(), cache: newCache(96 << 20), hands: make(chan struct{}, runtime.GOMAXPROCS(0)), against: against}
	if err := s.locate(); err != nil {
		r.Close()
		return nil, err
	}
	var other *shards.Table
	if against != "" {
		if other, err = openOther(against, s.labels); err != nil {
			r.Close()
			return nil, err
		}
	}
	s.classes, _ = classTable(s.labels)
	s.scan = newScanner(r.Table, other)
	go s.scan.run(ctx.Done())
	s.Handler = s.routes()
	return s, nil
}

func openOther(dir string, l data.Labels) (*shards.Table, error) {
	set, err := shards.Open(dir)
	if err != nil {
		return nil, err
	}
	for _, task := range l.Tasks() {
		if err := l.Conflict(set.Labels(), task); err != nil {
			return nil, fmt.Errorf("%s cannot be compared: %w", dir, err)
		}
	}
	return set.AsWritten().Table()
}

// Close ends the review. Its decisions are on the disk already.
func (s *Server) Close() { s.review.Close() }

// locate finds the images of the set among those given.
func (s *Server) locate() error {
	same := s.images.Len() == len(s.review.Keys)
	for i := 0; same && i < len(s.review.Keys); i++ {
		same = s.images.Key(i) == s.review.Keys[i]
	}
	if same {
		return nil
	}
	at := make(map[string]int32, s.images.Len())
	for i := range s.images.Len() {
		at[s.images.Key(i)] = int32(i)
	}
	found := 0
	s.at = make([]int32, len(s.review.Keys))
	for i, key := range s.review.Keys {
		j, ok := at[key]
		if s.at[i] = j; !ok {
			s.at[i] = -1
			continue
		}
		found++
	}
	if found == 0 && len(s.review.Keys) > 0 {
		return fmt.Errorf("none of the images given was labelled in %s: it has keys such as %s", s.review.Dir(), s.review.Keys[0])
	}
	return nil
}

//go:embed page
var pageFiles embed.FS

func (s *Server) routes() http.Handler {
	mux := http.NewServeMux()
	files, err := fs.Sub(pageFiles, "page")
	if err != nil {
		panic(err) // embedded above
	}
	mux.Handle("GET /", http.FileServerFS(files))
	mux.HandleFunc("GET /theme.css", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/css; charset=utf-8")
		w.Write([]byte(web.Theme))
	})
	for pattern, h := range map[string]func(http.ResponseWriter, *http.Request) error{
		"GET /api/set":        s.set,
		"GET /api/order":      s.order,
		"GET /api/items":      s.items,
		"GET /api/sample/{i}": s.sample,
		"GET /image/{i}":      s.serveImage,
		"POST /api/decide":    s.decide,
		"POST /api/undo":      s.undo,
		"GET /api/masks/{i}":  s.serveMasks,
	} {
		mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
			if err := h(w, r); err != nil {
				web.Error(w, http.StatusBadRequest, "%v", err)
			}
		})
	}
	return mux
}

// set tells what there is, and how far it has been looked through.
func (s *Server) set(w http.ResponseWriter, r *http.Request) error {
	type taskInfo struct {
		Name    string   `json:"name"`
		Teacher string   `json:"teacher"`
		Units   string   `json:"units,omitempty"`
		Classes []string `json:"classes,omitempty"`
		Colours []string `json:"colours,omitempty"`
	}
	var tasks []taskInfo
	for _, t := range s.review.Tasks() {
		p := s.review.Index().Tasks[t]
		tasks = append(tasks, taskInfo{t, filepath.Base(p.Teacher), p.Units, p.Classes, colours(s.labels, t)})
	}
	s.scan.mu.RLock()
	counts, failed := slices.Clone(s.scan.counts), s.scan.failed
	s.scan.mu.RUnlock()
	type classInfo struct {
		class
		Images int32 `json:"images"`
	}
	classes := make([]classInfo, len(s.classes))
	for i, c := range s.classes {
		classes[i] = classInfo{c, counts[i]}
	}
	out := map[string]any{
		"name": s.review.Index().Dataset.Name, "dir": s.review.Dir(), "images": len(s.review.Keys), "skipped": len(s.review.Skipped),
		"tasks": tasks, "classes": classes, "scanned": s.scan.done.Load(), "against": s.against, "counts": s.counts(),
	}
	if failed != nil {
		out["failed"] = failed.Error()
	}
	web.JSON(w, http.StatusOK, out)
	return nil
}

func (s *Server) counts() (c shards.Counts) {
	s.review.Decisions(func(d *shards.Decisions) { c = d.Counts() })
	return c
}

// order lists the images of a filter in an order, as indices.
func (s *Server) order(w http.ResponseWriter, r *http.Request) error {
	q := r.URL.Query()
	task := -1
	if t := q.Get("task"); t != "" {
		if task = slices.Index(s.scan.tasks, t); task < 0 {
			return fmt.Errorf("the set has no %q", t)
		}
	}
	class := -1
	if c := q.Get("class"); c != "" {
		var err error
		if class, err = strconv.Atoi(c); err != nil || class < 0 || class >= len(s.classes) {
			return fmt.Errorf("there is no class %q", c)
		}
	}
	least, most, err := bounds(q.Get("min"), q.Get("max"))
	if err != nil {
		return err
	}
	state := map[string]bool{} // by key; only those with decisions
	var verdict func(key string) string
	s.review.Decisions(func(d *shards.Decisions) {
		known := map[string]string{}
		for _, key := range d.Keys() {
			state[key] = true
			known[key] = d.Verdict(key)
		}
		verdict = func(key string) string { return known[key] }
	})
	want := q.Get("state")
	s.scan.mu.RLock()
	stats, counts := s.scan.stats, slices.Clone(s.scan.counts)
	ids := make([]int32, 0, len(stats))
	rank := make([]float32, len(stats))
	for i := range stats {
		st, key := &stats[i], s.review.Keys[i]
		if task >= 0 && !s.review.Has(i, s.scan.tasks[task]) {
			continue
		}
		if class >= 0 && !slices.Contains(st.Classes, uint16(class)) {
			continue
		}
		if sure := st.sure(task); (least > 0 || most < 1) && (sure < least || sure > most) {
			continue
		}
		switch {
		case want == "open" && verdict(key) != "", want == "kept" && verdict(key) != shards.Keep,
			want == "dropped" && verdict(key) != shards.Drop, want == "decided" && !state[key]:
			continue
		}
		ids = append(ids, int32(i))
		rank[i] = score(q.Get("sort"), st, task, counts)
	}
	s.scan.mu.RUnlock()
	slices.SortStableFunc(ids, func(a, b int32) int { return cmp.Compare(rank[a], rank[b]) })
	web.JSON(w, http.StatusOK, map[string]any{"ids": ids, "scanned": s.scan.done.Load()})
	return nil
}

// score is small for what comes first in an order; what is unknown comes last.
func score(by string, st *stat, task int, counts []int32) float32 {
	const last = 1e9
	unknown := func(v, score float32) float32 {
		if v < 0 {
			return last
		}
		return score
	}
	switch by {
	case "least":
		v := st.sure(task)
		return unknown(v, v)
	case "differ":
		v := st.differ(task)
		return unknown(v, -v)
	case "rare":
		rarest := float32(last)
		for _, c := range st.Classes {
			rarest = min(rarest, float32(counts[c]))
		}
		return rarest
	case "most":
		return unknown(float32(st.Objects), -float32(st.Objects))
	case "fewest":
		return unknown(float32(st.Objects), float32(st.Objects))
	}
	return 0
}

func bounds(low, high string) (least, most float32, err error) {
	least, most = 0, 1
	for _, b := range []struct {
		text string
		to   *float32
	}{{low, &least}, {high, &most}} {
		if b.text == "" {
			continue
		}
		v, err := strconv.ParseFloat(b.text, 32)
		if err != nil || !(v >= 0 && v <= 1) {
			return 0, 0, fmt.Errorf("%q is no score, which is in [0, 1]", b.text)
		}
		*b.to = float32(v)
	}
	return least, most, nil
}

// An itemInfo is what a tile of the grid tells.
type itemInfo struct {
	ID      int     `json:"id"`
	Key     string  `json:"key"`
	W       int     `json:"w"`
	H       int     `json:"h"`
	Sure    float32 `json:"sure"`    // below 0: not known
	Differ  float32 `json:"differ"`  // below 0: not known
	Objects int32   `json:"objects"` // below 0: no list
	Verdict string  `json:"verdict"` // keep, drop or ""
	Edits   int     `json:"edits"`   // other decisions
	Version string  `json:"version"` // changes when its picture does
	Skipped string  `json:"skipped,omitempty"`
}

func (s *Server) item(i int) itemInfo {
	key, size := s.review.Keys[i], s.review.Size(i)
	s.scan.mu.RLock()
	st := s.scan.stats[i]
	s.scan.mu.RUnlock()
	out := itemInfo{ID: i, Key: key, W: size.X, H: size.Y, Sure: st.sure(-1), Differ: st.differ(-1), Objects: st.Objects, Skipped: s.review.Skipped[key]}
	s.review.Decisions(func(d *shards.Decisions) {
		out.Verdict = d.Verdict(key)
		for _, d := range d.Of(key) {
			if d.Do != shards.Keep && d.Do != shards.Drop {
				out.Edits++
			}
		}
		out.Version = versionOf(d.Of(key))
	})
	return out
}

// versionOf identifies the decisions on an image.
func versionOf(ds []shards.Decision) string {
	if len(ds) == 0 {
		return "0"
	}
	b, _ := json.Marshal(ds)
	h := sha256.Sum256(b)
	return hex.EncodeToString(h[:4])
}

func (s *Server) items(w http.ResponseWriter, r *http.Request) error {
	out := []itemInfo{}
	for text := range strings.SplitSeq(r.URL.Query().Get("ids"), ",") {
		i, err := s.index(text)
		if err != nil {
			return err
		}
		if out = append(out, s.item(i)); len(out) > 500 {
			return errors.New("at most 500 images at once")
		}
	}
	web.JSON(w, http.StatusOK, out)
	return nil
}

func (s *Server) index(text string) (int, error) {
	i, err := strconv.Atoi(text)
	if err != nil || i < 0 || i >= len(s.review.Keys) {
		return 0, fmt.Errorf("there is no image %q", text)
	}
	return i, nil
}

// An objectInfo is an object of the list as written, and what was decided about it.
type objectInfo struct {
	Index   int        `json:"index"` // in the list that decisions name
	Class   string     `json:"class"`
	Colour  string     `json:"colour"`
	Score   float32    `json:"score"`
	Box     [4]float64 `json:"bbox"`
	Mask    bool       `json:"mask,omitempty"`
	Deleted bool       `json:"deleted,omitempty"`
	Renamed bool       `json:"renamed,omitempty"`
}

type probability struct {
	Class       string  `json:"class"`
	Probability float32 `json:"probability"`
}

// A sampleInfo is all about one image.
type sampleInfo struct {
	itemInfo
	Tasks   []string           `json:"tasks"`   // that it has labels for
	Dropped []string           `json:"dropped"` // tasks
	Stale   int                `json:"stale"`   // decisions on labels made anew since
	Classes []probability      `json:"classes,omitempty"`
	Objects []objectInfo       `json:"list,omitzero"`
	Sures   map[string]float32 `json:"sures"`
	Differs map[string]float32 `json:"differs"`
}

func (s *Server) sample(w http.ResponseWriter, r *http.Request) error {
	i, err := s.index(r.PathValue("i"))
	if err != nil {
		return err
	}
	return s.writeSample(w, i)
}

func (s *Server) writeSample(w http.ResponseWriter, i int) error {
	info, err := s.describe(i)
	if err != nil {
		return err
	}
	web.JSON(w, http.StatusOK, map[string]any{"sample": info, "counts": s.counts()})
	return nil
}

func (s *Server) describe(i int) (*sampleInfo, error) {
	info := &sampleInfo{itemInfo: s.item(i), Tasks: []string{}, Dropped: []string{}, Sures: map[string]float32{}, Differs: map[string]float32{}}
	s.scan.mu.RLock()
	st := s.scan.stats[i]
	s.scan.mu.RUnlock()
	for at, task := range s.scan.tasks {
		if !s.review.Has(i, task) {
			continue
		}
		info.Tasks = append(info.Tasks, task)
		if st.Sure[at] >= 0 {
			info.Sures[task] = st.Sure[at]
		}
		if st.Differ[at] >= 0 {
			info.Differs[task] = st.Differ[at]
		}
		d, err := s.review.Decided(i, task)
		if err != nil {
			return nil, err
		}
		if info.Stale += d.Stale; d.Dropped {
			info.Dropped = append(info.Dropped, task)
		}
		if task != classification.Name && task != detection.Name {
			continue
		}
		if err := s.list(info, i, task, d); err != nil {
			return nil, err
		}
	}
	return info, nil
}

// list tells classes and objects.
func (s *Server) list(info *sampleInfo, i int, task string, d shards.Decided) error {
	label := &data.Sample{}
	if err := s.review.Decode(i, task, d.Member, label); err != nil {
		return err
	}
	if task == classification.Name {
		if err := s.review.Edit(d, task, label); err != nil {
			return err
		}
		for k, p := range classification.Of(label) {
			info.Classes = append(info.Classes, probability{s.labels[task].Classes[k], p})
		}
		slices.SortStableFunc(info.Classes, func(a, b probability) int { return cmp.Compare(b.Probability, a.Probability) })
		info.Classes = info.Classes[:min(5, len(info.Classes))]
		return nil
	}
	gone, renamed := d.Edits()
	tints := colours(s.labels, task)
	info.Objects = []objectInfo{}
	for k, o := range detection.Of(label) {
		j := objectInfo{Index: k, Class: s.labels[task].Classes[o.Class], Colour: tints[o.Class], Score: o.Score, Mask: o.Mask != nil,
			Box: [4]float64{o.Box.X0, o.Box.Y0, o.Box.W(), o.Box.H()}, Deleted: gone[k]}
		if name, ok := renamed[k]; ok {
			j.Class, j.Renamed = name, true
			j.Colour = tints[slices.Index(s.labels[task].Classes, name)]
		}
		info.Objects = append(info.Objects, j)
	}
	return nil
}

// serveImage answers with a drawn picture: JPEG, of one task, or of none.
func (s *Server) serveImage(w http.ResponseWriter, r *http.Request) error {
	i, err := s.index(r.PathValue("i"))
	if err != nil {
		return err
	}
	side, err := strconv.Atoi(cmp.Or(r.URL.Query().Get("side"), "256"))
	if err != nil || side < 32 || side > 2048 {
		return fmt.Errorf("side is %q; it is 32 to 2048 pixels", r.URL.Query().Get("side"))
	}
	task := r.URL.Query().Get("task")
	if task != "" && !s.labels.Has(task) {
		return fmt.Errorf("the set has no %s", task)
	}
	return s.drawn(w, r, fmt.Sprintf("%d %s %d %s", i, task, side, s.item(i).Version), "image/jpeg", func() ([]byte, error) {
		return s.picture(i, task, side)
	})
}

func (s *Server) serveMasks(w http.ResponseWriter, r *http.Request) error {
	i, err := s.index(r.PathValue("i"))
	if err != nil {
		return err
	}
	return s.drawn(w, r, fmt.Sprintf("%d masks %s", i, s.item(i).Version), "image/png", func() ([]byte, error) {
		return s.masks(i, 1280)
	})
}

// drawn answers with a picture, drawn by one of a few goroutines or kept from before.
func (s *Server) drawn(w http.ResponseWriter, r *http.Request, key, kind string, paint func() ([]byte, error)) error {
	b := s.cache.get(key)
	if b == nil {
		select {
		case s.hands <- struct{}{}:
		case <-r.Context().Done(): // scrolled past
			return r.Context().Err()
		}
		var err error
		b, err = paint()
		<-s.hands
		if err != nil {
			return err
		}
		s.cache.put(key, b)
	}
	w.Header().Set("Content-Type", kind)
	w.Header().Set("Cache-Control", "private, max-age=3600") // its address has the version
	w.Write(b)
	return nil
}

// decide takes a decision and answers with the image as it then is.
func (s *Server) decide(w http.ResponseWriter, r *http.Request) error {
	var q struct {
		Image  int    `json:"image"`
		Do     string `json:"do"`
		Task   string `json:"task"`
		Object *int   `json:"object"`
		Class  string `json:"class"`
	}
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, 1<<16)).Decode(&q); err != nil {
		return err
	}
	i, err := s.index(strconv.Itoa(q.Image))
	if err != nil {
		return err
	}
	d := shards.Decision{Do: q.Do, Object: q.Object, Class: q.Class}
	switch q.Do {
	case shards.Keep, shards.Drop, shards.Undo:
	case shards.DropTask, shards.Delete, shards.Rename:
		if !s.review.Has(i, q.Task) {
			return fmt.Errorf("%s has no label of task %q", s.review.Keys[i], q.Task)
		}
		d.Labels = map[string]string{q.Task: ""}
	default:
		return fmt.Errorf("there is no decision %q", q.Do)
	}
	if err := s.review.Decide(i, d); err != nil {
		return err
	}
	return s.writeSample(w, i)
}

// undo takes the latest decision back and answers with its image.
func (s *Server) undo(w http.ResponseWriter, r *http.Request) error {
	key, err := s.review.Undo()
	if err != nil {
		return err
	}
	return s.writeSample(w, slices.Index(s.review.Keys, key))
}
