package serve

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"image/png"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"must/data"
	"must/label/export"
	"must/label/shards"
	"must/task/detection"
	"must/web"
)

// list tells which models there are, for the page and for people.
func (s *Server) list(w http.ResponseWriter, r *http.Request) {
	type entry struct {
		Name    string              `json:"name"`
		SHA256  string              `json:"sha256"`
		Tasks   []string            `json:"tasks"`
		Labels  data.Labels         `json:"labels"`
		Colours map[string][]string `json:"colours"` // of classes, as pictures draw them
		Width   int                 `json:"width"`   // of what the model sees
		Height  int                 `json:"height"`
	}
	out := struct {
		Version   string  `json:"version"`
		Threshold float64 `json:"threshold"`
		Models    []entry `json:"models"`
	}{s.o.Version, s.o.Threshold, []entry{}}
	for _, m := range s.models {
		g, release := m.acquire()
		out.Models = append(out.Models, entry{m.Name, g.Hash, g.tasks(), g.knows, colours(g.knows), g.view.W, g.view.H})
		release()
	}
	web.JSON(w, http.StatusOK, out)
}

// plain takes a picture and answers with JSON, COCO's form or a drawn picture.
func (s *Server) plain(w http.ResponseWriter, r *http.Request) {
	if err := s.plainAnswer(w, r); err != nil {
		s.refuse(w, r, err)
	}
}

func (s *Server) plainAnswer(w http.ResponseWriter, r *http.Request) error {
	query := r.URL.Query()
	q := question{threshold: s.o.Threshold, tasks: query["task"]}
	for name := range query {
		if !slices.Contains([]string{"task", "threshold", "format", "maps", "side", "name"}, name) {
			return fail(http.StatusBadRequest, "there is no parameter %q; there are task, threshold, format, maps, side and name", name)
		}
	}
	var err error
	if v := query.Get("threshold"); v != "" {
		if q.threshold, err = strconv.ParseFloat(v, 64); err != nil {
			return fail(http.StatusBadRequest, "threshold is %q; it is a score, in [0, 1]", v)
		}
	}
	maps := false
	if v := query.Get("maps"); v != "" {
		if maps, err = strconv.ParseBool(v); err != nil {
			return fail(http.StatusBadRequest, "maps is %q; it is true or false", v)
		}
	}
	side := 512
	if v := query.Get("side"); v != "" {
		if side, err = strconv.Atoi(v); err != nil || side < 32 || side > 2048 {
			return fail(http.StatusBadRequest, "side is %q; it is the longer side of a drawn picture, 32 to 2048 pixels", v)
		}
	}
	format := query.Get("format")
	if format == "" {
		if format = "json"; strings.HasPrefix(r.Header.Get("Accept"), "image/png") {
			format = "png"
		}
	}
	if !slices.Contains([]string{"json", "coco", "png"}, format) {
		return fail(http.StatusBadRequest, "format is %q; it is json, coco or png", format)
	}
	q.pixels = format == "png"

	ctx, g, release, err := s.admit(r, r.PathValue("model"))
	if err != nil {
		return err
	}
	defer release()
	name, content, err := s.picture(w, r)
	if err != nil {
		return err
	}
	if v := query.Get("name"); v != "" {
		name = v
	}
	q.content = content
	var body bytes.Buffer
	kind := "application/json"
	err = s.ask(ctx, g, q, func(a answer) error {
		switch format {
		case "png":
			kind = "image/png"
			return png.Encode(&body, panel(a.Sample, a.knows, side))
		case "coco":
			if !a.Has(detection.Name) {
				return fail(http.StatusBadRequest, "COCO's form has objects only, and this model or request has none; ask for json")
			}
			a.Key = name
			return export.WriteCOCO(&body, export.Source{
				Labels: a.knows, File: func(key string) string { return key },
				Records: func(yield func(shards.Record, error) bool) {
					yield(shards.Record{Sample: a.Sample, W: a.size.X, H: a.size.Y}, nil)
				},
			})
		}
		p := a.describe()
		p.Image = name
		if maps {
			for _, f := range p.Maps(a.Sample) {
				var b bytes.Buffer
				if err := f.Write(&b); err != nil {
					return err
				}
				kind := "application/octet-stream"
				if strings.HasSuffix(f.Suffix, ".png") {
					kind = "image/png"
				}
				*f.Name = "data:" + kind + ";base64," + base64.StdEncoding.EncodeToString(b.Bytes())
			}
		}
		return encodeJSON(&body, p)
	})
	if err != nil {
		return err
	}
	w.Header().Set("Content-Type", kind)
	w.Header().Set("Content-Length", strconv.Itoa(body.Len()))
	_, err = body.WriteTo(w)
	return ignoreGone(r.Context(), err)
}

// ignoreGone drops the error of writing to somebody who has left.
func ignoreGone(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return nil
	}
	return err
}

// picture reads the image of a request: its body, or the first file of a form.
func (s *Server) picture(w http.ResponseWriter, r *http.Request) (name string, content []byte, err error) {
	r.Body = http.MaxBytesReader(w, r.Body, s.o.MaxBody)
	kind, params, _ := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if kind != "multipart/form-data" {
		content, err = readBody(r)
		return "", content, err
	}
	form := multipart.NewReader(r.Body, params["boundary"])
	for {
		part, err := form.NextPart()
		if errors.Is(err, io.EOF) {
			return "", nil, fail(http.StatusBadRequest, "the form has no file; send the image as one, as curl -F image=@photo.jpg does")
		}
		if err != nil {
			return "", nil, badBody(err)
		}
		if part.FileName() == "" {
			continue
		}
		content, err = io.ReadAll(part)
		if err != nil {
			return "", nil, badBody(err)
		}
		return part.FileName(), content, nil
	}
}

// readBody reads a body of bounded length; room for it grows as it comes.
func readBody(r *http.Request) ([]byte, error) {
	b, err := io.ReadAll(r.Body)
	return b, badBody(err)
}

func badBody(err error) error {
	if _, large := web.TooLarge(err); large || err == nil {
		return err
	}
	return fail(http.StatusBadRequest, "the request cannot be read: %w", err)
}

func encodeJSON(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	return e.Encode(v)
}
