package recipe

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"

	"github.com/goccy/go-yaml/ast"

	"must/yamlfile"
)

// ownKeys are those of the outermost level.
var ownKeys = func() (names []string) {
	t := reflect.TypeFor[Recipe]()
	for i := range t.NumField() {
		name, _, _ := strings.Cut(t.Field(i).Tag.Get("yaml"), ",")
		names = append(names, name)
	}
	return names
}()

// set applies one key=value. The key is a path of the recipe, or begins with a stage's name and goes
// on inside what that stage does. A key of the recipe wins over a stage of the same name.
func set(root *ast.MappingNode, setting string) error {
	path, value, ok := strings.Cut(setting, "=")
	if !ok || path == "" {
		return errors.New("write key=value")
	}
	keys := strings.Split(path, ".")
	if !slices.Contains(ownKeys, keys[0]) && len(keys) > 1 {
		if inside := stageNode(root, keys[0]); inside != nil {
			root, keys = inside, keys[1:]
		}
	}
	return put(root, keys, value)
}

// stageNode returns what the stage of a name does.
func stageNode(root *ast.MappingNode, name string) *ast.MappingNode {
	stages, _ := child(root, "stages").(*ast.SequenceNode)
	if stages == nil {
		return nil
	}
	for _, v := range stages.Values {
		stage, _ := v.(*ast.MappingNode)
		if stage == nil {
			continue
		}
		if n := child(stage, "name"); n == nil || n.GetToken().Value != name {
			continue
		}
		for _, kind := range kinds {
			if does, ok := child(stage, kind.name).(*ast.MappingNode); ok {
				return does
			}
		}
	}
	return nil
}

// put sets the value at a path and keeps everything beside it.
func put(m *ast.MappingNode, keys []string, value string) error {
	if inner, ok := child(m, keys[0]).(*ast.MappingNode); ok && len(keys) > 1 {
		return put(inner, keys[1:], value)
	}
	n, err := nest(keys, value)
	if err != nil {
		return err
	}
	for i, v := range m.Values {
		if key(v) == keys[0] {
			m.Values[i] = n
			return nil
		}
	}
	m.Values = append(m.Values, n)
	return nil
}

// nest parses {a: {b: value}} for the path a.b.
func nest(parts []string, value string) (*ast.MappingValueNode, error) {
	text := value
	for _, p := range slices.Backward(parts) {
		text = "{" + p + ": " + text + "}"
	}
	m, err := yamlfile.ParseMapping([]byte(text), "a setting")
	if err != nil {
		return nil, fmt.Errorf("%q is no value: %w", value, err)
	}
	return m.Values[0], nil
}
