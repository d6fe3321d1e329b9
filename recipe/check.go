package recipe

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode"

	"must/data"
	"must/data/formats"
	"must/strict"
	"must/task/registry"
)

// check tells what is wrong with the form of a recipe, before anything is opened or spent.
func (r *Recipe) check() error {
	if !Plain(r.Name) {
		return fmt.Errorf("name is %q; it names the output folder and must be a plain word", r.Name)
	}
	r.Train.Augment.Size = r.Size
	if err := r.Train.Check(); err != nil {
		return err
	}
	// What the networks will know is not known yet, and does not matter to these settings.
	labels := data.Labels{}
	for _, name := range data.Tasks() {
		labels[name] = registry.Get(name).Some()
	}
	if err := r.Spec(data.Tasks(), labels).Check(); err != nil {
		return err
	}
	if !(r.MaxBroken >= 0 && r.MaxBroken <= 1) {
		return fmt.Errorf("max_broken is %v; it is a share of the images, in [0, 1]", r.MaxBroken)
	}
	for _, name := range Names(r.Data) {
		s := r.Data[name]
		if !Plain(name) {
			return fmt.Errorf("data set %q: its name is that of a file or folder too and must be a plain word", name)
		}
		if _, err := formats.Find(s.Format); err != nil {
			return fmt.Errorf("data.%s: %w", name, err)
		}
		if !(s.Holdout >= 0 && s.Holdout < 1) {
			return fmt.Errorf("data.%s.holdout is %v; it is a share of the train part, in [0, 1)", name, s.Holdout)
		}
	}
	if err := r.checkSpaces(); err != nil {
		return err
	}
	for _, name := range Names(r.External) {
		d := r.External[name]
		switch {
		case d == nil:
			return fmt.Errorf("teachers.%s is empty", name)
		case !Plain(name):
			return fmt.Errorf("teachers: %q must be a plain word", name)
		case r.Stage(name) != nil:
			return fmt.Errorf("teachers.%s: a stage is called so too", name)
		}
		if err := d.Check(); err != nil {
			return fmt.Errorf("teachers.%s: %w", name, err)
		}
	}
	return errors.Join(r.checkStages(), r.checkFigures())
}

// taken are the names of what else lies in a run's folder.
var taken = []string{"quick", "figures", "recipe.yaml", "report.html", "report-pictures", "results.json", "hexagon.svg"}

func (r *Recipe) checkStages() error {
	for i, s := range r.Stages {
		fault := func(format string, v ...any) error {
			return fmt.Errorf("stage %d (%s): %w", i+1, s.Name, fmt.Errorf(format, v...))
		}
		switch {
		case !Plain(s.Name) || strings.Contains(s.Name, "@"):
			return fault("its name must be a plain word")
		case slices.Contains(taken, s.Name):
			return fault("its name is that of a file or folder of the run; choose another")
		case r.Stage(s.Name) != s:
			return fault("there is an earlier stage of this name")
		case s.Kind == "":
			return fault("it does nothing; give it one of %s", strings.Join(Kinds(), ", "))
		case !slices.Contains(Kinds(), s.Kind):
			return fault("it has %s; a stage does one thing", s.Kind)
		}
	}
	return nil
}

func (r *Recipe) checkFigures() error {
	drawn := map[string]bool{}
	for i, f := range r.Figures {
		if f == nil {
			return fmt.Errorf("figure %d is empty", i+1)
		}
		fault := func(format string, v ...any) error {
			return fmt.Errorf("figure %d (%s): %w", i+1, f.Title, fmt.Errorf(format, v...))
		}
		file := FigureFile(f.Title)
		switch {
		case file == ".svg":
			return fault("it needs a title, which names its picture")
		case drawn[file]:
			return fault("an earlier one has this title, which names its picture")
		case len(f.Points) == 0:
			return fault("it has no points")
		}
		drawn[file] = true
		for _, p := range f.Points {
			if _, err := strconv.ParseFloat(p.At, 64); err != nil && f.X != "" {
				return fault("point %q is no number on the axis %s", p.At, f.X)
			}
		}
	}
	return nil
}

// FigureFile names a figure's picture after its title.
func FigureFile(title string) string {
	words := strings.FieldsFunc(strings.ToLower(title), func(r rune) bool { return !unicode.IsLetter(r) && !unicode.IsDigit(r) })
	return strings.Join(words, "-") + ".svg"
}

// Plain reports whether a name can name a file.
func Plain(name string) bool {
	return name != "" && name[0] != '.' && !strings.ContainsAny(name, `/\`)
}

// CheckSets tells which of some names is none of a data set.
func (r *Recipe) CheckSets(names ...string) error {
	for _, n := range names {
		if r.Data[n] == nil {
			return fmt.Errorf("no data set %q%s", n, strict.Suggest(n, Names(r.Data)))
		}
	}
	return nil
}

// CheckTasks tells which of some names is none of a task.
func CheckTasks(names ...string) error {
	for _, n := range names {
		if !registry.Has(n) {
			return fmt.Errorf("no task %q%s", n, strict.Suggest(n, data.Tasks()))
		}
	}
	return nil
}
