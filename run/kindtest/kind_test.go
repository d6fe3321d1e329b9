// Package kindtest adds a kind of stage as docs/stages.md says, in a program of its own.
package kindtest

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"must/atomicfile"
	"must/recipe"
	"must/report"
	"must/run"
	"must/stage"
	"must/torch"
)

// Sizes is a kind of stage made as docs/stages.md says: it counts the images of sets.
type Sizes struct {
	Data  []string `yaml:"data"`
	After string   `yaml:"after,omitempty"` // a train stage
}

func (s *Sizes) Check(e *stage.Env) error { return nil }

func (s *Sizes) Inputs(e *stage.Env) (in stage.Inputs, err error) {
	in.Read("train", s.Data...)
	in.From = []stage.Source{{Name: s.After, Stage: true}}
	return in, nil
}

func (s *Sizes) Cost(w *stage.Work) (stage.Cost, error) { return stage.Cost{Text: "some sets"}, nil }

func (s *Sizes) Run(ctx context.Context, w *stage.Work) error {
	sizes := map[string]int{}
	for _, set := range s.Data {
		ds, err := w.Open(set, "train")
		if err != nil {
			return err
		}
		sizes[set] = ds.Len()
	}
	return atomicfile.WriteJSON(filepath.Join(w.Dir, "sizes.json"), sizes)
}

func (s *Sizes) Report(w *stage.Work, p *report.Report) error {
	p.Facts = append(p.Facts, report.Fact{Name: w.Name, Value: strings.Join(s.Data, ", ")})
	return nil
}

const text = `
name: kinds
size: 32
model: {depth: 18, width: 0.125, fpn: 8, head: 8}
train: {batch: 4, steps: 1}
data:
  objects: {format: scenes, set: objects, size: 32, parts: {train: 8, val: 4}}
  rooms:   {format: scenes, set: rooms, size: 32, parts: {train: 8, test: 4}}
stages:
  - name: net
    train: {data: [objects], tasks: [classification]}
  - name: sizes
    sizes: {data: [objects, rooms], after: net}
`

func TestMain(m *testing.M) {
	if err := torch.Open(torch.Options{Threads: 1}); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	recipe.Register("sizes", (*Sizes)(nil))
	os.Exit(m.Run())
}

func load(t *testing.T, out, text string, settings ...string) (*run.Runner, error) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "recipe.yaml")
	if err := os.WriteFile(path, []byte(text), 0o666); err != nil {
		t.Fatal(err)
	}
	return run.Load(path, settings, out)
}

// A kind of stage is its file and a line in the table: checks, order, fingerprint, folder, skipping and
// dry run come by themselves.
func TestNewKind(t *testing.T) {
	out := t.TempDir()
	r, err := load(t, out, text)
	if err != nil {
		t.Fatal(err)
	}
	plan, err := r.Plan(t.Context(), os.ErrInvalid)
	if err != nil || !strings.Contains(plan.Text(), "some sets") {
		t.Errorf("%v\n%s", err, plan.Text())
	}
	r.Only = []string{"sizes"}
	if err := r.Run(t.Context()); err == nil || !strings.Contains(err.Error(), "stage sizes reads stage net") {
		t.Errorf("before what it reads: %v", err)
	}
	r.Only = nil
	if err := r.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	if b, err := os.ReadFile(filepath.Join(out, "sizes", "sizes.json")); err != nil || !strings.Contains(string(b), `"rooms": 8`) {
		t.Errorf("%v: %s", err, b)
	}
	for setting, again := range map[string]bool{"data.rooms.parts.train=7": true, "net.with.lr=0.3": true, "data.rooms.parts.test=2": false} {
		if r, err := load(t, out, text, setting); err != nil || r.Ended("sizes") == again {
			t.Errorf("%s: %v; it is run again: %v", setting, err, !again)
		}
	}
	for bad, want := range map[string]string{"data: [object, rooms]": `"objects"`, "after: nett": "no earlier train stage", "afer: net": `"after"`} {
		if _, err := load(t, out, strings.Replace(text, "data: [objects, rooms], after: net", bad, 1)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: error %v does not say %s", bad, err, want)
		}
	}
}
