package label

import (
	"fmt"
	"strings"

	"must/label/shards"
	"must/task/registry"
)

// A Health tells of the labels that a teacher gave a set for one task what can be told without the truth.
type Health struct {
	Task, Teacher string
	Threshold     float64
	Unit          string // of Labels, "" where every image has one
	Images        int    // that carry a label
	Without       int    // that carry none: true labels were there, or nothing was sure enough
	Labels        int    // in all
	Empty         int    // images whose label holds nothing
	Classes       int    // that the teacher knows, 0 for a task without
	Never         []string
}

// HealthOf tells of the finished labels in dir, by task.
func HealthOf(dir string) ([]Health, error) {
	s, err := shards.Open(dir)
	if err != nil {
		return nil, err
	}
	t, err := s.Totals()
	if err != nil {
		return nil, err
	}
	return health(s.Index().Provenance, t), nil
}

func health(p shards.Provenance, t shards.Totals) (all []Health) {
	for _, name := range p.Labels().Tasks() {
		task, c := p.Tasks[name], t.Tasks[name]
		h := Health{
			Task: name, Teacher: task.Teacher, Threshold: task.Threshold,
			Images: c.Images, Without: t.Images - c.Images, Labels: c.Labels, Empty: c.Empty,
		}
		if c.Labels != c.Images || c.Empty > 0 {
			h.Unit = registry.Get(name).Unit()
		}
		if len(c.Shown) == len(task.Classes) {
			h.Classes = len(task.Classes)
			for k, n := range c.Shown {
				if n == 0 {
					h.Never = append(h.Never, task.Classes[k])
				}
			}
		}
		all = append(all, h)
	}
	return all
}

// named is how many classes are called by name where many are meant.
const named = 5

// String says it in a line, such as "2.4 objects an image, 12 of 300 images without any; 3 of 20 classes never seen: bus, cow, tv".
func (h Health) String() string {
	var words []string
	if h.Unit != "" && h.Images > 0 {
		mean := fmt.Sprintf("%.1f", float64(h.Labels)/float64(h.Images))
		if h.Labels >= 100*h.Images {
			mean = fmt.Sprint(h.Labels / h.Images)
		}
		words = append(words, fmt.Sprintf("%s %s an image, %d of %d images without any", mean, h.Unit, h.Empty, h.Images))
	} else {
		words = append(words, fmt.Sprintf("%d images labelled", h.Images))
	}
	if h.Without > 0 && h.Threshold > 0 && h.Unit == "" {
		words = append(words, fmt.Sprintf("%d below the threshold of %g", h.Without, h.Threshold))
	}
	if n := len(h.Never); n > 0 {
		list := strings.Join(h.Never[:min(n, named)], ", ")
		if n > named {
			list += fmt.Sprintf(" and %d more", n-named)
		}
		words = append(words, fmt.Sprintf("%d of %d classes never seen: %s", n, h.Classes, list))
	} else if h.Classes > 0 {
		words = append(words, fmt.Sprintf("all %d classes seen", h.Classes))
	}
	return strings.Join(words, "; ")
}

// warning tells of labels that are hardly any, "" where there is nothing to warn of.
func (h Health) warning() string {
	switch all := h.Images + h.Without; {
	case all == 0:
		return ""
	case h.Images == 0 && h.Threshold > 0, h.Images > 0 && h.Labels == 0:
		return fmt.Sprintf("warning: the teacher %s finds nothing for %s in any of %d images: is it the right one, are its classes, its threshold (%v)?", h.Teacher, h.Task, max(h.Images, h.Without), h.Threshold)
	case 10*h.Empty > 9*h.Images:
		return fmt.Sprintf("warning: the teacher %s finds nothing for %s in %d of %d images", h.Teacher, h.Task, h.Empty, h.Images)
	}
	return ""
}
