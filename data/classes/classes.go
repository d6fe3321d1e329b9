// Package classes reads the names of a set's own classes from the files in which people and their tools keep
// them, and semantic maps by them.
package classes

import (
	"encoding/csv"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"must/data/text"
)

// Files are the names of the files that are looked for, the likeliest first.
var Files = []string{"classes.txt", "class_names.txt", "labelmap.txt", "label_colors.txt", "class_dict.csv", "labels.txt", "obj.names"}

// A Table is a list of classes.
type Table struct {
	File    string
	Names   []string
	Colours [][3]uint8 // of the classes, in maps of colours; nil: there are none
}

// Find reads the first of Files in a folder, or in the folders after it; nil where there is none.
func Find(encoding string, folders ...string) (*Table, error) {
	for _, folder := range folders {
		for _, name := range Files {
			file := filepath.Join(folder, name)
			if info, err := os.Stat(file); err != nil || !info.Mode().IsRegular() {
				continue
			}
			content, err := text.ReadFileAs(file, encoding)
			if err != nil {
				return nil, err
			}
			t, err := Parse(name, content)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", file, err)
			}
			t.File = file
			return t, nil
		}
	}
	return nil, nil
}

// most is how many classes a file may list.
const most = 1 << 16

// Parse reads a file of the given name:
//
//	classes.txt and the like   a name on each line, or index and name (0: wall)
//	labelmap.txt               name:r,g,b:parts:actions (CVAT), or as classes.txt
//	label_colors.txt           r g b name (CamVid)
//	class_dict.csv             name,r,g,b under a header
//
// Lines that begin with # are comments. __ignore__ in front, which labelme has for what is no class, is left out.
func Parse(name, content string) (*Table, error) {
	t := &Table{}
	var err error
	switch {
	case strings.HasSuffix(name, ".csv"):
		err = t.table(content)
	default:
		err = t.lines(content)
	}
	if err != nil {
		return nil, err
	}
	if len(t.Names) > 0 && t.Names[0] == "__ignore__" {
		if t.Names = t.Names[1:]; t.Colours != nil {
			t.Colours = t.Colours[1:]
		}
	}
	if len(t.Names) == 0 {
		return nil, fmt.Errorf("no names in it")
	}
	if len(t.Names) > most {
		return nil, fmt.Errorf("%d names are too many", len(t.Names))
	}
	seen := map[string]bool{}
	for _, n := range t.Names {
		if seen[n] {
			return nil, fmt.Errorf("class %q twice", n)
		}
		seen[n] = true
	}
	return t, nil
}

var (
	named    = regexp.MustCompile(`^([^:]+):\s*(\d+)\s*,\s*(\d+)\s*,\s*(\d+)\s*(?::.*)?$`) // labelmap.txt
	coloured = regexp.MustCompile(`^(\d+)[\s,]+(\d+)[\s,]+(\d+)[\s,]+(.+)$`)               // label_colors.txt
	numbered = regexp.MustCompile(`^(\d+)\s*[:=\t]\s*(.+)$`)
)

func (t *Table) lines(content string) error {
	var lines []string
	for _, line := range text.Lines(content) {
		if line[0] != '#' {
			lines = append(lines, line)
		}
	}
	all := func(shape *regexp.Regexp) bool {
		return len(lines) > 0 && !slices.ContainsFunc(lines, func(l string) bool { return !shape.MatchString(l) })
	}
	switch {
	case all(named):
		for _, l := range lines {
			m := named.FindStringSubmatch(l)
			if err := t.add(m[1], m[2:5]); err != nil {
				return err
			}
		}
	case all(coloured):
		for _, l := range lines {
			m := coloured.FindStringSubmatch(l)
			if err := t.add(m[4], m[1:4]); err != nil {
				return err
			}
		}
	case all(numbered):
		for i, l := range lines {
			m := numbered.FindStringSubmatch(l)
			if m[1] != strconv.Itoa(i) {
				return fmt.Errorf("class %s where %d is due: want them in order from 0, without a gap", m[1], i)
			}
			t.Names = append(t.Names, strings.TrimSpace(m[2]))
		}
	default:
		t.Names = lines
	}
	return nil
}

func (t *Table) add(name string, rgb []string) error {
	var c [3]uint8
	for i, v := range rgb {
		n, err := strconv.ParseUint(strings.TrimSpace(v), 10, 8)
		if err != nil {
			return fmt.Errorf("class %q: %q is no part of a colour, 0 to 255", name, v)
		}
		c[i] = uint8(n)
	}
	if i := slices.Index(t.Colours, c); i >= 0 {
		return fmt.Errorf("classes %q and %q have one colour, %v", t.Names[i], name, c)
	}
	t.Names, t.Colours = append(t.Names, strings.TrimSpace(name)), append(t.Colours, c)
	return nil
}

func (t *Table) table(content string) error {
	r := csv.NewReader(strings.NewReader(content))
	r.TrimLeadingSpace, r.FieldsPerRecord = true, -1
	rows, err := r.ReadAll()
	if err != nil {
		return fmt.Errorf("not a table of values with commas between them: %w", err)
	}
	if len(rows) == 0 {
		return nil
	}
	at := func(column string) int {
		return slices.IndexFunc(rows[0], func(s string) bool { return strings.EqualFold(strings.TrimSpace(s), column) })
	}
	name, red, green, blue := at("name"), at("r"), at("g"), at("b")
	if name < 0 || red < 0 || green < 0 || blue < 0 {
		return fmt.Errorf("line 1 has the columns %q, want name, r, g, b", rows[0])
	}
	for n, row := range rows[1:] {
		if len(row) <= max(name, red, green, blue) {
			return fmt.Errorf("row %d has %d columns, the first has %d", n+2, len(row), len(rows[0]))
		}
		if err := t.add(row[name], []string{row[red], row[green], row[blue]}); err != nil {
			return err
		}
	}
	return nil
}

// Background reports whether a name is one of those that tools give to what is no object.
func Background(name string) bool {
	return slices.Contains([]string{"background", "_background_", "__background__", "bg"}, strings.ToLower(name))
}
