package serve

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"
)

// A Model is a file to serve and the name it is called by.
type Model struct{ Name, Path string }

// ParseModel reads an argument: a file, or NAME=FILE. Without a name it is that of the file, or where
// that is model.safetensors, as every run writes it, that of the run's folder.
func ParseModel(arg string) (Model, error) {
	name, path, named := strings.Cut(arg, "=")
	if !named {
		path = arg
		name = filepath.Base(path)
		for _, suffix := range []string{".teacher.yaml", ".safetensors"} {
			name = strings.TrimSuffix(name, suffix)
		}
		if name == "model" {
			dir, err := filepath.Abs(filepath.Dir(path))
			if err != nil {
				return Model{}, err
			}
			if name = filepath.Base(dir); name == "train" { // must train's folder in its run's
				name = filepath.Base(filepath.Dir(dir))
			}
		}
	}
	if name == "" || strings.Trim(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-") != "" {
		return Model{}, fmt.Errorf("model %q: a name has letters, digits, dots, dashes and underscores only; give one as NAME=%s", name, path)
	}
	return Model{name, path}, nil
}

// A model is served under a name; its file may be replaced while it is.
type model struct {
	Model
	mu   sync.RWMutex
	now  *generation
	file stamp
}

// acquire returns the generation that answers a request from now on; release it when it is answered.
func (m *model) acquire() (g *generation, release func()) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	m.now.users.Add(1)
	return m.now, m.now.users.Done
}

// A stamp tells one file of a name from the next.
type stamp struct {
	size  int64
	mtime time.Time
}

func stampOf(path string) stamp {
	info, err := os.Stat(path)
	if err != nil {
		return stamp{}
	}
	return stamp{info.Size(), info.ModTime()}
}

// refresh takes a new file over, if there is one: it is opened while the old one goes on answering, and
// the old one ends with its last request. A file that cannot be opened changes nothing.
func (s *Server) refresh(m *model) {
	file := stampOf(m.Path)
	if file == m.file || file == (stamp{}) {
		return
	}
	if time.Since(file.mtime) < s.o.Settle { // somebody may still be writing it
		return
	}
	m.file = file
	n, err := s.open(m.Path)
	if err != nil {
		s.metrics.reloads.WithLabelValues(m.Name, "failed").Inc()
		s.o.Log("%s: the new %s cannot be served, the old one goes on: %v", m.Name, m.Path, err)
		return
	}
	m.mu.RLock()
	same := m.now.Hash == n.Hash
	m.mu.RUnlock()
	if same {
		n.free()
		return
	}
	g := s.generation(m.Name, n)
	m.mu.Lock()
	old := m.now
	m.now = g
	m.mu.Unlock()
	s.metrics.reloads.WithLabelValues(m.Name, "ok").Inc()
	s.o.Log("%s: took over %s (%.12s…)", m.Name, m.Path, n.Hash)
	go old.retire()
}

func (s *Server) generation(name string, n *network) *generation {
	return newGeneration(n, s.o, func(images int, took time.Duration) {
		s.metrics.batch.WithLabelValues(name).Observe(float64(images))
		s.metrics.images.WithLabelValues(name).Add(float64(images))
		s.metrics.model.WithLabelValues(name).Observe(took.Seconds())
	})
}
