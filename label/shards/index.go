// Package shards stores pseudo labels as WebDataset tar shards with their provenance, and merges
// them with the true labels of the images they were made for. docs/formats-shards.md is the page of
// the format.
//
// Shard k of a set holds the labels of samples [k·S, (k+1)·S) of the dataset, one tar per task. So
// what a shard contains does not depend on who writes it or when, and any number of processes can
// work on one set: each claims a shard by a file lock, which the kernel frees even after kill -9.
package shards

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/go-faster/jx"

	"must/data"
	"must/task"
	"must/task/registry"
)

const (
	formatName    = "must-labels"
	formatVersion = 1
	indexName     = "index.json"
	manifestDir   = "manifest"
)

// Provenance says where the labels of a set come from. Two runs whose provenance differs in more
// than Program and the names of files cannot write to one set.
type Provenance struct {
	Program string          `json:"program"` // name and version of what made the labels
	Dataset Dataset         `json:"dataset"`
	Tasks   map[string]Task `json:"tasks"` // by task: data.Classification, …
}

// Dataset identifies the images that were labelled.
type Dataset struct {
	Name    string `json:"name"`    // for people; not compared
	Samples int    `json:"samples"` // how many
	SHA256  string `json:"sha256"`  // of all keys in order, a newline after each
}

// Identify returns the identity of d.
func Identify(name string, d data.Dataset) Dataset {
	h := sha256.New()
	for i := range d.Len() {
		io.WriteString(h, d.Key(i))
		io.WriteString(h, "\n")
	}
	return Dataset{name, d.Len(), hex.EncodeToString(h.Sum(nil))}
}

// Task says who made the labels of one task and what they mean.
type Task struct {
	Teacher   string   `json:"teacher"`             // file of the teacher's weights, for people; not compared
	SHA256    string   `json:"sha256"`              // of that file
	Threshold float64  `json:"threshold,omitempty"` // least score (detection) or confidence (segmentation) kept
	Open      float64  `json:"open,omitempty"`      // score from which on what stays below the threshold is neither there nor not there
	DType     string   `json:"dtype,omitempty"`     // of .npy entries: npy.Float16 or npy.Float32
	Units     string   `json:"units,omitempty"`     // depth: data.Metric or data.Inverse
	Classes   []string `json:"classes,omitempty"`   // names, by index
	Masks     bool     `json:"masks,omitempty"`     // detection: objects carry masks
	Channels  int      `json:"channels,omitempty"`  // of vectors, where labels are grids of them
	Grid      int      `json:"grid,omitempty"`      // cells of a side of such a grid
	Without   []string `json:"without,omitempty"`   // classes of pixels in which nothing is labelled
	Settings  string   `json:"settings,omitempty"`  // hash of everything else that shapes the labels

	// Moments are those of the values, by channel, of a finished set, for tasks that learn them standardised.
	Moments *data.Moments `json:"moments,omitempty"`
}

// Labels returns what the labels of a set mean.
func (p Provenance) Labels() data.Labels {
	l := data.Labels{}
	for name, t := range p.Tasks {
		l[name] = t.meaning()
	}
	return l
}

func (t Task) meaning() data.Meaning {
	return data.Meaning{Classes: t.Classes, Masks: t.Masks, Units: t.Units, Channels: t.Channels, Grid: t.Grid, Moments: t.Moments}
}

// tasks lists the tasks of the set in the order of data.Tasks.
func (p Provenance) tasks() []string {
	return p.Labels().Tasks()
}

