package stage

import (
	"fmt"
	"slices"

	"github.com/goccy/go-yaml/ast"

	"must/recipe"
	"must/strict"
)

// LossWeights are those of tasks. In a recipe they are numbers by task, or one word for all.
type LossWeights struct {
	Set  map[string]float64 // of what is absent the word decides
	Word string             // rule, also "": MuST's where teachers are known, else 1; equal: 1; learned
}

const (
	ruleWeights    = "rule"
	equalWeights   = "equal"
	learnedWeights = "learned"
)

// UnmarshalYAML reads a word or a mapping.
func (w *LossWeights) UnmarshalYAML(n ast.Node) error {
	if _, ok := n.(*ast.MappingNode); ok {
		return strict.Decode(n, &w.Set)
	}
	if err := strict.Decode(n, &w.Word); err != nil {
		return err
	}
	if words := []string{ruleWeights, equalWeights, learnedWeights}; !slices.Contains(words, w.Word) {
		return fmt.Errorf("weights is %q; it is one of %v, or a number for each task", w.Word, words)
	}
	return nil
}

// MarshalYAML writes what UnmarshalYAML reads.
func (w *LossWeights) MarshalYAML() (any, error) {
	if w.Set != nil {
		return w.Set, nil
	}
	return w.Word, nil
}

// names lists the tasks that have a weight of their own.
func (w *LossWeights) names() []string {
	if w == nil {
		return nil
	}
	return recipe.Names(w.Set)
}

// of returns the weight that a task was given.
func (w *LossWeights) of(task string) (v float64, ok bool) {
	if w == nil {
		return 0, false
	}
	v, ok = w.Set[task]
	return v, ok
}

// word tells what decides about the others.
func (w *LossWeights) word() string {
	if w == nil || w.Word == "" {
		return ruleWeights
	}
	return w.Word
}
