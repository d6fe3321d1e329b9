package detection

import (
	"testing"

	"must/data"
	"must/task"
)

// What is predicted of classes that the truth does not tell of is neither right nor wrong.
func TestUnknownClassesDoNotCount(t *testing.T) {
	box := data.Box{X1: 10, Y1: 10}
	truth := NewPartial([]data.Object{{Box: box, Score: 1}}, []int{1})
	pred := New([]data.Object{{Box: box, Score: 0.9}, {Box: box, Class: 1, Score: 0.95}})
	two := data.Meaning{Classes: []string{"a", "b"}}
	voc := two
	voc.Protocol = "voc"
	for _, m := range []task.Metric{Task.Metric(two, two), Task.Metric(two, voc), Task.Quality(two, two, 0.5)} {
		if err := m.Add(truth, pred); err != nil {
			t.Fatal(err)
		}
		if v := m.Values()[0]; v.Value < 1-1e-9 {
			t.Errorf("%T: %+v", m, v)
		}
	}
}
