package web

import (
	"net/http"
	"net/http/httptest"
	"testing"
)

// Calls by a name that anyone can point here, or from somebody else's page, are refused.
func TestGuard(t *testing.T) {
	ok := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusOK) })
	for _, c := range []struct {
		host, origin, site, method string
		names                      []string
		want                       int
	}{
		{"127.0.0.1:8000", "", "", "POST", nil, 200},
		{"localhost:8000", "http://localhost:8000", "same-origin", "POST", nil, 200},
		{"[::1]:8000", "", "", "GET", nil, 200},
		{"192.168.1.4:8000", "", "", "GET", nil, 200},
		{"must.localhost", "", "", "GET", nil, 200},
		{"evil.example", "", "", "GET", nil, 403},
		{"127.0.0.1.evil.example:8000", "", "", "GET", nil, 403},
		{"models.example:8000", "", "", "POST", []string{"models.example"}, 200},
		{"anything", "", "", "POST", []string{"*"}, 200},
		{"127.0.0.1:8000", "http://evil.example", "", "POST", nil, 403},
		{"127.0.0.1:8000", "http://evil.example", "cross-site", "POST", nil, 403},
		{"127.0.0.1:8000", "http://127.0.0.1:9", "same-site", "POST", nil, 403},
	} {
		r := httptest.NewRequest(c.method, "/", nil)
		r.Host = c.host
		if c.origin != "" {
			r.Header.Set("Origin", c.origin)
		}
		if c.site != "" {
			r.Header.Set("Sec-Fetch-Site", c.site)
		}
		w := httptest.NewRecorder()
		if Guard(ok, c.names).ServeHTTP(w, r); w.Code != c.want {
			t.Errorf("%+v: %d", c, w.Code)
		}
	}
}

func TestAddress(t *testing.T) {
	for in, want := range map[string]string{"8000": "127.0.0.1:8000", ":8000": "127.0.0.1:8000", "0.0.0.0:80": "0.0.0.0:80", "[::]:80": "[::]:80"} {
		if got := Address(in); got != want {
			t.Errorf("%s is %s, want %s", in, got, want)
		}
	}
}
