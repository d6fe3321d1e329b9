package serve

import (
	"net/http"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// metrics are what /metrics tells; docs/serve.md lists them.
type metrics struct {
	registry *prometheus.Registry
	requests *prometheus.CounterVec   // by route and status
	seconds  *prometheus.HistogramVec // by route: from the first byte to the last
	batch    *prometheus.HistogramVec // by model: images at once
	model    *prometheus.HistogramVec // by model: seconds of a batch
	images   *prometheus.CounterVec   // by model
	reloads  *prometheus.CounterVec   // by model and outcome
}

func newMetrics(underWay func() float64) *metrics {
	buckets := []float64{.005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30}
	m := &metrics{
		registry: prometheus.NewRegistry(),
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "must_requests_total", Help: "Requests answered."}, []string{"route", "status"}),
		seconds:  prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: "must_request_seconds", Help: "Time to answer a request.", Buckets: buckets}, []string{"route"}),
		batch:    prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: "must_batch_images", Help: "Images that a model saw at once.", Buckets: []float64{1, 2, 4, 8, 16, 32, 64}}, []string{"model"}),
		model:    prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: "must_batch_seconds", Help: "Time that a model took for a batch.", Buckets: buckets}, []string{"model"}),
		images:   prometheus.NewCounterVec(prometheus.CounterOpts{Name: "must_images_total", Help: "Images that a model saw."}, []string{"model"}),
		reloads:  prometheus.NewCounterVec(prometheus.CounterOpts{Name: "must_model_reloads_total", Help: "New model files taken over, or refused."}, []string{"model", "outcome"}),
	}
	m.registry.MustRegister(m.requests, m.seconds, m.batch, m.model, m.images, m.reloads,
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "must_requests_under_way", Help: "Requests that wait or are worked at."}, underWay),
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return m
}

func (m *metrics) handler() http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{})
}

// measured counts and times the requests of a route.
func (m *metrics) measured(route string, h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		began := time.Now()
		c := &counted{ResponseWriter: w, status: http.StatusOK}
		defer func() {
			m.requests.WithLabelValues(route, strconv.Itoa(c.status)).Inc()
			m.seconds.WithLabelValues(route).Observe(time.Since(began).Seconds())
		}()
		h.ServeHTTP(c, r)
	})
}

// counted remembers the status of an answer.
type counted struct {
	http.ResponseWriter
	status int
}

func (c *counted) WriteHeader(status int) {
	c.status = status
	c.ResponseWriter.WriteHeader(status)
}

func (c *counted) Unwrap() http.ResponseWriter { return c.ResponseWriter }
