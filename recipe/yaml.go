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
	"github.com/goccy/go-yaml/parser"
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

// Parse reads a recipe. A key that no field has is an error with its line and the nearest valid name.
func Parse(b []byte) (*Recipe, error) {
	r := defaults()
	if err := yaml.UnmarshalWithOptions(b, r, yaml.Strict()); err != nil {
		return nil, explain(err)
	}
	for name, s := range r.Data {
		if s == nil {
			return nil, fmt.Errorf("data.%s is empty", name)
		}
	}
	return r, nil
}

func decodeNode(n ast.Node, to any) error { return explain(yaml.NodeToValue(n, to, yaml.Strict())) }

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
// on inside what that stage does.
func (r *Recipe) set(setting string) error {
	key, value, ok := strings.Cut(setting, "=")
	if !ok {
		return errors.New("write key=value")
	}
	parts := strings.Split(key, ".")
	var to any = r
	var with *ast.Node
	if s := r.stage(parts[0]); s != nil && len(parts) > 1 {
		parts = parts[1:]
		switch {
		case s.Train != nil:
			to, with = s.Train, &s.Train.With
		case s.Label != nil:
			to = s.Label
		case s.Score != nil:
			to = s.Score
		case s.Transfer != nil:
			to, with = s.Transfer, &s.Transfer.With
		case s.Show != nil:
			to = s.Show
		}
	}
	if with != nil && parts[0] == "with" {
		return setWith(with, parts[1:], value)
	}
	if to == any(r) && parts[0] == "data" && len(parts) > 2 {
		set := r.Data[parts[1]]
		if set == nil {
			return fmt.Errorf("no data set %q%s", parts[1], suggest(parts[1], keys(r.Data)))
		}
		to, parts = set, parts[2:]
	}
	n, err := nest(parts, value)
	if err != nil {
		return err
	}
	return decodeNode(n, to)
}

// setWith changes one value of a "with" and keeps its others.
func setWith(with *ast.Node, parts []string, value string) error {
	n, err := nest(parts, value)
	if err != nil {
		return err
	}
	if *with == nil {
		*with = n
		return nil
	}
	old, ok := (*with).(*ast.MappingNode)
	if !ok {
		return errors.New("with is not a list of keys")
	}
	added := n.(*ast.MappingNode).Values[0]
	at := slices.IndexFunc(old.Values, func(v *ast.MappingValueNode) bool { return v.Key.String() == added.Key.String() })
	if at >= 0 && len(parts) == 1 {
		old.Values[at] = added
	} else if at >= 0 {
		return setWith(&old.Values[at].Value, parts[1:], value)
	} else {
		old.Values = append(old.Values, added)
	}
	return nil
}

// nest parses {a: {b: value}} for the path a.b.
func nest(parts []string, value string) (ast.Node, error) {
	text := value
	for _, p := range slices.Backward(parts) {
		text = "{" + p + ": " + text + "}"
	}
	f, err := parser.ParseBytes([]byte(text), 0)
	if err != nil || len(f.Docs) != 1 {
		return nil, fmt.Errorf("%q is no value: %w", value, err)
	}
	return f.Docs[0].Body, nil
}
