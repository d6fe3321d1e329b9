package report

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"os"
	"slices"
	"strings"

	"must/atomicfile"
	"must/data"
	_ "must/task/registry" // tasks in their order, with their colours
)

// Results is the outcome of a whole recipe: how the student compares with each teacher on the
// teacher's own task, and how well each start transfers to the downstream sets. As JSON it is
// results.json, described in docs/formats-results.md; tasks and sets keep their order there.
type Results struct {
	Teachers  []Teacher
	Transfer  []Transfer
	Seconds   float64 // wall clock of the run
	PeakRSSMB float64 // of the process, in MB of 10⁶ bytes
	Version   string  // of this program
	Libtorch  string  // version of the engine

	Networks   []Network    // that were trained and scored
	Unreadable []Unreadable // parts of data sets with images that could not be read
}

// A Network was trained by a stage; its scores are on a part of the stage's first data set.
type Network struct {
	Stage    string                        `json:"stage"`
	Images   int                           `json:"images"`           // that it learned from
	Labelled map[string]int                `json:"labelled"`         // of them, by task
	Part     string                        `json:"part,omitempty"`   // val or test; "": it was not scored
	Scores   map[string]map[string]float64 `json:"scores,omitempty"` // by task and name

	Classes []Classes `json:"classes,omitempty"` // the scores class by class, of tasks that have some
}

// String lists the scores.
func (n Network) String() string {
	if n.Part == "" {
		return fmt.Sprintf("learned from %d images, not scored", n.Images)
	}
	var values []string
	for _, task := range slices.Sorted(maps.Keys(n.Scores)) {
		for _, name := range slices.Sorted(maps.Keys(n.Scores[task])) {
			values = append(values, fmt.Sprintf("%s %s %.3f", task, name, n.Scores[task][name]))
		}
	}
	return fmt.Sprintf("%s on the %s part", strings.Join(values, ", "), n.Part)
}

// Unreadable tells of a part of a data set whose images could not all be read.
type Unreadable struct {
	Set    string `json:"set"`
	Part   string `json:"part"`
	Broken int    `json:"broken"`
	Images int    `json:"images"`
}

func (u Unreadable) String() string {
	return fmt.Sprintf("%d of %d images of %s (%s part)", u.Broken, u.Images, u.Set, u.Part)
}

// Teacher holds the scores of a specialist and of the student on the specialist's test set.
type Teacher struct {
	Task           string
	Metric         string
	HigherIsBetter bool
	Teacher        float64 // NaN: unknown
	Student        float64 // NaN: unknown
}

// Transfer holds the test scores on one downstream set.
type Transfer struct {
	Set            string
	Metric         string
	HigherIsBetter bool

	// Scores holds one value per seed for every start: "scratch", the task of a teacher, "must",
	// or a baseline such as "simclr". NaN is a run that diverged; a start without values was not run.
	Scores map[string][]float64
}

// MuST and Scratch are the starts that the verdict speaks of.
const (
	Scratch = "scratch"
	MuST    = "must"
)

// knownStarts are shown in this order, others after them.
var knownStarts = slices.Concat(
	[]string{Scratch, "scratch-bit", "scratch-vit"}, data.Tasks(),
	[]string{"bit", "simclr", "moco", "mae", "multitask", MuST},
)

// Starts returns all starts that have scores, in the order in which they are always shown:
// from scratch, the teachers, the baselines, MuST, then unknown ones by name.
func (r Results) Starts() []string {
	seen := map[string]bool{}
	for _, t := range r.Transfer {
		for start, scores := range t.Scores {
			seen[start] = seen[start] || len(scores) > 0
		}
	}
	var starts []string
	for start, has := range seen {
		if has {
			starts = append(starts, start)
		}
	}
	place := func(start string) int {
		if i := slices.Index(knownStarts, start); i >= 0 {
			return i
		}
		return len(knownStarts)
	}
	slices.SortFunc(starts, func(a, b string) int {
		if d := place(a) - place(b); d != 0 {
			return d
		}
		return strings.Compare(a, b)
	})
	return starts
}