// validate refuses what cannot be written or read back.
func (p Provenance) validate() error {
	if len(p.Tasks) == 0 {
		return errors.New("no task to label")
	}
	for name, t := range p.Tasks {
		if !registry.Has(name) {
			return fmt.Errorf("there is no task %q", name)
		}
		kind := registry.Get(name)
		if kind.DType() != "" {
			if err := task.CheckDType(t.DType); err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
		}
		if err := kind.Check(t.meaning()); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	return nil
}

// differences lists what makes labels of p and q different, in words.
func (p Provenance) differences(q Provenance) []string {
	var diff []string
	add := func(format string, a ...any) { diff = append(diff, fmt.Sprintf(format, a...)) }
	if p.Dataset.Samples != q.Dataset.Samples {
		add("the dataset had %d samples (%s), now it has %d (%s)", p.Dataset.Samples, p.Dataset.Name, q.Dataset.Samples, q.Dataset.Name)
	} else if p.Dataset.SHA256 != q.Dataset.SHA256 {
		add("the dataset has other samples or another order (%s, now %s)", p.Dataset.Name, q.Dataset.Name)
	}
	for _, name := range p.Labels().Join(q.Labels()).Tasks() {
		a, inP := p.Tasks[name]
		b, inQ := q.Tasks[name]
		switch {
		case inP && !inQ:
			add("%s is labelled in it, now it would not be", name)
			continue
		case !inP && inQ:
			add("%s is not labelled in it, now it would be", name)
			continue
		}
		if a.SHA256 != b.SHA256 {
			add("%s: the teacher was %s (sha256 %.12s…), now %s (sha256 %.12s…)", name, a.Teacher, a.SHA256, b.Teacher, b.SHA256)
		}
		if a.Threshold != b.Threshold {
			add("%s: the threshold was %g, now %g", name, a.Threshold, b.Threshold)
		}
		if a.DType != b.DType {
			add("%s: the dtype was %s, now %s", name, a.DType, b.DType)
		}
		if a.Units != b.Units {
			add("%s: the units were %s, now %s", name, a.Units, b.Units)
		}
		if !slices.Equal(a.Classes, b.Classes) {
			add("%s: the class names differ (%d, now %d)", name, len(a.Classes), len(b.Classes))
		}
		if a.Channels != b.Channels || a.Grid != b.Grid {
			add("%s: there were %d channels on a grid of %d, now %d on %d", name, a.Channels, a.Grid, b.Channels, b.Grid)
		}
		if a.Masks != b.Masks {
			add("%s: masks were %t, now %t", name, a.Masks, b.Masks)
		}
		if a.Settings != b.Settings {
			add("%s: other settings (hash %.12s, now %.12s)", name, a.Settings, b.Settings)
		}
	}
	return diff
}

// hash identifies what differences compares, so that a shard can say whose it is.
func (p Provenance) hash(shardSize int) string {
	tasks := map[string]Task{}
	for name, t := range p.Tasks {
		t.Teacher, t.Moments = "", nil
		tasks[name] = t
	}
	p.Dataset.Name = ""
	b, err := json.Marshal(struct {
		Dataset   Dataset
		Tasks     map[string]Task
		ShardSize int
	}{p.Dataset, tasks, shardSize})
	if err != nil { // only a NaN threshold can do that
		panic(err)
	}
	h := sha256.Sum256(b)
	return hex.EncodeToString(h[:])
}

// Index is the content of index.json.
type Index struct {
	Format  string `json:"format"`
	Version int    `json:"version"`
	Provenance
	ShardSize int     `json:"shard_size"` // samples per shard; the last may hold fewer
	Complete  bool    `json:"complete"`   // every sample of the dataset is labelled or skipped
	Skipped   int     `json:"skipped"`    // samples that could not be read; the manifests say why
	Shards    []Entry `json:"shards"`
}

// Entry describes one shard of all tasks.
type Entry struct {
	Name    string          `json:"name"`    // shard-000000
	From    int             `json:"from"`    // index in the dataset of its first sample
	To      int             `json:"to"`      // index after its last
	Program string          `json:"program"` // that wrote it
	Skipped int             `json:"skipped"`
	Files   map[string]File `json:"files"` // by task
}

// File describes one tar.
type File struct {
	Samples int    `json:"samples"`
	Bytes   int64  `json:"bytes"`
	SHA256  string `json:"sha256"`
}

// manifest is the content of manifest/shard-000000.json. It is written last: a shard without it is
// not finished.
type manifest struct {
	manifestHead
	Keys    []string                 `json:"keys"`   // of all samples in [From, To)
	Sizes   [][2]int                 `json:"sizes"`  // width and height of their images; 0 where skipped
	Errors  map[string]string        `json:"errors"` // why a sample was skipped, by key
	Counts  map[string]Count         `json:"counts,omitempty"`
	Moments map[string]*data.Moments `json:"moments,omitempty"` // by task that is learned standardised
	Offsets map[string][]int64       `json:"offsets"`           // by task: where the member of each sample begins in the tar; -1: it has none
}

// A manifestHead is what a manifest says of the whole shard.
type manifestHead struct {
	Entry
	Provenance string `json:"provenance"` // Provenance.hash of the set
}

// Count tells of the labels of a task.
type Count struct {
	Images int `json:"images"` // that have one
	Labels int `json:"labels"` // objects, pixels or images
	Empty  int `json:"empty"`  // images whose label holds nothing

	Shown []int `json:"shown,omitempty"` // images that show each class, of a task that tells which
}

// add returns what two counts are together.
func (c Count) add(d Count) Count {
	sum := Count{c.Images + d.Images, c.Labels + d.Labels, c.Empty + d.Empty, slices.Clone(c.Shown)}
	if len(sum.Shown) < len(d.Shown) {
		sum.Shown = append(sum.Shown, make([]int, len(d.Shown)-len(sum.Shown))...)
	}
	for k, n := range d.Shown {
		sum.Shown[k] += n
	}
	return sum
}

func shardName(k int) string { return fmt.Sprintf("shard-%06d", k) }

func tarPath(dir, task, shard string) string { return filepath.Join(dir, task, shard+".tar") }

func manifestPath(dir, shard string) string { return filepath.Join(dir, manifestDir, shard+".json") }

func (x *Index) count() int { return (x.Dataset.Samples + x.ShardSize - 1) / x.ShardSize }

// bounds returns the range of samples of shard k.
func (x *Index) bounds(k int) (from, to int) {
	return k * x.ShardSize, min((k+1)*x.ShardSize, x.Dataset.Samples)
}

// readIndex reads DIR/index.json.
func readIndex(dir string) (*Index, error) {
	path := filepath.Join(dir, indexName)
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var x Index
	if err := json.Unmarshal(b, &x); err != nil {
		return nil, fmt.Errorf("%s is damaged: %w; delete %s and label again", path, err, dir)
	}
	if x.Format != formatName {
		return nil, fmt.Errorf("%s: not the index of a set of pseudo labels", path)
	}
	if x.Version != formatVersion {
		return nil, fmt.Errorf("%s: version %d of the format, this program reads version %d; use the program that made it (%s)",
			path, x.Version, formatVersion, x.Program)
	}
	if x.ShardSize < 1 || x.Dataset.Samples < 0 {
		return nil, fmt.Errorf("%s: %d samples in shards of %d", path, x.Dataset.Samples, x.ShardSize)
	}
	if err := x.validate(); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return &x, nil
}

// errUnfinished says that a shard has to be written, first or again.
var errUnfinished = errors.New("the shard is not finished")

// readManifest reads the manifest of shard k and checks that its tars are there in full length. An
// error that is errUnfinished is mended by writing the shard.
func (x *Index) readManifest(dir string, k int) (*manifest, error) {
	path := manifestPath(dir, shardName(k))
	m, err := parsed(path, parseManifest)
	if err != nil {
		return nil, err
	}
	if err := x.check(dir, k, &m.manifestHead); err != nil {
		return nil, err
	}
	for _, task := range x.tasks() {
		if len(m.Offsets[task]) != len(m.Keys) {
			return nil, fmt.Errorf("%s: %w: it lists no %s", path, errUnfinished, task)
		}
	}
	return m, nil
}

// readHead is readManifest without what the manifest lists by sample, which for millions of samples takes a minute to
// parse.
func (x *Index) readHead(dir string, k int) (*manifestHead, error) {
	m, err := parsed(manifestPath(dir, shardName(k)), parseHead)
	if err != nil {
		return nil, err
	}
	return m, x.check(dir, k, m)
}

// parsed reads a manifest, or its head. One that is not there, or not whole, is errUnfinished.
func parsed[M any](path string, parse func([]byte) (*M, error)) (*M, error) {
	b, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%s: %w", path, errUnfinished)
	}
	if err != nil {
		return nil, err
	}
	m, err := parse(b)
	if err != nil {
		return nil, fmt.Errorf("%s: %w: %w", path, errUnfinished, err)
	}
	return m, nil
}

