package review

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"

	"must/atomicfile"
	"must/data"
	"must/label/shards"
)

// A stat is what an image is sorted and filtered by. It is computed once from the labels and kept beside
// them, so that a set opens at once the next time.
type stat struct {
	Sure    []float32 `json:"s"` // by task of the set, in their order: how sure the label is; below 0: no label
	Differ  []float32 `json:"d"` // by task: how much it differs from the other set's, 0 to 1; below 0: not known
	Objects int32     `json:"o"` // below 0: no list of objects
	Classes []uint16  `json:"c"` // that it shows, see classTable
}

// noStats is n images of which nothing is known.
func noStats(n, tasks int) []stat {
	out, values := make([]stat, n), make([]float32, 2*n*tasks)
	for i := range values {
		values[i] = -1
	}
	for i := range out {
		own := values[2*i*tasks:][:2*tasks]
		out[i] = stat{Sure: own[:tasks:tasks], Differ: own[tasks:], Objects: -1}
	}
	return out
}

// sure is the least of a label's, of one task or of all; differ the most.
func (s *stat) sure(task int) float32 { return s.pick(s.Sure, task, -1) }

func (s *stat) differ(task int) float32 { return s.pick(s.Differ, task, 1) }

func (s *stat) pick(of []float32, task int, sign float32) float32 {
	if task >= 0 {
		return of[task]
	}
	best := float32(-1)
	for _, v := range of {
		if v >= 0 && (best < 0 || sign*v > sign*best) {
			best = v
		}
	}
	return best
}

// A class of a task has one number among all tasks' classes.
type class struct {
	Task string `json:"task"`
	Name string `json:"name"`
}

func classTable(l data.Labels) (all []class, first map[string]int) {
	first = map[string]int{}
	for _, t := range l.Tasks() {
		first[t] = len(all)
		for _, name := range l[t].Classes {
			all = append(all, class{t, name})
		}
	}
	return all, first
}

// A scanner computes the stats of a set, in the background.
type scanner struct {
	table   *shards.Table
	against *shards.Table // nil: none
	other   map[string]int32
	tasks   []string // of the set
	first   map[string]int

	mu     sync.RWMutex
	stats  []stat
	counts []int32 // images by class
	done   atomic.Int64
	failed error
	ready  chan struct{} // closed at the end
}

func newScanner(table, against *shards.Table) *scanner {
	s := &scanner{table: table, against: against, tasks: table.Tasks(), ready: make(chan struct{})}
	s.stats = noStats(len(table.Keys), len(s.tasks))
	all, first := classTable(table.Labels())
	s.first, s.counts = first, make([]int32, len(all))
	if against != nil && !slices.Equal(against.Keys, table.Keys) {
		s.other = make(map[string]int32, len(against.Keys))
		for i, key := range against.Keys {
			s.other[key] = int32(i)
		}
	}
	return s
}

// run scans all shards. What cannot be read ends it; what was scanned stays.
func (s *scanner) run(stop <-chan struct{}) {
	defer close(s.ready)
	next := make(chan int)
	var wg sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		wg.Go(func() {
			for k := range next {
				if err := s.shard(k); err != nil {
					s.mu.Lock()
					s.failed = err
					s.mu.Unlock()
				}
			}
		})
	}
	defer wg.Wait()
	defer close(next)
	for k := range s.table.Index().Shards {
		select {
		case next <- k:
		case <-stop:
			return
		}
	}
}

// cached is a file of the stats of one shard.
type cached struct {
	Of    string `json:"of"` // what they were computed from
	Stats []stat `json:"stats"`
}

// statsVersion changes when stats are computed in another way.
const statsVersion = 1

// of identifies what the stats of a shard are computed from.
func (s *scanner) of(k int) string {
	h := sha256.New()
	e := s.table.Index().Shards[k]
	fmt.Fprintln(h, statsVersion)
	for _, t := range s.table.Tasks() {
		fmt.Fprintln(h, t, e.Files[t].SHA256)
	}
	if s.against != nil {
		for _, e := range s.against.Index().Shards {
			for _, t := range s.against.Tasks() {
				fmt.Fprintln(h, t, e.Files[t].SHA256)
			}
		}
	}
	return hex.EncodeToString(h.Sum(nil)[:16])
}

func (s *scanner) path(k int) string {
	dir := "stats"
	if s.against != nil {
		dir = "stats-against"
	}
	return filepath.Join(s.table.Dir(), "review", dir, s.table.Index().Shards[k].Name+".json")
}

func (s *scanner) shard(k int) error {
	e := s.table.Index().Shards[k]
	of := s.of(k)
	var c cached
	b, err := os.ReadFile(s.path(k))
	if err != nil || json.Unmarshal(b, &c) != nil || c.Of != of || len(c.Stats) != e.To-e.From {
		if c.Stats, err = s.compute(k); err != nil {
			return err
		}
		c.Of = of
		if os.MkdirAll(filepath.Dir(s.path(k)), 0o777) == nil {
			if b, err := json.Marshal(c); err == nil {
				atomicfile.WriteFile(s.path(k), b) // a folder that cannot be written is computed anew each time
			}
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	copy(s.stats[e.From:], c.Stats)
	for _, st := range c.Stats {
		for _, class := range st.Classes {
			if int(class) < len(s.counts) {
				s.counts[class]++
			}
		}
	}
	s.done.Add(int64(len(c.Stats)))
	return nil
}

func (s *scanner) compute(k int) ([]stat, error) {
	e := s.table.Index().Shards[k]
	stats := noStats(e.To-e.From, len(s.tasks))
	tasks := scored
	if s.against != nil {
		tasks = s.tasks
	}
	err := s.table.Scan(k, tasks, func(i int, task string, member []byte) error {
		st := &stats[i-e.From]
		own := &data.Sample{}
		if err := s.table.Decode(i, task, member, own); err != nil {
			return err
		}
		s.describe(st, own, task)
		if s.against == nil {
			return nil
		}
		j := i
		if s.other != nil {
			at, ok := s.other[s.table.Keys[i]]
			if !ok {
				return nil
			}
			j = int(at)
		}
		member, err := s.against.Member(j, task)
		if err != nil || member == nil {
			return err
		}
		theirs := &data.Sample{}
		if err := s.against.Decode(j, task, member, theirs); err != nil {
			return err
		}
		st.Differ[slices.Index(s.tasks, task)] = differ(own, theirs, task, s.table.Labels()[task].Units)
		return nil
	})
	return stats, err
}