// Ranks returns the average rank of each start over the downstream sets, by mean score; 1 is best
// and ties share the mean of their places. Only starts that were run on every set are ranked, since
// ranks among different baselines do not compare; a start with a diverged run comes last on that set.
func (r Results) Ranks() map[string]float64 {
	var starts []string
	for _, start := range r.Starts() {
		if !slices.ContainsFunc(r.Transfer, func(t Transfer) bool { return len(t.Scores[start]) == 0 }) {
			starts = append(starts, start)
		}
	}
	ranks := map[string]float64{}
	for _, start := range starts {
		var sum float64
		for _, t := range r.Transfer {
			better, same := 0, 0 // same counts start itself
			for _, other := range starts {
				switch c := t.compare(other, start); {
				case c > 0:
					better++
				case c == 0:
					same++
				}
			}
			sum += float64(better) + float64(same+1)/2
		}
		ranks[start] = sum / float64(len(r.Transfer))
	}
	return ranks
}

// compare returns +1 if start a is better than b on the set, -1 if it is worse, 0 for a tie.
func (t Transfer) compare(a, b string) int {
	ma, _ := meanDeviation(t.Scores[a])
	mb, _ := meanDeviation(t.Scores[b])
	switch {
	case math.IsNaN(ma) && math.IsNaN(mb):
		return 0
	case math.IsNaN(mb):
		return 1
	case math.IsNaN(ma):
		return -1
	case ma == mb:
		return 0
	case (ma > mb) == t.HigherIsBetter:
		return 1
	}
	return -1
}

// Kept returns which part of the teacher's score the student keeps: 1 is all of it, more is better
// than the teacher. Where lower is better it is the inverse ratio. NaN: unknown.
func (t Teacher) Kept() float64 {
	kept := t.Student / t.Teacher
	if !t.HigherIsBetter {
		kept = 1 / kept
	}
	if t.Teacher <= 0 || t.Student < 0 || math.IsInf(kept, 0) {
		return math.NaN()
	}
	return kept
}

// meanDeviation returns the mean and the sample standard deviation; NaN where undefined.
func meanDeviation(values []float64) (mean, deviation float64) {
	n := float64(len(values))
	for _, v := range values {
		mean += v / n
	}
	for _, v := range values {
		deviation += (v - mean) * (v - mean) / (n - 1)
	}
	if len(values) == 0 {
		mean = math.NaN()
	}
	if len(values) < 2 {
		deviation = math.NaN()
	}
	if math.IsInf(mean, 0) {
		return math.NaN(), math.NaN()
	}
	return mean, math.Sqrt(deviation)
}

// ReadResults reads results.json.
func ReadResults(path string) (Results, error) {
	var r Results
	b, err := os.ReadFile(path)
	if err != nil {
		return r, fmt.Errorf("read results: %w", err)
	}
	if err := json.Unmarshal(b, &r); err != nil {
		return r, fmt.Errorf("read results %s: %w; run its recipe again to write it anew", path, err)
	}
	return r, nil
}

// Write writes results.json; the file is whole or not there.
func (r Results) Write(path string) error { return atomicfile.WriteJSON(path, r) }

// MarshalJSON gives the layout of results.json.
func (r Results) MarshalJSON() ([]byte, error) {
	teachers, transfer := object{}, object{}
	for _, t := range r.Teachers {
		teachers = append(teachers, member{t.Task, object{
			{"metric", t.Metric},
			{"higher_is_better", t.HigherIsBetter},
			{"teacher", number(t.Teacher)},
			{"student", number(t.Student)},
		}})
	}
	for _, t := range r.Transfer {
		set := object{{"metric", t.Metric}, {"higher_is_better", t.HigherIsBetter}}
		for _, start := range (Results{Transfer: []Transfer{t}}).Starts() {
			scores := make([]number, len(t.Scores[start]))
			for i, v := range t.Scores[start] {
				scores[i] = number(v)
			}
			set = append(set, member{start, scores})
		}
		transfer = append(transfer, member{t.Set, set})
	}
	all := object{{"teachers", teachers}, {"transfer", transfer}}
	if r.Networks != nil {
		all = append(all, member{"networks", r.Networks})
	}
	if r.Unreadable != nil {
		all = append(all, member{"unreadable", r.Unreadable})
	}
	return json.Marshal(append(all, object{
		{"seconds", number(r.Seconds)},
		{"peak_rss_mb", number(r.PeakRSSMB)},
		{"version", r.Version},
		{"libtorch", r.Libtorch},
	}...))
}

