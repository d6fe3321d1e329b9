package tracking

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"image"
	"io"
	"math"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// Records and events are byte for byte those of TensorBoard's own writer.
func TestAsTensorBoardWrites(t *testing.T) {
	b, err := os.ReadFile("testdata/golden.json")
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{}
	if err := json.Unmarshal(b, &want); err != nil {
		t.Fatal(err)
	}
	if got := hex.EncodeToString(record([]byte("must"))); got != want["record of 'must'"] {
		t.Errorf("a record is %s, want %s", got, want["record of 'must'"])
	}
	dir := t.TempDir()
	e, err := OpenEvents(dir, 0)
	if err != nil {
		t.Fatal(err)
	}
	e.now = func() time.Time { return time.UnixMilli(1700000000250) }
	before := size(t, dir, 0)
	if err := e.Scalars(7, map[string]float64{"rate": .001, "loss/total": .75}); err != nil {
		t.Fatal(err)
	}
	if got := hex.EncodeToString(content(t, dir, 0)[before:]); got != want["scalars"] {
		t.Errorf("scalars are %s, want %s", got, want["scalars"])
	}
	if err := e.Image(7, "p", image.NewRGBA(image.Rect(0, 0, 3, 2))); err != nil || e.Close() != nil {
		t.Fatal(err)
	}

	// A resumed run takes back what was said after its step, and files that began later go.
	for _, step := range []int{9, 7} {
		if e, err = OpenEvents(dir, step); err != nil {
			t.Fatal(err)
		}
		e.Close()
	}
	files, _ := filepath.Glob(filepath.Join(dir, "*"))
	if len(files) != 2 {
		t.Errorf("files %v", files)
	}
	got, start := hex.EncodeToString(content(t, dir, 7)), want["start"]
	time0 := start[24+2 : 24+2+16] // behind the length and its checksum, and the field's tag
	if i := strings.LastIndex(got, "09"); i < 0 {
		t.Errorf("no event in %s", got)
	}
	if tail := got[len(got)-len(start):]; tail[:24] != start[:24] || strings.Replace(tail, tail[26:42], time0, 1)[:len(start)-8] != start[:len(start)-8] {
		t.Errorf("the start is %s, want %s", tail, start)
	}
}

func content(t *testing.T, dir string, step int) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(dir, fmt.Sprintf("events.out.tfevents.%010d.must", step)))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func size(t *testing.T, dir string, step int) int { return len(content(t, dir, step)) }

// server is as much of an MLflow server as a run needs.
type server struct {
	mu      sync.Mutex
	t       *testing.T
	refuse  int // requests to answer by 503
	metrics map[string]map[int]float64
	params  map[string]string
	status  []string
	runs    int
}

func (s *server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if r.Header.Get("Authorization") != "Bearer secret" {
		http.Error(w, "who are you", http.StatusUnauthorized)
		return
	}
	b, _ := io.ReadAll(r.Body)
	var q struct {
		Name    string
		RunID   string `json:"run_id"`
		Status  string
		RunName string `json:"run_name"`
		Metrics []metric
		Params  []struct{ Key, Value string }
	}
	if len(b) > 0 {
		if err := json.Unmarshal(b, &q); err != nil {
			s.t.Errorf("%s: %s: %v", r.URL, b, err)
		}
	}
	path := strings.TrimPrefix(r.URL.Path, "/api/2.0/mlflow/")
	switch {
	case path == "experiments/get-by-name" && r.URL.Query().Get("experiment_name") == "mine":
		http.Error(w, `{"error_code": "RESOURCE_DOES_NOT_EXIST"}`, http.StatusNotFound)
	case path == "experiments/create" && q.Name == "mine":
		fmt.Fprint(w, `{"experiment_id": "12"}`)
	case path == "runs/create" && strings.Contains(string(b), `"experiment_id":"12"`):
		s.runs++
		fmt.Fprintf(w, `{"run": {"info": {"run_id": "run%d"}}}`, s.runs)
	case path == "runs/update" && q.RunID == "run1":
		s.status = append(s.status, q.Status)
		fmt.Fprint(w, `{}`)
	case path == "runs/log-batch" && q.RunID == "run1":
		if s.refuse > 0 && q.Metrics != nil {
			s.refuse--
			http.Error(w, "not now", http.StatusServiceUnavailable)
			return
		}
		if len(q.Metrics) > mostMetrics || len(q.Params) > mostParams {
			s.t.Errorf("%d metrics and %d parameters in one call", len(q.Metrics), len(q.Params))
		}
		for _, m := range q.Metrics {
			if s.metrics[m.Key] == nil {
				s.metrics[m.Key] = map[int]float64{}
			}
			s.metrics[m.Key][m.Step] = m.Value
		}
		for _, p := range q.Params {
			s.params[p.Key] = p.Value
		}
		fmt.Fprint(w, `{}`)
	default:
		http.Error(w, path, http.StatusNotFound)
	}
}

func TestMLflow(t *testing.T) {
	s := &server{t: t, refuse: 1, metrics: map[string]map[int]float64{}, params: map[string]string{}}
	h := httptest.NewServer(s)
	defer h.Close()
	t.Setenv(uriVariable, h.URL+"/")
	t.Setenv(tokenVariable, "secret")
	t.Setenv(experimentVariable, "mine")
	var log []string
	run := Run{Name: "student", Params: map[string]string{"lr": "0.1", "long": strings.Repeat("é", 400)}, Log: func(f string, a ...any) { log = append(log, fmt.Sprintf(f, a...)) }}
	m := OpenMLflow(t.Context(), run)
	if m == nil {
		t.Fatalf("no run: %v", log)
	}
	const steps = 900
	for step := range steps {
		m.Scalars(step, map[string]float64{"loss/total": float64(step), "rate": .5, "score/äh": math.NaN()})
	}
	m.Close(Stopped)
	run.ID = m.ID
	if again := OpenMLflow(t.Context(), run); again == nil || again.ID != m.ID {
		t.Fatalf("the run does not go on: %v", log)
	} else {
		again.Scalars(steps, map[string]float64{"loss/total": 1})
		again.Close(Finished)
	}
	if len(s.metrics["loss/total"]) != steps+1 || len(s.metrics["rate"]) != steps || s.metrics["loss/total"][7] != 7 {
		t.Errorf("%d losses and %d rates arrived of %d", len(s.metrics["loss/total"]), len(s.metrics["rate"]), steps)
	}
	if s.params["lr"] != "0.1" || len(s.params["long"]) > mostText || s.runs != 1 {
		t.Errorf("parameters %v of %d runs", s.params, s.runs)
	}
	if got := strings.Join(s.status, " "); got != "KILLED RUNNING FINISHED" {
		t.Errorf("the run was %s", got)
	}
	if len(log) != 0 {
		t.Errorf("it said %q", log)
	}
}

// A server that is not there, or is something else, is told, and nothing more.
func TestMLflowThatIsNot(t *testing.T) {
	for uri, want := range map[string]string{"http://127.0.0.1:1": "refused", "mlruns": "address of a server", "file:///tmp/x": "address of a server"} {
		t.Setenv(uriVariable, uri)
		var log []string
		if m := OpenMLflow(t.Context(), Run{Log: func(f string, a ...any) { log = append(log, fmt.Sprintf(f, a...)) }}); m != nil || len(log) != 1 || !strings.Contains(log[0], want) {
			t.Errorf("%s: %v", uri, log)
		}
	}
	t.Setenv(uriVariable, "")
	if OpenMLflow(t.Context(), Run{}) != nil {
		t.Error("without an address there is a run")
	}
}
