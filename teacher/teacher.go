// Package teacher opens what labels images: our own networks from their checkpoints, and models of
// other programs by the declaration of them, in a recipe or in a .teacher.yaml file.
package teacher

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"must/data"
	"must/export"
	"must/label"
	"must/onnx"
	"must/strict"
	"must/torch"
)

// Suffix ends the name of a file that declares an external teacher.
const Suffix = ".teacher.yaml"

// IsDeclaration reports whether a file is one that declares an external teacher, by its name.
func IsDeclaration(path string) bool { return strings.HasSuffix(path, Suffix) }

// Declaration reads a file that declares an external teacher, and returns the folder that the files
// named in it are relative to.
func Declaration(path string) (d *onnx.Declaration, dir string, err error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, "", err
	}
	if d, err = Parse(b); err != nil {
		return nil, "", fmt.Errorf("teacher %s: %w", path, err)
	}
	return d, filepath.Dir(path), nil
}

// Parse reads the text of a declaration. A key that there is not is an error with its line.
func Parse(b []byte) (*onnx.Declaration, error) {
	root, err := strict.Parse(b, "a teacher")
	if err != nil {
		return nil, err
	}
	d := &onnx.Declaration{}
	if err := strict.Decode(root, d); err != nil {
		return nil, err
	}
	return d, d.Check()
}

// External opens a declared model; dir is what its files are relative to. Where classes are given its
// own are mapped to them. The caller frees it.
func External(name string, d *onnx.Declaration, dir string, classes []string) (t label.Teacher, err error) {
	info, err := torch.Describe()
	if err != nil {
		return t, err
	}
	if d.Exported {
		m, err := export.Open(d.Path(dir), info.Threads)
		if err != nil {
			return t, fmt.Errorf("teacher %s: %w", name, err)
		}
		return label.Teacher{Net: m, Path: name, Hash: m.SHA256, Tasks: m.Tasks()}, nil
	}
	m, err := onnx.Open(*d, onnx.Options{Dir: dir, Threads: info.Threads, Space: classes})
	if err != nil {
		return t, fmt.Errorf("teacher %s: %w", name, err)
	}
	return label.Teacher{Net: m, Path: name, Hash: m.SHA256, Tasks: []string{m.Task()}}, nil
}

// Try has an external teacher label a grey image.
func Try(t label.Teacher) error { return t.Net.(interface{ Try() error }).Try() }

// An Engine says by what networks of ours are run: one of [export.Engines], "" for libtorch. Log hears
// what was chosen.
type Engine struct {
	Name string
	Log  func(format string, args ...any)
}

// Checkpoint opens a network of ours. The caller frees it in torch.Do.
func Checkpoint(path string, e Engine) (label.Teacher, error) {
	n, err := export.Run(path, e.Name, e.Log)
	if err != nil {
		return label.Teacher{}, err
	}
	return label.Teacher{Net: n.Predictor, Path: path, Hash: n.SHA256, Tasks: n.Tasks}, nil
}

// Open opens a checkpoint, or an external teacher from the file that declares it, the latter's classes
// mapped to those of l, where it has some. The caller frees it in torch.Do.
func Open(path string, l data.Labels, e Engine) (label.Teacher, error) {
	switch {
	case strings.HasSuffix(path, ".onnx"):
		return label.Teacher{}, fmt.Errorf("%s: an ONNX model is opened by the %s file that declares it; must export writes one beside it, docs/onnx.md says how to write one", path, Suffix)
	case !IsDeclaration(path):
		return Checkpoint(path, e)
	}
	d, dir, err := Declaration(path)
	if err != nil {
		return label.Teacher{}, err
	}
	return External(path, d, dir, l[d.Task].Classes)
}

// OpenAll opens several, or none where one of them cannot be.
func OpenAll(paths []string, l data.Labels, e Engine) ([]label.Teacher, error) {
	var teachers []label.Teacher
	for _, path := range paths {
		t, err := Open(path, l, e)
		if err != nil {
			Free(teachers)
			return nil, err
		}
		teachers = append(teachers, t)
	}
	return teachers, nil
}

// Free releases teachers.
func Free(teachers []label.Teacher) {
	torch.Do(func() {
		for _, t := range teachers {
			t.Net.Free()
		}
	})
}
