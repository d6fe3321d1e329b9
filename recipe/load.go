package recipe

import (
	"embed"
	"fmt"
	"io/fs"
	"path"
	"reflect"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"

	"must/strict"
)

//go:embed recipes
var embedded embed.FS

// Embedded lists the recipes inside the program.
func Embedded() []string {
	var names []string
	files, _ := fs.Glob(embedded, "recipes/*.yaml")
	for _, f := range files {
		names = append(names, strings.TrimSuffix(path.Base(f), ".yaml"))
	}
	return names
}

// Text returns an embedded recipe as it is written.
func Text(name string) ([]byte, error) { return embedded.ReadFile("recipes/" + name + ".yaml") }

// Load reads a recipe file, or the embedded recipe of that name, with what it extends, and applies
// settings of the form key=value, such as train.lr=0.1 or student.with.epochs=3 (the latter by a
// stage's name). Its form is checked; what its stages say is for package stage to check.
func Load(path string, settings []string) (*Recipe, error) {
	r, err := load(path, settings)
	if err != nil {
		return nil, fmt.Errorf("recipe %s: %w", path, err)
	}
	return r, nil
}

func load(path string, settings []string) (*Recipe, error) {
	root, err := extended(path, nil)
	if err != nil {
		return nil, err
	}
	return read(root, settings)
}

// Parse reads the text of a recipe that extends none.
func Parse(b []byte, settings ...string) (*Recipe, error) {
	root, err := strict.Parse(b, "a recipe")
	if err != nil {
		return nil, err
	}
	if base := child(root, "base"); base != nil {
		return nil, fmt.Errorf("base is %s, but only a file can extend another", base)
	}
	return read(root, settings)
}

// read decodes a recipe, before and after each setting, so that what is wrong is told of where it comes
// from.
func read(root *ast.MappingNode, settings []string) (*Recipe, error) {
	r, err := decode(root)
	if err != nil {
		return nil, err
	}
	for _, s := range settings {
		if err = set(root, s); err == nil {
			r, err = decode(root)
		}
		if err != nil {
			return nil, fmt.Errorf("--set %s: %w", s, err)
		}
	}
	return r, r.check()
}

func decode(root ast.Node) (*Recipe, error) {
	r := Defaults()
	if err := strict.Decode(root, r); err != nil {
		return nil, err
	}
	for name, s := range r.Data {
		if s == nil {
			return nil, fmt.Errorf("data.%s is empty", name)
		}
	}
	for i, s := range r.Stages {
		if s == nil {
			return nil, fmt.Errorf("stage %d is empty", i+1)
		}
	}
	return r, nil
}

// Text returns the recipe as a file that Load reads.
func (r *Recipe) Text() ([]byte, error) { return yaml.Marshal(r) }

// Changes are settings that replace some of others, such as a stage's of the recipe's.
type Changes struct{ node ast.Node }

// UnmarshalYAML keeps the text until it is known what it changes.
func (c *Changes) UnmarshalYAML(n ast.Node) error {
	c.node = n
	return nil
}

// MarshalYAML returns the values: nodes from several texts, or from another depth, do not print well.
func (c *Changes) MarshalYAML() (any, error) {
	var m yaml.MapSlice
	return m, yaml.NodeToValue(c.node, &m)
}

// Apply replaces what is changed in a value; nil changes nothing.
func (c *Changes) Apply(to any) error {
	if c == nil {
		return nil
	}
	return strict.Decode(c.node, to)
}

// Keys lists the keys of all levels of a recipe.
func Keys() []string {
	return append(strict.Keys(reflect.TypeFor[Recipe]()), strict.Keys(entry())...)
}
