package recipe

import (
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"reflect"
	"slices"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"

	"must/yamlfile"
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

// Parse reads a recipe and applies settings, see [Load]. A key that no field has is an error with its
// line and the nearest valid name.
func Parse(b []byte, settings ...string) (*Recipe, error) {
	root, err := yamlfile.ParseMapping(b, "a recipe")
	if err != nil {
		return nil, err
	}
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
	return r, nil
}

func decode(root ast.Node) (*Recipe, error) {
	r := defaults()
	if err := decodeNode(root, r); err != nil {
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
func (r *Recipe) Text() ([]byte, error) {
	return yaml.Marshal(r)
}

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

// apply replaces what is changed in a value; nil changes nothing.
func (c *Changes) apply(to any) error {
	if c == nil {
		return nil
	}
	return decodeNode(c.node, to)
}

func decodeNode(n ast.Node, to any) error { return explain(yamlfile.Decode(n, to, yaml.Strict())) }

// explain adds the nearest valid key to an error about an unknown one.
func explain(err error) error {
	var unknown *yaml.UnknownFieldError
	if !errors.As(err, &unknown) {
		return err
	}
	key := unknown.GetToken().Value
	return fmt.Errorf("%w\n%s", err, strings.TrimPrefix(suggest(key, validKeys), "; "))
}

// validKeys are the keys of all levels of a recipe.
var validKeys = fieldKeys(reflect.TypeFor[Recipe](), map[reflect.Type]bool{})

// ownKeys are those of the outermost level.
var ownKeys = func() (names []string) {
	t := reflect.TypeFor[Recipe]()
	for i := range t.NumField() {
		name, _, _ := strings.Cut(t.Field(i).Tag.Get("yaml"), ",")
		names = append(names, name)
	}
	return names
}()

func fieldKeys(t reflect.Type, seen map[reflect.Type]bool) []string {
	switch t.Kind() {
	case reflect.Pointer, reflect.Slice, reflect.Map:
		return fieldKeys(t.Elem(), seen)
	}
	if t.Kind() != reflect.Struct || seen[t] {
		return nil
	}
	seen[t] = true
	var names []string
	for i := range t.NumField() {
		f := t.Field(i)
		if name, _, _ := strings.Cut(f.Tag.Get("yaml"), ","); name != "" && name != "-" {
			names = append(names, name)
		}
		names = append(names, fieldKeys(f.Type, seen)...)
	}
	return names
}

// suggest names the candidate nearest to a word, if one is near.
func suggest(word string, candidates []string) string {
	best, at := len(word)/2+1, ""
	for _, c := range candidates {
		if d := distance(word, c); d < best {
			best, at = d, c
		}
	}
	if at == "" {
		if len(candidates) == 0 || len(candidates) > 12 {
			return ""
		}
		return "; there are " + strings.Join(candidates, ", ")
	}
	return fmt.Sprintf("; did you mean %q?", at)
}

// distance is Levenshtein's.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost++
			}
			diagonal = row[j+1]
			row[j+1] = min(cost, row[j]+1, diagonal+1)
		}
	}
	return row[len(b)]
}

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
		for _, kind := range []string{"show", "train", "label", "score", "probe", "transfer"} {
			if does, ok := child(stage, kind).(*ast.MappingNode); ok {
				return does
			}
		}
	}
	return nil
}

// child returns the value of a key, nil where it is absent.
func child(m *ast.MappingNode, key string) ast.Node {
	for _, v := range m.Values {
		if v.Key.GetToken().Value == key {
			return v.Value
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
	added := n.(*ast.MappingNode).Values[0]
	for i, v := range m.Values {
		if v.Key.GetToken().Value == keys[0] {
			m.Values[i] = added
			return nil
		}
	}
	m.Values = append(m.Values, added)
	return nil
}

// nest parses {a: {b: value}} for the path a.b.
func nest(parts []string, value string) (ast.Node, error) {
	text := value
	for _, p := range slices.Backward(parts) {
		text = "{" + p + ": " + text + "}"
	}
	root, err := yamlfile.Parse([]byte(text), "a setting")
	if err != nil {
		return nil, fmt.Errorf("%q is no value: %w", value, err)
	}
	return root, nil
}
