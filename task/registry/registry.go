// Package registry is the registry of tasks: a line for each.
package registry

import (
	"fmt"
	"slices"
	"strings"

	"must/data"
	"must/task"
	"must/task/classification"
	"must/task/depth"
	"must/task/detection"
	"must/task/features"
	"must/task/normals"
	"must/task/segmentation"
)

var tasks = []task.Task{
	classification.Task,
	detection.Task,
	segmentation.Task,
	depth.Task,
	normals.Task,
	features.Task,
}

// Has reports whether there is such a task.
func Has(name string) bool {
	return slices.ContainsFunc(tasks, func(t task.Task) bool { return t.Name() == data.TaskOf(name) })
}

// Get returns a task, by its name or by one that names a teacher too; see [data.TaskOf]. Names come
// checked by Has: it panics where there is none.
func Get(name string) task.Task {
	for _, t := range tasks {
		if t.Name() == data.TaskOf(name) {
			return t
		}
	}
	panic("no task " + name)
}

// Blends reports whether labels of all of some tasks can be blended.
func Blends(names []string) bool {
	return len(names) > 0 && !slices.ContainsFunc(names, func(name string) bool {
		_, ok := Get(name).(task.Blended)
		return !ok
	})
}

// Pseudo makes a pseudo label of what s has of a task, as [task.Task].Pseudo does; where that is nothing s no longer
// knows of the task.
func Pseudo(s *data.Sample, name string, threshold float64) {
	if l := Get(name).Pseudo(s.Label(name), threshold); l != nil {
		s.Put(l)
	} else {
		s.Forget(name)
	}
}

// Aligned lists the tasks whose metric brings units of unknown scale to those of the truth.
func Aligned() (names []string) {
	for _, t := range tasks {
		if t.Aligns() {
			names = append(names, t.Name())
		}
	}
	return names
}

// OutputOf tells which task gives an output of an exported graph, "" if none does.
func OutputOf(output string) string {
	for _, t := range tasks {
		if slices.Contains(t.Outputs(), output) {
			return t.Name()
		}
	}
	if Has(output) {
		return output // called as its task
	}
	return ""
}

// Protocols lists the published ways of scoring a set that differ from a task's usual one.
func Protocols() (names []string) {
	for _, t := range tasks {
		names = append(names, t.Protocols()...)
	}
	slices.Sort(names)
	return names
}

// CheckProtocol refuses a name that is none of Protocols, or one for a task that the set has no labels
// for. "" is the usual way.
func CheckProtocol(name string, l data.Labels) error {
	if name == "" {
		return nil
	}
	for _, t := range tasks {
		if !slices.Contains(t.Protocols(), name) {
			continue
		}
		if !l.Has(t.Name()) {
			return fmt.Errorf("metric %s is for %s, which the set has no labels for", name, t.Name())
		}
		return nil
	}
	return fmt.Errorf("metric is %q, want one of %s", name, strings.Join(Protocols(), ", "))
}
