package run

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/goccy/go-yaml"

	"must/data"
	"must/label/shards"
	"must/recipe"
	"must/stage"
	"must/weights"
)

// Facts are all that a result depends on: values by their paths in the recipe, data sets, and the
// hashes of stages, files and teachers that are read. inputs.json of a stage's folder holds them.
type Facts map[string]string

const inputsFile = "inputs.json"

// A fingerprint is what a stage depends on, and its hash.
type fingerprint struct {
	inputs stage.Inputs
	facts  Facts
	sum    string // in hexadecimal
}

// fingerprint finds that of a stage.
func (r *Runner) fingerprint(name string) fingerprint {
	if f, ok := r.prints[name]; ok {
		return f
	}
	s := r.Step(name)
	in, err := s.Inputs(r.Env)
	if err != nil {
		panic(fmt.Sprintf("stage %s was checked, and now: %v", name, err))
	}
	f := fingerprint{inputs: in, facts: r.facts(in)}
	f.facts["kind"] = s.Kind
	f.sum = f.facts.hash()
	r.prints[name] = f
	return f
}

// Fingerprint hashes inputs that are not those of a whole stage.
func (r *Runner) Fingerprint(in stage.Inputs) string { return r.facts(in).hash() }

func (f Facts) hash() string {
	b, err := json.Marshal(f) // in the order of the names
	if err != nil {
		panic(err) // of strings
	}
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:12])
}

// facts looks up what inputs are.
func (r *Runner) facts(in stage.Inputs) Facts {
	f := Facts{}
	for _, s := range in.Settings {
		f.add(s.Name, s.Value)
	}
	for _, p := range in.Parts {
		r.part(f, p)
	}
	for _, s := range in.From {
		switch {
		case s.Name == "":
		case r.Step(s.Name) != nil:
			f["stage "+s.Name] = r.fingerprint(s.Name).sum
			if l, ok := r.Step(s.Name).Stage.(*stage.Label); ok {
				for _, set := range l.Data {
					f.decisions(s.Name+"/"+set, filepath.Join(r.Folder(s.Name), set))
				}
			}
		case r.IsExternal(s.Name):
			d, sum, err := r.Hash(s.Name)
			if err != nil { // told of when it is needed
				sum = err.Error()
			}
			f.add("teachers."+s.Name, d)
			f.add("teachers."+s.Name+".names", d.Classes.List)
			f["teacher "+s.Name] = sum
		default:
			sum, _ := weights.Hash(s.Name) // as above
			f["file "+s.Name] = sum
		}
	}
	return f
}

// part adds one of a data set: its entry in the recipe. The files are not looked at.
func (r *Runner) part(f Facts, p stage.Part) {
	set := r.Data[p.Set]
	name := "data." + p.Set
	src := set.From(p.Part)
	f.add(name+"."+p.Part, src)
	if set.Tasks != nil {
		f.add(name+".tasks", set.Tasks)
	}
	if set.Holdout != 0 && p.Part != "test" {
		f.add(name+".holdout", set.Holdout)
	}
	if src.Labels != "" {
		sum, _ := weights.Hash(filepath.Join(src.Labels, "index.json"))
		f["labels "+src.Labels] = sum
		f.decisions(src.Labels, src.Labels)
	}
	if p.Own {
		return
	}
	for _, task := range recipe.Names(r.Spaces) {
		if p.Tasks != nil && !slices.ContainsFunc(p.Tasks, func(t string) bool { return data.TaskOf(t) == task }) {
			continue
		}
		s := r.Spaces[task]
		f.add("spaces."+task, s)
		f.add(name+".map."+task, set.Map[task])
		if s.From != "" {
			r.part(f, stage.Part{Set: s.From, Part: "train", Own: true})
		}
	}
}

// decisions adds what people decided on the labels of a set, where they did.
func (f Facts) decisions(name, dir string) {
	if sum, err := weights.Hash(shards.DecisionsPath(dir)); err == nil {
		f["review "+name] = sum
	}
}