// UnmarshalJSON reads the layout of results.json. Every member of a set but its metric and
// higher_is_better is a start.
func (r *Results) UnmarshalJSON(b []byte) error {
	var file struct {
		Teachers  object
		Transfer  object
		Seconds   number
		PeakRSSMB number `json:"peak_rss_mb"`
		Version   string
		Libtorch  string

		Networks   []Network
		Unreadable []Unreadable
	}
	if err := json.Unmarshal(b, &file); err != nil {
		return err
	}
	*r = Results{Seconds: float64(file.Seconds), PeakRSSMB: float64(file.PeakRSSMB), Version: file.Version, Libtorch: file.Libtorch, Networks: file.Networks, Unreadable: file.Unreadable}

	for _, task := range file.Teachers {
		t := struct {
			Metric           string
			HigherIsBetter   bool `json:"higher_is_better"`
			Teacher, Student number
		}{Teacher: number(math.NaN()), Student: number(math.NaN())}
		if err := json.Unmarshal(task.value.(json.RawMessage), &t); err != nil {
			return fmt.Errorf("teacher %q: %w", task.key, err)
		}
		r.Teachers = append(r.Teachers, Teacher{task.key, t.Metric, t.HigherIsBetter, float64(t.Teacher), float64(t.Student)})
	}

	for _, set := range file.Transfer {
		t := Transfer{Set: set.key, Scores: map[string][]float64{}}
		var members object
		if err := json.Unmarshal(set.value.(json.RawMessage), &members); err != nil {
			return fmt.Errorf("set %q: %w", set.key, err)
		}
		for _, m := range members {
			var err error
			switch raw := m.value.(json.RawMessage); m.key {
			case "metric":
				err = json.Unmarshal(raw, &t.Metric)
			case "higher_is_better":
				err = json.Unmarshal(raw, &t.HigherIsBetter)
			default:
				var scores []number
				err = json.Unmarshal(raw, &scores)
				for _, v := range scores {
					t.Scores[m.key] = append(t.Scores[m.key], float64(v))
				}
			}
			if err != nil {
				return fmt.Errorf("set %q, %q: %w", set.key, m.key, err)
			}
		}
		r.Transfer = append(r.Transfer, t)
	}
	return nil
}

// An object is a JSON object whose members keep their order. Values read are json.RawMessage.
type object []member

type member struct {
	key   string
	value any
}

func (o object) MarshalJSON() ([]byte, error) {
	var b bytes.Buffer
	b.WriteByte('{')
	for i, m := range o {
		if i > 0 {
			b.WriteByte(',')
		}
		key, err := json.Marshal(m.key)
		if err != nil {
			return nil, err
		}
		value, err := json.Marshal(m.value)
		if err != nil {
			return nil, err
		}
		b.Write(key)
		b.WriteByte(':')
		b.Write(value)
	}
	b.WriteByte('}')
	return b.Bytes(), nil
}

func (o *object) UnmarshalJSON(b []byte) error {
	dec := json.NewDecoder(bytes.NewReader(b))
	if open, err := dec.Token(); err != nil {
		return err
	} else if open != json.Delim('{') {
		return fmt.Errorf("want an object, got %v", open)
	}
	for dec.More() {
		key, err := dec.Token()
		if err != nil {
			return err
		}
		var value json.RawMessage
		if err := dec.Decode(&value); err != nil {
			return err
		}
		*o = append(*o, member{key.(string), value})
	}
	_, err := dec.Token()
	return err
}

// A number is null in JSON where it is NaN or infinite.
type number float64

func (n number) MarshalJSON() ([]byte, error) {
	if v := float64(n); math.IsNaN(v) || math.IsInf(v, 0) {
		return []byte("null"), nil
	}
	return json.Marshal(float64(n))
}

func (n *number) UnmarshalJSON(b []byte) error {
	if string(b) == "null" {
		*n = number(math.NaN())
		return nil
	}
	return json.Unmarshal(b, (*float64)(n))
}
