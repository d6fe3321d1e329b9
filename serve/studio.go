package serve

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/url"
	"os"
	"path"
	"slices"
	"strings"
	"sync"

	"must/label/export"
	"must/web"
)

// studio adds the routes of a machine learning backend of Label Studio
// (https://labelstud.io/guide/ml_create). Of several models the first answers, unless the project names
// another: each also has the routes under /studio/MODEL.
func (s *Server) studio(handle func(string, http.HandlerFunc)) {
	for _, at := range []string{"", "/studio/{model}"} {
		handle("GET "+at+"/health", func(w http.ResponseWriter, r *http.Request) {
			web.JSON(w, http.StatusOK, map[string]string{"status": "UP", "model_class": "must"})
		})
		handle("POST "+at+"/setup", func(w http.ResponseWriter, r *http.Request) {
			if err := s.studioSetup(w, r); err != nil {
				s.refuse(w, r, err)
			}
		})
		handle("POST "+at+"/predict", func(w http.ResponseWriter, r *http.Request) {
			if err := s.studioPredict(w, r); err != nil {
				s.refuse(w, r, err)
			}
		})
	}
}

// studioModel is the model that a request is for.
func (s *Server) studioModel(r *http.Request) string {
	if name := r.PathValue("model"); name != "" {
		return name
	}
	return s.models[0].Name
}

// studioVersion names a model and its file, so that predictions of different files are told apart.
func studioVersion(name string, g *generation) string { return name + "-" + version(g) }

// studioSetup is what Label Studio asks when the backend is added: it is told the version, and the log is
// told of classes that the project has no label for.
func (s *Server) studioSetup(w http.ResponseWriter, r *http.Request) error {
	var req struct {
		Schema string `json:"schema"` // the labelling interface
	}
	if err := s.readJSON(w, r, &req); err != nil {
		return err
	}
	name := s.studioModel(r)
	_, g, release, err := s.admit(r, name)
	if err != nil {
		return err
	}
	defer release()
	if req.Schema != "" {
		in, err := export.ParseInterface(req.Schema)
		if err != nil {
			return fail(http.StatusBadRequest, "%w", err)
		}
		own, _ := export.InterfaceFor(g.knows)
		for _, c := range own.Controls {
			i := slices.IndexFunc(in.Controls, func(k export.Control) bool { return k.Type == c.Type })
			if i < 0 {
				s.o.Log("Label Studio: the project has no %s, so what %s sees of it is not shown", c.Type, name)
				continue
			}
			var missing []string
			for _, label := range c.Labels {
				if !slices.Contains(in.Controls[i].Labels, label) {
					missing = append(missing, label)
				}
			}
			if missing != nil {
				s.o.Log("Label Studio: %s %s of the project lacks %d of %d classes of %s, which are not shown: %s", c.Type, in.Controls[i].Name, len(missing), len(c.Labels), name, strings.Join(missing, ", "))
			}
		}
	}
	web.JSON(w, http.StatusOK, map[string]string{"model_version": studioVersion(name, g)})
	return nil
}

func (s *Server) readJSON(w http.ResponseWriter, r *http.Request, to any) error {
	r.Body = http.MaxBytesReader(w, r.Body, s.o.MaxBody)
	b, err := readBody(r)
	if err != nil {
		return err
	}
	if err := json.NewDecoder(bytes.NewReader(b)).Decode(to); err != nil {
		return fail(http.StatusBadRequest, "the request is not the JSON that Label Studio sends: %w", err)
	}
	return nil
}

