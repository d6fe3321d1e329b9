package recipe

import (
	"fmt"
	"reflect"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"

	"must/strict"
)

// A Stage does one thing: its kind's, with the keys that it has under the kind's name.
type Stage struct {
	Name string
	Kind string // one of the registered; in a file that says otherwise all that it says, or ""
	Keys any    // a pointer of the type registered for the kind
}

// kinds are those that stages can have.
var kinds []kind

type kind struct {
	name string
	keys reflect.Type // a struct
}

// Register adds a kind of stage; keys is a pointer to a struct of its keys. Package stage has the table.
func Register(name string, keys any) {
	kinds = append(kinds, kind{name, reflect.TypeOf(keys).Elem()})
}

// Kinds lists the names of the kinds.
func Kinds() (names []string) {
	for _, k := range kinds {
		names = append(names, k.name)
	}
	return names
}

// entry is a stage as it stands in the file: a name and one field for each kind.
func entry() reflect.Type {
	fields := []reflect.StructField{{Name: "Name", Type: reflect.TypeFor[string](), Tag: `yaml:"name"`}}
	for _, k := range kinds {
		fields = append(fields, reflect.StructField{
			Name: strings.ToUpper(k.name[:1]) + k.name[1:], Type: reflect.PointerTo(k.keys), Tag: reflect.StructTag(fmt.Sprintf("yaml:%q", k.name)),
		})
	}
	return reflect.StructOf(fields)
}

// UnmarshalYAML reads a name and what stands under a kind's.
func (s *Stage) UnmarshalYAML(n ast.Node) error {
	e := reflect.New(entry())
	if err := strict.Decode(n, e.Interface()); err != nil {
		return err
	}
	*s = Stage{Name: e.Elem().Field(0).String()}
	var found []string
	for i, k := range kinds {
		if v := e.Elem().Field(i + 1); !v.IsNil() {
			found = append(found, k.name)
			s.Keys = v.Interface()
		}
	}
	s.Kind = strings.Join(found, " and ")
	return nil
}

// MarshalYAML writes what UnmarshalYAML reads.
func (s *Stage) MarshalYAML() (any, error) {
	return yaml.MapSlice{{Key: "name", Value: s.Name}, {Key: s.Kind, Value: s.Keys}}, nil
}

// Stage returns the stage of a name; nil where there is none.
func (r *Recipe) Stage(name string) *Stage {
	for _, s := range r.Stages {
		if s.Name == name {
			return s
		}
	}
	return nil
}
