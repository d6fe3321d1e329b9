package data

// ClassTasks are those whose labels are classes.
var ClassTasks = []string{Classification, Detection, Segmentation}

// Classes returns the names of a task's classes; nil for a task without.
func (l Labels) Classes(task string) []string {
	switch task {
	case Classification:
		return l.Classification
	case Detection:
		return l.Detection
	case Segmentation:
		return l.Segmentation
	}
	return nil
}
