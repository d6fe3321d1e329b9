package run

import (
	"fmt"
	"path/filepath"

	"must/checkpoint"
	"must/data"
	"must/data/formats"
	"must/recipe"
	"must/stage"
)

// Single is the name of the train stage of a recipe that [Training] makes.
const Single = "train"

// Training makes the recipe of one training run: a contact sheet of the set, and a network for the
// tasks (none named: all that the set has labels for). With from, a file of weights, it begins with
// its trunk and takes size and architecture from it; with partial the file need not have all of the trunk. Settings are as for
// [recipe.Load]; some that are left out follow fit, and said tells which.
func Training(name string, set data.Source, tasks []string, from string, partial bool, settings []string, fit Fit) (r *recipe.Recipe, said []string, err error) {
	r = recipe.Defaults()
	r.Name = name
	for _, path := range []*string{&set.Path, &set.Images, &set.Labels} { // the run can be gone on with, and reported on, from another folder
		if *path == "" {
			continue
		}
		if *path, err = filepath.Abs(*path); err != nil {
			return nil, nil, err
		}
	}
	if from != "" {
		c, err := checkpoint.ReadPretrained(from)
		if err != nil {
			return nil, nil, err
		}
		r.Size, r.Model, r.Detection = c.Spec.Size, c.Spec.Model, c.Spec.Detection
		if from, err = filepath.Abs(from); err != nil {
			return nil, nil, err
		}
	}
	s := &recipe.Set{Source: set}
	if len(tasks) == 0 {
		ds, err := formats.Open(s.From("train"))
		if err != nil {
			return nil, nil, err
		}
		defer data.Close(ds)
		tasks = ds.Labels().Tasks()
		if len(tasks) == 0 {
			return nil, nil, fmt.Errorf("%s: the set has no labels to learn from; label it first with must label", set.Path)
		}
	}
	r.Data = map[string]*recipe.Set{"data": s}
	r.Stages = []*recipe.Stage{
		{Name: "show", Kind: "show", Keys: &stage.Show{Data: []string{"data"}}},
		{Name: Single, Kind: "train", Keys: &stage.Train{Data: []string{"data"}, Tasks: tasks, From: from, Partial: partial}},
	}
	text, err := r.Text()
	if err != nil {
		return nil, nil, err
	}
	settled, err := recipe.Parse(text, settings...) // the image's size is what others follow
	if err != nil {
		return nil, nil, err
	}
	r.Size = settled.Size
	said = fit.fit(r, tasks, from != "", settings)
	if text, err = r.Text(); err != nil {
		return nil, nil, err
	}
	r, err = recipe.Parse(text, settings...)
	return r, said, err
}