// check holds a manifest against the index and the shard's files.
func (x *Index) check(dir string, k int, m *manifestHead) error {
	path := manifestPath(dir, shardName(k))
	if m.Provenance != x.hash(x.ShardSize) {
		return fmt.Errorf("%s: the shard was made by other teachers or settings than %s says; delete %s and label again",
			path, indexName, dir)
	}
	from, to := x.bounds(k)
	if m.Name != shardName(k) || m.From != from || m.To != to {
		return fmt.Errorf("%s: %w: it describes %s, samples %d to %d", path, errUnfinished, m.Name, m.From, m.To)
	}
	for _, task := range x.tasks() {
		tar := tarPath(dir, task, m.Name)
		switch info, err := os.Stat(tar); {
		case errors.Is(err, fs.ErrNotExist):
			return fmt.Errorf("%s: %w: the file is missing", tar, errUnfinished)
		case err != nil:
			return err
		case info.Size() != m.Files[task].Bytes:
			return fmt.Errorf("%s: %w: it has %d bytes of %d", tar, errUnfinished, info.Size(), m.Files[task].Bytes)
		}
	}
	return nil
}

// parseHead reads what a manifest says of the whole shard, and skips the rest.
func parseHead(b []byte) (*manifestHead, error) {
	var m manifestHead
	d := jx.DecodeBytes(b)
	err := d.ObjBytes(func(d *jx.Decoder, key []byte) error {
		var to any
		switch string(key) {
		case "name":
			to = &m.Name
		case "from":
			to = &m.From
		case "to":
			to = &m.To
		case "skipped":
			to = &m.Skipped
		case "files":
			to = &m.Files
		case "provenance":
			to = &m.Provenance
		default:
			return d.Skip()
		}
		raw, err := d.Raw()
		if err != nil {
			return err
		}
		return json.Unmarshal(raw, to)
	})
	return &m, err
}

