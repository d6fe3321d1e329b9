// Package yamlfile reads YAML that others wrote: recipes, declarations of teachers, a data.yaml. Before the
// library parses a text, its size and nesting are bounded, before a value is filled so are the aliases;
// what panics in the library comes back as an error.
package yamlfile

import (
	"errors"
	"fmt"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
)

// Limits of a text. The library's time grows with the square of a block's keys and of its depth: these
// are what some seconds allow, and far above what people write.
const (
	maxBytes = 1 << 20
	maxLines = 20_000
	maxDepth = 100
	maxPairs = 1000    // colons and other signs within a line of block style
	maxNodes = 200_000 // with aliases filled in
)

// Parse reads the one document of a text. What names the kind of text for errors, such as "a recipe".
func Parse(text []byte, what string) (root ast.Node, err error) {
	if err := bounded(text); err != nil {
		return nil, err
	}
	var f *ast.File
	if err := caught(func() error { f, err = parser.ParseBytes(text, 0); return err }); err != nil {
		return nil, err
	}
	if len(f.Docs) == 0 || len(f.Docs) == 1 && f.Docs[0].Body == nil {
		return nil, fmt.Errorf("it is empty; %s is a list of keys and their values", what)
	}
	if len(f.Docs) != 1 {
		return nil, fmt.Errorf("%d documents in one file; %s is one", len(f.Docs), what)
	}
	root = f.Docs[0].Body
	w := weigher{anchors: map[string]int{}}
	if err := caught(func() error { _, err := w.weigh(root); return err }); err != nil {
		return nil, err
	}
	return root, nil
}

// ParseMapping is Parse for a text whose root must be keys and their values.
func ParseMapping(text []byte, what string) (*ast.MappingNode, error) {
	root, err := Parse(text, what)
	if err != nil {
		return nil, err
	}
	m, ok := root.(*ast.MappingNode)
	if !ok {
		return nil, fmt.Errorf("%s is a list of keys and their values, not a %s", what, strings.ToLower(root.Type().String()))
	}
	return m, nil
}

// Decode fills a value from a node of [Parse].
func Decode(n ast.Node, to any, options ...yaml.DecodeOption) error {
	return caught(func() error { return yaml.NodeToValue(n, to, options...) })
}

// Unmarshal fills a value from a text.
func Unmarshal(text []byte, to any, what string) error {
	root, err := Parse(text, what)
	if err != nil {
		return err
	}
	return Decode(root, to)
}

// caught runs f and returns what it panics with as an error.
func caught(f func() error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = errors.New("it is no YAML that can be read here; look for a value that is missing, or a sign such as !, & or * that needs quotes around the text that it begins")
		}
	}()
	return f()
}

// bounded refuses a text that is larger or nested deeper than anything people write.
func bounded(text []byte) error {
	if len(text) > maxBytes {
		return fmt.Errorf("%d bytes are too many; %d are allowed", len(text), maxBytes)
	}
	line, depth, pairs, column := 1, 0, 0, 0 // depth: of brackets
	indent := true                           // nothing but signs of structure so far in this line
	level := 0                               // how many of them
	for i := 0; i < len(text); i++ {
		c := text[i]
		column++
		switch c {
		case '\n':
			if line++; line > maxLines {
				return fmt.Errorf("more than %d lines are too many", maxLines)
			}
			pairs, column, indent, level = 0, 0, true, 0
			continue
		case '"', '\'': // up to its end, if it has one
			if i > 0 && strings.IndexByte(" \t\n[{,:-", text[i-1]) >= 0 || i == 0 {
				if end := quoted(text, i); end > i {
					n := strings.Count(string(text[i:end]), "\n")
					if line += n; line > maxLines {
						return fmt.Errorf("more than %d lines are too many", maxLines)
					}
					i, indent = end, false
					continue
				}
			}
		case '[', '{':
			depth++
		case ']', '}':
			depth = max(0, depth-1)
		case ':', '?', '!', '&', '*':
			if depth == 0 {
				pairs++
			}
		}
		switch {
		case c == ' ' && indent, c == '\t' && indent:
		case c == '-' && indent, c == '?' && indent:
			level++
		default:
			indent = false
		}
		if depth > maxDepth || level > maxDepth || indent && column > 40*maxDepth {
			return fmt.Errorf("line %d: nested more than %d deep", line, maxDepth)
		}
		if pairs > maxPairs {
			return fmt.Errorf("line %d: more than %d signs such as : in one line; put the text between quotes", line, maxPairs)
		}
	}
	return blocks(text)
}

// quoted returns where the text between quotes that begins at i ends, or i.
func quoted(text []byte, i int) int {
	for k := i + 1; k < len(text); k++ {
		switch {
		case text[k] == '\\' && text[i] == '"':
			k++
		case text[k] == text[i] && text[i] == '\'' && k+1 < len(text) && text[k+1] == '\'':
			k++
		case text[k] == text[i]:
			return k
		}
	}
	return i
}

// blocks bounds the nesting of blocks: lines that are each indented further than the one around them.
func blocks(text []byte) error {
	var open []int
	line := 0
	for l := range strings.SplitSeq(string(text), "\n") {
		line++
		content := strings.TrimLeft(l, " ")
		if content == "" {
			continue
		}
		indent := len(l) - len(content)
		for len(open) > 0 && open[len(open)-1] >= indent {
			open = open[:len(open)-1]
		}
		if open = append(open, indent); len(open) > maxDepth {
			return fmt.Errorf("line %d: nested more than %d deep", line, maxDepth)
		}
	}
	return nil
}

// A weigher counts nodes as they are once aliases are filled in.
type weigher struct {
	anchors map[string]int // nodes of what an anchor names; -1 while it is being counted
}

func (w *weigher) weigh(n ast.Node) (int, error) {
	count := 1
	add := func(n ast.Node) error {
		c, err := w.weigh(n)
		if err != nil {
			return err
		}
		if count += c; count > maxNodes {
			return fmt.Errorf("more than %d values, its aliases (*) filled in", maxNodes)
		}
		return nil
	}
	var parts []ast.Node
	switch n := n.(type) {
	case *ast.MappingNode:
		for _, v := range n.Values {
			parts = append(parts, v)
		}
	case *ast.MappingValueNode:
		parts = []ast.Node{n.Key, n.Value}
	case *ast.MappingKeyNode:
		parts = []ast.Node{n.Value}
	case *ast.SequenceNode:
		parts = n.Values
	case *ast.TagNode:
		if name := n.Start.Value; !strings.HasPrefix(name, "!!") || n.Value == nil {
			return 0, fmt.Errorf("line %d: the tag %s is not known here; leave it out, or put quotes around the text that it begins", n.Start.Position.Line, name)
		}
		parts = []ast.Node{n.Value}
	case *ast.AnchorNode:
		name := n.Name.String()
		w.anchors[name] = -1
		if err := add(n.Value); err != nil {
			return 0, err
		}
		w.anchors[name] = count
	case *ast.AliasNode:
		name := n.Value.String()
		c, known := w.anchors[name]
		if !known || c < 0 {
			return 0, fmt.Errorf("line %d: *%s stands for nothing before it; put quotes around a text that begins with *", n.Start.Position.Line, name)
		}
		if count += c; count > maxNodes {
			return 0, fmt.Errorf("more than %d values, its aliases (*) filled in", maxNodes)
		}
	}
	for _, p := range parts {
		if err := add(p); err != nil {
			return 0, err
		}
	}
	return count, nil
}
