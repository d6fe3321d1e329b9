package recipe

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"must/data"
	"must/label"
	"must/onnx"
	"must/task"
	"must/torch"
	"must/yamlfile"
)

// teacherSuffix ends the name of a file that declares a teacher.
const teacherSuffix = ".teacher.yaml"

// foreign returns the declaration of a teacher that is no network of ours, and the folder that its
// files are relative to: one of the recipe's teachers, or of a file. It is nil for others.
func (r *Recipe) foreign(name string) (d *onnx.Declaration, dir string, err error) {
	if d := r.Foreign[name]; d != nil {
		return d, "", nil
	}
	if !strings.HasSuffix(name, teacherSuffix) {
		return nil, "", nil
	}
	b, err := os.ReadFile(name)
	if err != nil {
		return nil, "", err
	}
	if d, err = parseTeacher(b); err != nil {
		return nil, "", fmt.Errorf("teacher %s: %w", name, err)
	}
	return d, filepath.Dir(name), nil
}

// parseTeacher reads a file that declares a teacher. A key that there is not is an error with its line.
func parseTeacher(b []byte) (*onnx.Declaration, error) {
	root, err := yamlfile.ParseMapping(b, "a teacher")
	if err != nil {
		return nil, err
	}
	d := &onnx.Declaration{}
	if err := decodeNode(root, d); err != nil {
		return nil, err
	}
	return d, d.Check()
}

// isForeign reports whether a name is that of a declared teacher or of a file that declares one.
func (r *Recipe) isForeign(name string) bool {
	return r.Foreign[name] != nil || strings.HasSuffix(name, teacherSuffix)
}

// checkForeign checks the teachers that the recipe declares.
func (r *Recipe) checkForeign() error {
	for _, name := range keys(r.Foreign) {
		d := r.Foreign[name]
		switch {
		case d == nil:
			return fmt.Errorf("teachers.%s is empty", name)
		case !plain(name):
			return fmt.Errorf("teachers: %q must be a plain word", name)
		case r.stage(name) != nil:
			return fmt.Errorf("teachers.%s: a stage is called so too", name)
		}
		if err := d.Check(); err != nil {
			return fmt.Errorf("teachers.%s: %w", name, err)
		}
	}
	return nil
}

// foreignKey is what the labels of a foreign teacher depend on.
func (r *Recipe) foreignKey(name string) []any {
	d, dir, err := r.foreign(name)
	if err != nil {
		return []any{name, err.Error()}
	}
	own := *d
	hash, err := d.Hash(dir)
	if err == nil {
		err = own.Classes.Read(dir)
	}
	if err != nil {
		hash = err.Error()
	}
	return []any{name, own, hash}
}

// openForeign opens a foreign teacher, its classes mapped to the recipe's. The caller frees it.
func (r *Runner) openForeign(name string) (*onnx.Teacher, error) {
	d, dir, err := r.foreign(name)
	if err != nil {
		return nil, err
	}
	space, err := r.classes(d.Task)
	if err != nil {
		return nil, err
	}
	info, err := torch.Describe()
	if err != nil {
		return nil, err
	}
	t, err := onnx.Open(*d, onnx.Options{Dir: dir, Threads: info.Threads, Space: space})
	if err != nil {
		return nil, fmt.Errorf("teacher %s: %w", name, err)
	}
	return t, nil
}

// foreignTeacher opens a foreign teacher to label with.
func (r *Runner) foreignTeacher(name string) (label.Teacher, error) {
	t, err := r.openForeign(name)
	if err != nil {
		return label.Teacher{}, err
	}
	return label.Teacher{Net: t, Path: name, Hash: t.SHA256, Tasks: []string{t.Task()}}, nil
}

// OpenTeachers loads networks from checkpoint files and teachers of others from the files that declare
// them, the latter's classes mapped to those of l, where it has some. The caller frees them in torch.Do.
func OpenTeachers(files []string, l data.Labels) ([]label.Teacher, error) {
	r := &Runner{Recipe: &Recipe{Spaces: map[string]*Space{}}}
	for _, name := range spaceTasks {
		if classes := classNames(l, name); classes != nil {
			r.Spaces[name] = &Space{Classes: classes}
		}
	}
	return r.Teachers(files)
}

// A foreignSurvey is what a dry run finds out about a foreign teacher.
type foreignSurvey struct {
	spec    task.Spec // only what it knows
	seconds float64   // per image
}

// surveyForeign opens a foreign teacher and measures it on an image.
func (v *surveyor) surveyForeign(name string) (foreignSurvey, error) {
	if s, ok := v.foreigners[name]; ok {
		return s, nil
	}
	t, err := v.openForeign(name)
	if err != nil {
		return foreignSurvey{}, err
	}
	defer t.Free()
	s := foreignSurvey{spec: task.Spec{Tasks: []string{t.Task()}, Labels: t.Knows()}}
	began := time.Now()
	if err := t.Try(); err != nil {
		return s, err
	}
	s.seconds = time.Since(began).Seconds()
	v.foreigners[name] = s
	return s, nil
}