func parseManifest(b []byte) (*manifest, error) {
	var m manifest
	if err := json.Unmarshal(b, &m); err != nil {
		return nil, err
	}
	n := len(m.Keys)
	if m.To-m.From != n || len(m.Sizes) != n {
		return nil, fmt.Errorf("%d keys and %d sizes for samples %d to %d", n, len(m.Sizes), m.From, m.To)
	}
	for task, offsets := range m.Offsets {
		if len(offsets) != n {
			return nil, fmt.Errorf("%d offsets of %s for %d keys", len(offsets), task, n)
		}
	}
	for _, key := range m.Keys {
		if !validKey(key) {
			return nil, fmt.Errorf("key %q is not a relative path", key)
		}
	}
	return &m, nil
}

// validKey checks what data.Sample promises of keys; no member then climbs out of a folder.
func validKey(key string) bool { return fs.ValidPath(key) && key != "." }

// memberName is the name of a sample's entry in a tar. WebDataset takes the path up to the first dot
// of its last element as the key, so that dots there, percent signs and control characters are
// written as %XX.
func memberName(key, task string) string {
	const hexDigits = "0123456789ABCDEF"
	base := strings.LastIndexByte(key, '/') + 1
	var b strings.Builder
	for i := range len(key) {
		if c := key[i]; c < ' ' || c == 0x7f || c == '%' || c == '.' && i >= base {
			b.WriteByte('%')
			b.WriteByte(hexDigits[c>>4])
			b.WriteByte(hexDigits[c&15])
		} else {
			b.WriteByte(c)
		}
	}
	return b.String() + registry.Get(task).Ext()
}
