// Package web is what the program's pages and services share: where they listen, who may call them, how
// they end, and the colours they are drawn in.
package web

import (
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"log"
	"net"
	"net/http"
	"os"
	"strings"
	"time"
)

// Theme is the style sheet of the colours that every page uses, light and dark.
//
//go:embed theme.css
var Theme string

// Options say where a service listens and how long it bears with its callers.
type Options struct {
	Listen  string        // host:port, or a port alone; without a host it is this machine only
	Names   []string      // host names by which it may be called besides this machine's own; * is any
	Timeout time.Duration // that a request may take to arrive; 0: a minute
	Grace   time.Duration // that what is under way may take once it is to end; 0: half a minute
	Log     func(format string, a ...any)
}

// Address returns the address that a --listen flag means.
func Address(listen string) string {
	if !strings.Contains(listen, ":") {
		listen = ":" + listen
	}
	if strings.HasPrefix(listen, ":") {
		listen = "127.0.0.1" + listen
	}
	return listen
}

// Listen opens the port, so that whoever is told the address can call at once.
func Listen(listen string) (net.Listener, error) {
	address := Address(listen)
	l, err := net.Listen("tcp", address)
	if err != nil {
		return nil, fmt.Errorf("listen on %s: %w; name another port by --listen", address, err)
	}
	return l, nil
}

// URL returns the address of a listener as one types it into a browser.
func URL(l net.Listener) string {
	a := l.Addr().(*net.TCPAddr)
	host := a.IP.String()
	if a.IP.IsUnspecified() || a.IP.IsLoopback() && a.IP.To4() != nil {
		host = "127.0.0.1"
	}
	return "http://" + net.JoinHostPort(host, fmt.Sprint(a.Port))
}

// Serve answers until the context ends: then no new calls are taken and those under way are finished,
// for as long as Grace allows.
func Serve(ctx context.Context, l net.Listener, h http.Handler, o Options) error {
	if o.Timeout == 0 {
		o.Timeout = time.Minute
	}
	if o.Grace == 0 {
		o.Grace = 30 * time.Second
	}
	if o.Log == nil {
		o.Log = log.Printf
	}
	s := &http.Server{
		Handler:           Guard(h, o.Names),
		ReadHeaderTimeout: 10 * time.Second,
		ReadTimeout:       o.Timeout,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    64 << 10,
		ErrorLog:          log.New(lines(o.Log), "", 0),
	}
	failed := make(chan error, 1)
	go func() { failed <- s.Serve(l) }()
	select {
	case err := <-failed:
		return err
	case <-ctx.Done():
	}
	grace, cancel := context.WithTimeout(context.Background(), o.Grace)
	defer cancel()
	if err := s.Shutdown(grace); err != nil {
		s.Close()
		return fmt.Errorf("calls that took longer than %v were cut off: %w", o.Grace, err)
	}
	return nil
}

// lines makes a writer of a log function.
type lines func(format string, a ...any)

func (f lines) Write(b []byte) (int, error) {
	f("%s", strings.TrimRight(string(b), "\n"))
	return len(b), nil
}

// Guard lets through what a program or a page of ours sends, and not what a page of somebody else's makes
// a browser send: neither by a name that leads here (DNS rebinding: the Host header must be a numeric
// address, this machine's name, or one of names) nor from another origin.
func Guard(h http.Handler, names []string) http.Handler {
	own, _ := os.Hostname()
	protected := http.NewCrossOriginProtection().Handler(h)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		for k, v := range map[string]string{
			"X-Content-Type-Options":       "nosniff",
			"X-Frame-Options":              "DENY",
			"Referrer-Policy":              "no-referrer",
			"Cross-Origin-Resource-Policy": "same-origin",
			"Content-Security-Policy":      "default-src 'self'; img-src 'self' data: blob:; style-src 'self' 'unsafe-inline'; frame-ancestors 'none'; base-uri 'none'",
		} {
			w.Header().Set(k, v)
		}
		if !known(r.Host, own, names) {
			Error(w, http.StatusForbidden, "this service is not called %q; call it by its numeric address, or allow the name by --name", r.Host)
			return
		}
		protected.ServeHTTP(w, r)
	})
}

// known reports whether a Host header names this machine in a way that nobody else can make it do.
func known(host, own string, names []string) bool {
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	host = strings.ToLower(strings.TrimSuffix(strings.Trim(host, "[]"), "."))
	if net.ParseIP(host) != nil || host == "localhost" || strings.HasSuffix(host, ".localhost") || own != "" && host == strings.ToLower(own) {
		return true
	}
	for _, n := range names {
		if n == "*" || strings.EqualFold(n, host) {
			return true
		}
	}
	return false
}

// JSON answers with a value.
func JSON(w http.ResponseWriter, status int, v any) {
	b, err := json.Marshal(v)
	if err != nil {
		Error(w, http.StatusInternalServerError, "%v", err)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	w.Write(append(b, '\n'))
}

// Error answers with {"error": text}.
func Error(w http.ResponseWriter, status int, format string, a ...any) {
	JSON(w, status, map[string]string{"error": fmt.Sprintf(format, a...)})
}

// TooLarge reports whether reading a body failed at its limit, and the limit.
func TooLarge(err error) (limit int64, ok bool) {
	e, ok := errors.AsType[*http.MaxBytesError](err)
	if !ok {
		return 0, false
	}
	return e.Limit, true
}