// studioPredict sees the images of tasks.
func (s *Server) studioPredict(w http.ResponseWriter, r *http.Request) error {
	var req struct {
		Tasks []struct {
			Data map[string]any `json:"data"`
		} `json:"tasks"`
		Config string `json:"label_config"`
	}
	if err := s.readJSON(w, r, &req); err != nil {
		return err
	}
	name := s.studioModel(r)
	ctx, g, release, err := s.admit(r, name)
	if err != nil {
		return err
	}
	defer release()
	in, _ := export.InterfaceFor(g.knows)
	if req.Config != "" {
		if in, err = export.ParseInterface(req.Config); err != nil {
			return fail(http.StatusBadRequest, "%w", err)
		}
	}
	results, errs := make([]export.StudioPrediction, len(req.Tasks)), make([]error, len(req.Tasks))
	var wg sync.WaitGroup
	few := make(chan struct{}, s.o.MaxBatch)
	for i, t := range req.Tasks {
		few <- struct{}{}
		wg.Go(func() {
			defer func() { <-few }()
			errs[i] = func() error {
				content, err := s.studioImage(ctx, in, t.Data)
				if err != nil {
					return err
				}
				return s.ask(ctx, g, question{content: content, threshold: s.o.Threshold}, func(a answer) error {
					results[i], _ = in.Predict(a.Sample, a.size.X, a.size.Y, a.knows, studioVersion(name, g))
					return nil
				})
			}()
		})
	}
	wg.Wait()
	for i, err := range errs {
		if err != nil {
			if f, ok := errors.AsType[*failure](err); ok {
				return fail(f.status, "task %d of %d: %w", i+1, len(errs), f.err)
			}
			return err
		}
	}
	web.JSON(w, http.StatusOK, map[string]any{"results": results, "model_version": studioVersion(name, g)})
	return nil
}

// studioImage returns the image file of a task: within the request (data:), a local file of Label Studio's
// where a folder for them is given, or from the Label Studio given. Nothing else is fetched or read.
func (s *Server) studioImage(ctx context.Context, in *export.Interface, task map[string]any) ([]byte, error) {
	field := "image"
	for _, f := range in.Images {
		field = f
	}
	address, ok := task[field].(string)
	if !ok {
		return nil, fail(http.StatusBadRequest, "its data has no image in %q", field)
	}
	if rest, ok := strings.CutPrefix(address, "data:"); ok {
		_, text, _ := strings.Cut(rest, ";base64,")
		b, err := base64.StdEncoding.DecodeString(text)
		if err != nil {
			return nil, fail(http.StatusBadRequest, "the image in the request is not base64: %w", err)
		}
		return b, nil
	}
	u, err := url.Parse(address)
	if err != nil {
		return nil, fail(http.StatusBadRequest, "%q is no address: %w", address, err)
	}
	if d := u.Query().Get("d"); strings.HasPrefix(u.Path, "/data/local-files") && d != "" {
		if s.o.Files == "" {
			return nil, fail(http.StatusBadRequest, "%s is a local file of Label Studio's; name its folder of local files by --files", address)
		}
		root, err := os.OpenRoot(s.o.Files)
		if err != nil {
			return nil, err
		}
		defer root.Close()
		f, err := root.Open(path.Clean(d))
		if err != nil {
			return nil, fail(http.StatusBadRequest, "local file %s: %w", d, err)
		}
		defer f.Close()
		return s.bounded(f, address)
	}
	studio, err := url.Parse(s.o.Studio)
	if err != nil || s.o.Studio == "" {
		return nil, fail(http.StatusBadRequest, "%s lies with Label Studio; name its address by --label-studio, so that images may be fetched from it", address)
	}
	u = studio.ResolveReference(u)
	if u.Scheme != studio.Scheme || u.Host != studio.Host {
		return nil, fail(http.StatusBadRequest, "%s does not lie with the Label Studio at %s; nothing is fetched from elsewhere", address, s.o.Studio)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return nil, err
	}
	if s.o.Token != "" {
		req.Header.Set("Authorization", "Token "+s.o.Token)
	}
	client := http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	resp, err := client.Do(req)
	if err != nil {
		return nil, fail(http.StatusBadGateway, "%w", err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, fail(http.StatusBadGateway, "%s answers %s; is the token right (LABEL_STUDIO_API_KEY)?", u, resp.Status)
	}
	return s.bounded(resp.Body, address)
}

// bounded reads an image file of at most the size of a request.
func (s *Server) bounded(r io.Reader, name string) ([]byte, error) {
	b, err := io.ReadAll(io.LimitReader(r, s.o.MaxBody+1))
	if err != nil {
		return nil, fail(http.StatusBadGateway, "%s: %w", name, err)
	}
	if int64(len(b)) > s.o.MaxBody {
		return nil, fail(http.StatusRequestEntityTooLarge, "%s has more than %d bytes; raise --max-body", name, s.o.MaxBody)
	}
	return b, nil
}
