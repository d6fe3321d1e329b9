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
func Decode(n ast.Node, to any) error { return DecodeAmong(n, to, Keys(reflect.TypeOf(to))) }

// DecodeAmong is Decode of what is a part of a mapping with such keys: one that is not known may mean any
// of them.
func DecodeAmong(n ast.Node, to any, keys []string) error {
	err := yamlfile.Decode(n, to, yaml.Strict())
	if _, ok := errors.AsType[*explained](err); ok { // by the decoding of an inner value
		return err
	}
	unknown, ok := errors.AsType[*yaml.UnknownFieldError](err)
	if !ok {
		return err
	}
	key := unknown.GetToken().Value
	hint := strings.TrimPrefix(Suggest(key, keys), "; ")
	if now, ok := renamed[key]; ok && slices.Contains(keys, now) {
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

// Keys lists the keys of a type's fields and of all that lie in them; a method FileKeys lists those of a type
// that reads itself.
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
	if k, ok := reflect.Zero(t).Interface().(interface{ FileKeys() []string }); ok { // what a type reads by itself
		return k.FileKeys()
	}
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

// Part fills a value with those keys of a mapping that its fields have, and returns the others: to read
// what several structs have part in.
func Part(n ast.Node, to any) (rest ast.Node, err error) {
	m, ok := n.(*ast.MappingNode)
	if !ok {
		return nil, fmt.Errorf("line %d: it must be keys and values, as in {key: value}", n.GetToken().Position.Line)
	}
	own, others := *m, *m
	own.Values, others.Values = nil, nil
	for _, v := range m.Values {
		if slices.Contains(ownKeys(reflect.TypeOf(to).Elem()), v.Key.GetToken().Value) {
			own.Values = append(own.Values, v)
		} else {
			others.Values = append(others.Values, v)
		}
	}
	return &others, Decode(&own, to)
}

// Unknown lists the keys of a mapping that no field of a value has.
func Unknown(n ast.Node, to any) (keys []string) {
	m, _ := n.(*ast.MappingNode)
	if m == nil {
		return nil
	}
	for _, v := range m.Values {
		if key := v.Key.GetToken().Value; !slices.Contains(ownKeys(reflect.TypeOf(to).Elem()), key) {
			keys = append(keys, key)
		}
	}
	return keys
}

// ownKeys lists the keys of a struct's fields, not of what lies in them.
func ownKeys(t reflect.Type) (names []string) {
	for i := range t.NumField() {
		if name, _, _ := strings.Cut(t.Field(i).Tag.Get("yaml"), ","); name != "" && name != "-" {
			names = append(names, name)
		}
	}
	return names
}

// Join writes several structs as one mapping.
func Join(parts ...any) (yaml.MapSlice, error) {
	var all yaml.MapSlice
	for _, p := range parts {
		b, err := yaml.Marshal(p)
		if err != nil {
			return nil, err
		}
		var m yaml.MapSlice
		if err := yaml.UnmarshalWithOptions(b, &m, yaml.UseOrderedMap()); err != nil {
			return nil, err
		}
		all = append(all, m...)
	}
	return all, nil
}