// add adds a value, one fact for each of its leaves; what is not set adds none.
func (f Facts) add(name string, value any) {
	b, err := yaml.Marshal(value)
	var tree any
	if err == nil {
		err = yaml.Unmarshal(b, &tree)
	}
	if err != nil {
		panic(fmt.Sprintf("%s: %v", name, err)) // a recipe's values can be written
	}
	f.leaves(name, tree)
}

func (f Facts) leaves(name string, tree any) {
	switch x := tree.(type) {
	case nil:
	case map[string]any:
		for _, k := range recipe.Names(x) {
			f.leaves(name+"."+k, x[k])
		}
	default:
		b, err := json.Marshal(x)
		if err != nil {
			panic(fmt.Sprintf("%s: %v", name, err))
		}
		f[name] = string(b)
	}
}

// A Change is a fact that is another now.
type Change struct{ Name, Was, Is string } // "": not there

func (c Change) String() string {
	if kind, name, ok := strings.Cut(c.Name, " "); ok { // hashes mean nothing to people
		return kind + " " + name + " changed"
	}
	switch {
	case c.Was == c.Is: // an entry of many values
		return c.Name + " is new or gone"
	case c.Was == "":
		return fmt.Sprintf("%s is %s", c.Name, c.Is)
	case c.Is == "":
		return fmt.Sprintf("%s is no longer %s", c.Name, c.Was)
	}
	return fmt.Sprintf("%s %s → %s", c.Name, c.Was, c.Is)
}

// changes tells in what a stage differs from the latest of its folders that is not of its fingerprint.
// nil: there is none.
func (r *Runner) changes(name string) []Change {
	folder := r.latest(name)
	if folder == "" {
		return nil
	}
	changes, _ := r.changesFrom(name, folder) // none are told of where they cannot be read
	return changes
}

// changesFrom tells in what a stage differs from one of its folders.
func (r *Runner) changesFrom(name, folder string) ([]Change, error) {
	changes := []Change{}
	was, is := Facts{}, r.fingerprint(name).facts
	b, err := os.ReadFile(filepath.Join(folder, inputsFile))
	if err == nil {
		err = json.Unmarshal(b, &was)
	}
	if err != nil {
		return changes, err
	}
	for _, n := range recipe.Names(is) {
		if was[n] != is[n] {
			changes = append(changes, Change{n, was[n], is[n]})
		}
	}
	for _, n := range recipe.Names(was) {
		if _, ok := is[n]; !ok {
			changes = append(changes, Change{n, was[n], ""})
		}
	}
	return whole(changes, was, is), nil
}

// whole tells of a data set, or another entry of the recipe, that is new or gone as one change and not as
// many.
func whole(changes []Change, was, is Facts) []Change {
	entry := func(name string) string {
		parts := strings.SplitN(name, ".", 3)
		return strings.Join(parts[:min(2, len(parts))], ".")
	}
	of := func(f Facts, e string) (n int) {
		for name := range f {
			if entry(name) == e {
				n++
			}
		}
		return n
	}
	seen := map[string]bool{}
	var out []Change
	for _, c := range changes {
		e := entry(c.Name)
		switch {
		case of(was, e) > 0 && of(is, e) > 0 || of(was, e)+of(is, e) == 1:
			out = append(out, c)
		case !seen[e]:
			seen[e] = true
			out = append(out, Change{Name: e})
		}
	}
	slices.SortStableFunc(out, func(a, b Change) int { return strings.Compare(a.Name, b.Name) })
	return out
}

// summary says what changed in a line.
func summary(changes []Change) string {
	const most = 3
	if len(changes) == 0 {
		return "its inputs or settings changed"
	}
	var parts []string
	for _, c := range changes[:min(most, len(changes))] {
		parts = append(parts, c.String())
	}
	text := strings.Join(parts, ", ")
	if n := len(changes) - most; n > 0 {
		text += fmt.Sprintf(" and %d more", n)
	}
	return text
}
