// Command serveload shows what `must serve` does under load, beside `must predict` on the same pictures:
//
//	go build -o bin/must ./cmd/must && go run ./scripts/serveload -must bin/must -model student.safetensors -photos photos -dir /tmp/load
//
// It predicts the pictures into files, serves the model, and sends -n requests by -clients clients, of which
// every -bad'th has a body that is cut short. Every answer must be what predict wrote, every bad one refused
// with 400, and none lost. Then it sends as many good ones, and predicts again. It prints images per second
// of wall time and of CPU time of either, their ratio, and the server's memory after each tenth of the requests.
// Its exit status is 1 where an answer is wrong or missing.
package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"math"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

func main() {
	var l load
	flag.StringVar(&l.must, "must", "bin/must", "the program")
	flag.StringVar(&l.model, "model", "", "a checkpoint")
	flag.StringVar(&l.photos, "photos", "", "a folder of pictures, without folders in it")
	flag.StringVar(&l.dir, "dir", "", "an empty folder to work in")
	flag.StringVar(&l.engine, "engine", "torch", "of both")
	flag.IntVar(&l.n, "n", 2000, "requests")
	flag.IntVar(&l.clients, "clients", 32, "that send them")
	flag.IntVar(&l.bad, "bad", 10, "every so manyth request is bad")
	flag.Parse()
	if err := l.run(); err != nil {
		fmt.Fprintln(os.Stderr, "serveload:", err)
		os.Exit(1)
	}
}

type load struct {
	must, model, photos, dir, engine string
	n, clients, bad                  int

	files  []string
	bodies [][]byte
	want   []any
	url    string
	pid    int
}

func (l *load) run() error {
	if err := l.read(); err != nil {
		return err
	}
	first, err := l.predict("first")
	if err != nil {
		return err
	}
	if err := l.expect("first"); err != nil {
		return err
	}
	stop, err := l.serve()
	if err != nil {
		return err
	}
	defer stop()
	fmt.Printf("%d requests by %d clients, every %dth bad:\n", l.n, l.clients, l.bad)
	if _, err := l.send(l.bad); err != nil {
		return err
	}
	fmt.Printf("%d good ones:\n", l.n)
	served, err := l.send(0)
	if err != nil {
		return err
	}
	stop()
	second, err := l.predict("second")
	if err != nil {
		return err
	}
	best := speed{max(first.wall, second.wall), max(first.cpu, second.cpu)}
	fmt.Printf("predict  %.2f images a second of wall time, %.2f of CPU time\n", best.wall, best.cpu)
	fmt.Printf("serve    %.2f, %.2f\n", served.wall, served.cpu)
	fmt.Printf("ratio    %.2f, %.2f\n", served.wall/best.wall, served.cpu/best.cpu)
	return nil
}

// A speed is in images per second of wall and of CPU time.
type speed struct{ wall, cpu float64 }

func (l *load) read() (err error) {
	l.files, err = filepath.Glob(filepath.Join(l.photos, "*.*"))
	if err != nil || len(l.files) == 0 {
		return errors.Join(fmt.Errorf("no pictures in %q", l.photos), err)
	}
	for _, f := range l.files {
		b, err := os.ReadFile(f)
		if err != nil {
			return err
		}
		l.bodies = append(l.bodies, b)
	}
	return nil
}

func (l *load) predict(name string) (speed, error) {
	c := exec.Command(l.must, "-q", "predict", l.model, l.photos, "--engine", l.engine, "--out", filepath.Join(l.dir, name))
	c.Stderr = os.Stderr
	began := time.Now()
	err := c.Run()
	n := float64(len(l.files))
	return speed{n / time.Since(began).Seconds(), n / (c.ProcessState.UserTime() + c.ProcessState.SystemTime()).Seconds()}, err
}

func (l *load) expect(name string) error {
	for _, f := range l.files {
		b, err := os.ReadFile(filepath.Join(l.dir, name, strings.TrimSuffix(filepath.Base(f), filepath.Ext(f))+".json"))
		if err != nil {
			return err
		}
		var v any
		if err := json.Unmarshal(b, &v); err != nil {
			return err
		}
		strip(v)
		l.want = append(l.want, v)
	}
	return nil
}

// serve starts the server and waits until it answers.
func (l *load) serve() (stop func(), err error) {
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	address := free.Addr().String()
	free.Close()
	ctx, cancel := context.WithCancel(context.Background())
	c := exec.CommandContext(ctx, l.must, "-q", "serve", "m="+l.model, "--listen", address, "--engine", l.engine)
	c.Stderr = os.Stderr
	c.Cancel = func() error { return c.Process.Signal(syscall.SIGTERM) }
	if err := c.Start(); err != nil {
		cancel()
		return nil, err
	}
	l.pid, l.url = c.Process.Pid, "http://"+address
	stop = sync.OnceFunc(func() { cancel(); c.Wait() })
	for range 1200 {
		time.Sleep(100 * time.Millisecond)
		if r, err := http.Get(l.url + "/v2/health/ready"); err == nil {
			r.Body.Close()
			if r.StatusCode == http.StatusOK {
				return stop, nil
			}
		}
	}
	stop()
	return nil, errors.New("the server does not answer")
}

