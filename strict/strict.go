// Package strict reads YAML in which every key has to be known: recipes and declarations of teachers.
// A key that no field has is an error with its line and the nearest one that there is.
package strict

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"

	"must/yamlfile"
)

// Parse parses a file that is one mapping; what says what such a file is, for people: "a recipe".
func Parse(b []byte, what string) (*ast.MappingNode, error) {
	return yamlfile.ParseMapping(b, what)
}

// renamed are keys of earlier versions, and what they are called now.
var renamed = map[string]string{"start": "from", "set": "subset", "text": "encoding", "images": "images_folder"}

// Decode fills a value from a node.
func Decode(n ast.Node, to any) error {
	err := yamlfile.Decode(n, to, yaml.Strict())
	if _, ok := errors.AsType[*explained](err); ok { // by the decoding of an inner value
		return err
	}
	unknown, ok := errors.AsType[*yaml.UnknownFieldError](err)
	if !ok {
		return err
	}
	key := unknown.GetToken().Value
	hint := strings.TrimPrefix(Suggest(key, Keys(reflect.TypeOf(to))), "; ")
	if now, ok := renamed[key]; ok && slices.Contains(Keys(reflect.TypeOf(to)), now) {
		hint = fmt.Sprintf("%q is called %q now", key, now)
	}
	return &explained{err, hint}
}

// explained is an error about an unknown key, with the key that may be meant.
type explained struct {
	error
	hint string
}

func (e *explained) Error() string { return e.error.Error() + "\n" + e.hint }
func (e *explained) Unwrap() error { return e.error }

// Keys lists the keys of a type's fields and of all that lie in them.
func Keys(t reflect.Type) []string { return fieldKeys(t, map[reflect.Type]bool{}) }

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

// Suggest names the candidate nearest to a word, to end an error with; without a near one it lists
// them where they are few.
func Suggest(word string, candidates []string) string {
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
