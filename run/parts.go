package run

import (
	"cmp"
	"errors"

	"must/data"
	"must/recipe"
)

// resolve has the test part serve as val where a set has no val part of its own and only scores depend on
// it: what is there is scored. recipe.yaml of the run says so by splits. Where a sweep chooses by the val
// part nothing is put in its place.
func (r *Runner) resolve() {
	optional := map[string]bool{}
	for _, s := range r.Steps {
		for _, p := range r.fingerprint(s.Name).inputs.Parts {
			if p.Part == "val" {
				was, seen := optional[p.Set]
				optional[p.Set] = p.Optional && (was || !seen)
			}
		}
	}
	for _, name := range recipe.Names(optional) {
		set := r.Data[name]
		if !optional[name] || set.Holdout > 0 || set.Splits["val"] != "" {
			continue
		}
		if _, err := r.OpenOwn(name, "val"); !errors.Is(err, data.ErrNoPart) {
			continue // that it cannot be read is told where it is needed
		}
		if _, err := r.OpenOwn(name, "test"); err != nil {
			continue
		}
		if set.Splits == nil {
			set.Splits = map[string]string{}
		}
		set.Splits["val"] = cmp.Or(set.Splits["test"], "test")
		if n := set.Parts["test"]; n > 0 && set.Parts["val"] == 0 {
			set.Parts["val"] = n
		}
		r.Display.Logf("data set %s has no val part: its test part is scored in its place", name)
		clear(r.prints)
	}
}