// send sends the requests, every bad'th of them cut short.
func (l *load) send(bad int) (speed, error) {
	var next, good, refused, wrong atomic.Int64
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: l.clients}}
	began, cpu := time.Now(), l.cpu()
	var wg sync.WaitGroup
	for range l.clients {
		wg.Go(func() {
			for {
				k := int(next.Add(1)) - 1
				if k >= l.n {
					return
				}
				if k%max(1, l.n/10) == 0 {
					fmt.Printf("  after %d: %s\n", k, l.memory())
				}
				broken := bad > 0 && k%bad == 1
				ok, said := l.ask(client, k%len(l.files), broken)
				switch {
				case !ok:
					wrong.Add(1)
					fmt.Printf("  request %d: %s\n", k, said)
				case broken:
					refused.Add(1)
				default:
					good.Add(1)
				}
			}
		})
	}
	wg.Wait()
	s := speed{float64(l.n) / time.Since(began).Seconds(), float64(l.n) / (l.cpu() - cpu).Seconds()}
	fmt.Printf("  %d as predict's, %d refused, %d wrong or lost; %s\n", good.Load(), refused.Load(), wrong.Load(), l.memory())
	if wrong.Load() > 0 {
		return s, fmt.Errorf("%d answers are wrong", wrong.Load())
	}
	return s, nil
}

// ask sends a picture and tells whether the answer is what it should be.
func (l *load) ask(client *http.Client, i int, broken bool) (ok bool, said string) {
	body := l.bodies[i]
	if broken {
		body = body[:min(20, len(body))]
	}
	r, err := client.Post(l.url+"/models/m/predict", "", bytes.NewReader(body))
	if err != nil {
		return false, err.Error()
	}
	defer r.Body.Close()
	b, err := io.ReadAll(r.Body)
	if err != nil {
		return false, err.Error()
	}
	said = fmt.Sprintf("%d %.200s", r.StatusCode, b)
	if broken {
		return r.StatusCode == http.StatusBadRequest, said
	}
	var got any
	if r.StatusCode != http.StatusOK || json.Unmarshal(b, &got) != nil {
		return false, said
	}
	strip(got)
	return alike(got, l.want[i], tolerance), said
}

// strip leaves out names of files, and run lengths of masks, of which rounding moves a pixel.
func strip(v any) {
	switch v := v.(type) {
	case map[string]any:
		for _, key := range []string{"image", "file", "counts"} {
			delete(v, key)
		}
		for _, w := range v {
			strip(w)
		}
	case []any:
		for _, w := range v {
			strip(w)
		}
	}
}

// What numbers may differ by, since a batch rounds otherwise than one image: in general, and the shares of
// classes among pixels, of which two classes that tie decide.
const tolerance, shares = 1e-4, 1e-2

// alike compares answers.
func alike(a, b any, tolerance float64) bool {
	switch a := a.(type) {
	case map[string]any:
		b, ok := b.(map[string]any)
		if !ok || len(a) != len(b) {
			return false
		}
		for k, v := range a {
			near := tolerance
			if k == "shares" {
				near = shares
			}
			if w, ok := b[k]; !ok || !alike(v, w, near) {
				return false
			}
		}
		return true
	case []any:
		b, ok := b.([]any)
		if !ok || len(a) != len(b) {
			return false
		}
		for i := range a {
			if !alike(a[i], b[i], tolerance) {
				return false
			}
		}
		return true
	case float64:
		b, ok := b.(float64)
		return ok && math.Abs(a-b) <= tolerance*max(1, math.Abs(a))
	}
	return reflect.DeepEqual(a, b)
}

// cpu is the time that the server has computed.
func (l *load) cpu() time.Duration {
	b, _ := os.ReadFile(fmt.Sprintf("/proc/%d/stat", l.pid))
	fields := bytes.Fields(b[bytes.LastIndexByte(b, ')')+1:])
	var user, system int64
	if len(fields) > 12 {
		fmt.Sscan(string(fields[11]), &user)
		fmt.Sscan(string(fields[12]), &system)
	}
	return time.Duration(user+system) * 10 * time.Millisecond // Linux tells hundredths
}

// memory is what the server holds and the most that it held.
func (l *load) memory() string {
	b, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", l.pid))
	var words []string
	for line := range strings.Lines(string(b)) {
		if strings.HasPrefix(line, "VmRSS") || strings.HasPrefix(line, "VmHWM") {
			words = append(words, strings.Join(strings.Fields(line), " "))
		}
	}
	return strings.Join(words, ", ")
}
