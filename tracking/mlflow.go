package tracking

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"math"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
	"sync"
	"time"
)

// Variables that MLflow's own clients read too.
const (
	uriVariable        = "MLFLOW_TRACKING_URI"
	experimentVariable = "MLFLOW_EXPERIMENT_NAME"
	usernameVariable   = "MLFLOW_TRACKING_USERNAME"
	passwordVariable   = "MLFLOW_TRACKING_PASSWORD"
	tokenVariable      = "MLFLOW_TRACKING_TOKEN"
)

// What MLflow takes in one call of runs/log-batch.
const (
	mostMetrics = 1000
	mostParams  = 100
	mostText    = 500 // bytes of a parameter
)

// A Run says what MLflow is told of a run at its beginning.
type Run struct {
	Name   string
	ID     string            // of a run that goes on; "": a new one
	Params map[string]string // settings
	Log    func(format string, a ...any)
}

// MLflow is a run on a server. What goes wrong there never stops a training: it is tried again, and what is
// lost is told at the end.
type MLflow struct {
	ID string // of the run

	api, authorization string
	client             *http.Client
	log                func(format string, a ...any)

	mu      sync.Mutex
	waiting []metric
	lost    int
	wake    chan struct{}
	ended   chan struct{}
	end     context.CancelFunc
}

type metric struct {
	Key       string  `json:"key"`
	Value     float64 `json:"value"`
	Timestamp int64   `json:"timestamp"` // milliseconds
	Step      int     `json:"step"`
}

// mostWaiting bounds the values that wait for a server that does not answer.
const mostWaiting = 200_000

// OpenMLflow begins a run, or goes on with one, on the server that MLFLOW_TRACKING_URI names; without one it
// is nil. Where the server cannot be reached, that is logged and nothing is tracked there.
func OpenMLflow(ctx context.Context, r Run) *MLflow {
	uri := os.Getenv(uriVariable)
	if uri == "" {
		return nil
	}
	m, err := openMLflow(ctx, uri, r)
	if err != nil {
		r.Log("%s: not tracked in MLflow: %v", r.Name, err)
		return nil
	}
	return m
}

func openMLflow(ctx context.Context, uri string, r Run) (*MLflow, error) {
	u, err := url.Parse(uri)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" {
		return nil, fmt.Errorf("%s is %q; it must be the address of a server, such as http://127.0.0.1:5000 (MLflow no longer writes folders; start one by `mlflow server`)", uriVariable, uri)
	}
	m := &MLflow{api: strings.TrimSuffix(u.String(), "/") + "/api/2.0/mlflow/", client: &http.Client{Timeout: 20 * time.Second},
		log: r.Log, wake: make(chan struct{}, 1), ended: make(chan struct{})}
	switch token, user := os.Getenv(tokenVariable), os.Getenv(usernameVariable); {
	case token != "":
		m.authorization = "Bearer " + token
	case user != "":
		q, _ := http.NewRequest(http.MethodGet, "/", nil)
		q.SetBasicAuth(user, os.Getenv(passwordVariable))
		m.authorization = q.Header.Get("Authorization")
	}
	if err := m.begin(ctx, r); err != nil {
		return nil, err
	}
	sending, end := context.WithCancel(context.Background()) // a stopped training still tells its last values
	m.end = end
	go m.send(sending)
	return m, nil
}

// begin makes the run, or wakes the one that goes on, and tells its settings.
func (m *MLflow) begin(ctx context.Context, r Run) error {
	now := time.Now().UnixMilli()
	if m.ID = r.ID; m.ID != "" {
		err := m.call(ctx, "runs/update", map[string]any{"run_id": m.ID, "status": "RUNNING"}, nil)
		if err == nil {
			return nil
		}
		r.Log("%s: MLflow does not know its run %s any more, a new one begins: %v", r.Name, r.ID, err)
	}
	experiment, err := m.experiment(ctx, cmp.Or(os.Getenv(experimentVariable), "Default"))
	if err != nil {
		return err
	}
	var made struct {
		Run struct {
			Info struct {
				ID string `json:"run_id"`
			}
		}
	}
	err = m.call(ctx, "runs/create", map[string]any{
		"experiment_id": experiment, "run_name": r.Name, "start_time": now,
		"tags": []map[string]string{{"key": "mlflow.source.name", "value": "must"}, {"key": "mlflow.source.type", "value": "LOCAL"}},
	}, &made)
	if err != nil {
		return err
	}
	if m.ID = made.Run.Info.ID; m.ID == "" {
		return fmt.Errorf("%s made a run without an id; is it an MLflow server?", m.api)
	}
	params := make([]map[string]string, 0, len(r.Params))
	for _, k := range slices.Sorted(maps.Keys(r.Params)) {
		params = append(params, map[string]string{"key": plainName(k), "value": clip(r.Params[k])})
	}
	for part := range slices.Chunk(params, mostParams) {
		if err := m.call(ctx, "runs/log-batch", map[string]any{"run_id": m.ID, "params": part}, nil); err != nil {
			return err
		}
	}
	return nil
}

