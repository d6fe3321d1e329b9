package recipe

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/goccy/go-yaml/ast"

	"must/strict"
)

// mostBases is how many recipes may extend each other in a row.
const mostBases = 8

// extended parses a recipe and merges it into the one that its base names, a file relative to it or an
// embedded recipe: maps key by key, everything else is replaced. above are the recipes that extend it.
func extended(name string, above []string) (*ast.MappingNode, error) {
	b, err := Text(name)
	folder, inside := "", err == nil
	if !inside {
		if b, err = os.ReadFile(name); err != nil {
			return nil, fmt.Errorf("%w; embedded ones are %s", err, strings.Join(Embedded(), ", "))
		}
		folder = filepath.Dir(name)
	}
	root, err := strict.Parse(b, "a recipe")
	if err != nil {
		return nil, err
	}
	node := child(root, "base")
	if node == nil {
		return root, nil
	}
	var base string
	if err := strict.Decode(node, &base); err != nil {
		return nil, fmt.Errorf("base: %w", err)
	}
	root.Values = slices.DeleteFunc(root.Values, func(v *ast.MappingValueNode) bool { return v.Value == node })
	if _, err := Text(base); err != nil {
		if inside || filepath.IsAbs(base) {
			return nil, fmt.Errorf("base is %q; it is the name of an embedded recipe (%s) or of a file relative to this one", base, strings.Join(Embedded(), ", "))
		}
		base = filepath.Join(folder, base)
	}
	above = append(slices.Clone(above), name)
	switch {
	case slices.Contains(above, base):
		return nil, fmt.Errorf("base: it extends itself: %s", strings.Join(append(above, base), " → "))
	case len(above) > mostBases:
		return nil, fmt.Errorf("base: %d recipes extend each other in a row, more than %d: %s", len(above), mostBases, strings.Join(above, " → "))
	}
	below, err := extended(base, above)
	if err == nil {
		_, err = decode(below)
	}
	if err != nil {
		return nil, fmt.Errorf("base %s: %w", base, err)
	}
	if _, err := decode(root); err != nil {
		return nil, err
	}
	merge(below, root)
	return below, nil
}

// merge puts the values of one mapping into another.
func merge(into, from *ast.MappingNode) {
	for _, v := range from.Values {
		at := slices.IndexFunc(into.Values, func(x *ast.MappingValueNode) bool { return key(x) == key(v) })
		if at < 0 {
			into.Values = append(into.Values, v)
			continue
		}
		inner, ok := into.Values[at].Value.(*ast.MappingNode)
		if own, both := v.Value.(*ast.MappingNode); ok && both {
			merge(inner, own)
			continue
		}
		into.Values[at] = v
	}
}

func key(v *ast.MappingValueNode) string { return v.Key.GetToken().Value }

// child returns the value of a key, nil where it is absent.
func child(m *ast.MappingNode, name string) ast.Node {
	for _, v := range m.Values {
		if key(v) == name {
			return v.Value
		}
	}
	return nil
}
