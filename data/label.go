package data

import (
	"cmp"
	"fmt"
	"image"
	"iter"
	"maps"
	"slices"
	"strings"
)

// A Label is what is known of one task about an image, in the pixel frame of that image. Each task's
// folder has its type; everything else knows a label by this interface only. A label is never changed
// once another goroutine may see it: its methods return new ones, which may share what is the same.
type Label interface {
	// Task is the task that the label is for; see [TaskOf] for those that name a teacher too.
	Task() string

	// Move returns the label of the view of the image that p makes; nil where nothing is known of it.
	Move(p Placement) Label

	// Restore returns the label, in the frame of a network's input, as one of the image at w×h pixels.
	Restore(f Frame, w, h int) Label

	// Fill adds what the label does not know from a pseudo label of the same image, where unknown lists the
	// classes that labels of the set do not tell of. What is known stays.
	Fill(pseudo Label, unknown []int) Label

	// Lack reduces a pseudo label to what known, the label of a set of the meaning m, lacks and Fill would
	// add; nil for nothing.
	Lack(known Label, m Meaning) Label

	// Remap returns the label in the terms of another list of classes, where unknown are those of it that
	// the set does not tell of; nil where it says nothing any more.
	Remap(m Mapping, unknown []int) Label

	// Check tells what is wrong with the label of an image of a size, in a set of the meaning m.
	Check(m Meaning, size image.Point) error
}

// A LabelSet holds at most one label of each task. Nothing in it is changed in place.
type LabelSet []Label

// Know returns a set of labels; nil ones are left out.
func Know(labels ...Label) LabelSet {
	var set LabelSet
	for _, l := range labels {
		if l != nil {
			set = set.with(l)
		}
	}
	return set
}

// Of returns the label of a task, nil where there is none.
func (s LabelSet) Of(task string) Label {
	for _, l := range s {
		if l.Task() == task {
			return l
		}
	}
	return nil
}

func (s LabelSet) with(l Label) LabelSet {
	at, found := slices.BinarySearchFunc(s, l, func(a, b Label) int { return byOrder(a.Task(), b.Task()) })
	out := slices.Clone(s)
	if found {
		out[at] = l
		return out
	}
	return slices.Insert(out, at, l)
}

func (s LabelSet) without(task string) LabelSet {
	if s.Of(task) == nil {
		return s
	}
	return slices.DeleteFunc(slices.Clone(s), func(l Label) bool { return l.Task() == task })
}

// A Kind says of a task what holds for all its labels.
type Kind struct {
	Task  string
	Order int // where it stands when tasks are listed

	// Classes says that its values are classes, which can be mapped to those of others.
	Classes bool

	// Whole tasks have one class for an image: a class that is known is all there is to know.
	Whole bool

	// Masks says that its objects can carry masks.
	Masks bool

	// Conflict tells why two meanings do not go together, beyond other classes; nil: units must agree.
	Conflict func(a, b Meaning) error
}

var kinds = map[string]Kind{}

// Register makes a task known. Each task's folder calls it when the program starts.
func Register(k Kind) {
	if _, twice := kinds[k.Task]; twice {
		panic(fmt.Sprintf("data: task %s is registered twice", k.Task))
	}
	kinds[k.Task] = k
}

// Tasks lists all tasks in the order in which they are always shown.
func Tasks() []string {
	return Ordered(maps.Keys(kinds))
}

// Ordered returns names of tasks in the order in which they are always shown.
func Ordered(names iter.Seq[string]) []string { return slices.SortedFunc(names, byOrder) }

// ClassTasks lists those whose values are classes.
func ClassTasks() []string {
	return slices.DeleteFunc(Tasks(), func(name string) bool { return !kinds[name].Classes })
}

// TaskOf returns the registered name of a task: of "features.vit" it is "features", since a task may
// have several teachers side by side, whose labels then carry their teacher's name after a dot.
func TaskOf(task string) string {
	name, _, _ := strings.Cut(task, ".")
	return name
}

// byOrder compares tasks by where they stand, those of one name by all of it.
func byOrder(a, b string) int {
	return cmp.Or(cmp.Compare(kinds[TaskOf(a)].Order, kinds[TaskOf(b)].Order), cmp.Compare(a, b))
}