// experiment finds an experiment by name, or makes it.
func (m *MLflow) experiment(ctx context.Context, name string) (string, error) {
	var got struct {
		Experiment struct {
			ID string `json:"experiment_id"`
		}
	}
	err := m.call(ctx, "experiments/get-by-name?experiment_name="+url.QueryEscape(name), nil, &got)
	if err == nil && got.Experiment.ID != "" {
		return got.Experiment.ID, nil
	}
	var made struct {
		ID string `json:"experiment_id"`
	}
	if wrong := m.call(ctx, "experiments/create", map[string]any{"name": name}, &made); wrong != nil {
		return "", cmp.Or(err, wrong)
	}
	return made.ID, nil
}

// call posts to the server, or gets where there is nothing to post.
func (m *MLflow) call(ctx context.Context, path string, body, answer any) error {
	method, content := http.MethodGet, []byte(nil)
	if body != nil {
		method = http.MethodPost
		var err error
		if content, err = json.Marshal(body); err != nil {
			return err
		}
	}
	q, err := http.NewRequestWithContext(ctx, method, m.api+path, bytes.NewReader(content))
	if err != nil {
		return err
	}
	q.Header.Set("Content-Type", "application/json")
	if m.authorization != "" {
		q.Header.Set("Authorization", m.authorization)
	}
	r, err := m.client.Do(q)
	if err != nil {
		return err
	}
	defer r.Body.Close()
	b, err := io.ReadAll(io.LimitReader(r.Body, 1<<20))
	if err != nil {
		return err
	}
	if r.StatusCode != http.StatusOK {
		return &refusal{r.StatusCode, fmt.Sprintf("%s answers %s: %.200s", m.api+path, r.Status, bytes.TrimSpace(b))}
	}
	if answer == nil {
		return nil
	}
	if err := json.Unmarshal(b, answer); err != nil {
		return fmt.Errorf("%s: %w; is it an MLflow server?", m.api+path, err)
	}
	return nil
}

// A refusal is an answer that says no.
type refusal struct {
	status int
	text   string
}

func (r *refusal) Error() string { return r.text }

// Scalars takes values for the server. It does not wait for it.
func (m *MLflow) Scalars(step int, values map[string]float64) error {
	now := time.Now().UnixMilli()
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, k := range slices.Sorted(maps.Keys(values)) {
		if v := values[k]; !math.IsNaN(v) && !math.IsInf(v, 0) { // JSON has no others
			m.waiting = append(m.waiting, metric{plainName(k), v, now, step})
		}
	}
	if over := len(m.waiting) - mostWaiting; over > 0 {
		m.waiting = slices.Delete(m.waiting, 0, over)
		m.lost += over
	}
	if len(m.waiting) >= mostMetrics/2 {
		select {
		case m.wake <- struct{}{}:
		default:
		}
	}
	return nil
}

// send tells the server what waits: soon, in batches, and again where it did not answer.
func (m *MLflow) send(ctx context.Context) {
	defer close(m.ended)
	pause := time.Second
	for {
		select {
		case <-ctx.Done():
			return
		case <-m.wake:
		case <-time.After(pause):
		}
		if err := m.flush(ctx); err == nil {
			pause = time.Second
		} else if pause < time.Minute {
			pause *= 2
		}
	}
}

// flush sends what waits. What the server refuses as wrong is not sent again.
func (m *MLflow) flush(ctx context.Context) error {
	for {
		m.mu.Lock()
		part := slices.Clone(m.waiting[:min(mostMetrics, len(m.waiting))])
		m.waiting = m.waiting[len(part):]
		m.mu.Unlock()
		if len(part) == 0 {
			return nil
		}
		err := m.call(ctx, "runs/log-batch", map[string]any{"run_id": m.ID, "metrics": part}, nil)
		if err == nil {
			continue
		}
		m.mu.Lock()
		if r, ok := err.(*refusal); ok && r.status < 500 && r.status != http.StatusTooManyRequests {
			m.lost += len(part)
			m.log("MLflow refuses %d values: %v", len(part), err)
		} else {
			m.waiting = append(part, m.waiting...)
		}
		m.mu.Unlock()
		return err
	}
}

// Outcomes of a run, as MLflow calls them.
const (
	Finished = "FINISHED"
	Failed   = "FAILED"
	Stopped  = "KILLED"
)

// Close tells the last values and the outcome, for which it waits half a minute at most.
func (m *MLflow) Close(outcome string) {
	m.end()
	<-m.ended
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	err := m.flush(ctx)
	for err != nil && len(m.waiting) > 0 && ctx.Err() == nil {
		time.Sleep(300 * time.Millisecond)
		err = m.flush(ctx)
	}
	if ctx.Err() == nil {
		err = m.call(ctx, "runs/update", map[string]any{"run_id": m.ID, "status": outcome, "end_time": time.Now().UnixMilli()}, nil)
	}
	m.lost += len(m.waiting)
	if m.lost > 0 || err != nil {
		m.log("MLflow: %d values were not told, the log has them all: %v", m.lost, err)
	}
}

// plainName keeps what MLflow allows in names.
func plainName(s string) string {
	return strings.Map(func(r rune) rune {
		if r < 128 && (r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("_-./ ", r)) {
			return r
		}
		return '_'
	}, s)
}

func clip(s string) string {
	if len(s) > mostText {
		return strings.ToValidUTF8(s[:mostText-len("…")], "") + "…"
	}
	return s
}
