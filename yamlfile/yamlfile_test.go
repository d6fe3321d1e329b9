package yamlfile

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// A text that would take the library gigabytes, hours or a crash is refused in words.
func TestRefuses(t *testing.T) {
	bomb := "a: &a [x, x, x, x, x, x, x, x, x, x]\n"
	for c := 'b'; c < 'j'; c++ {
		bomb += string(c) + ": &" + string(c) + " [" + strings.Repeat("*"+string(c-1)+", ", 10) + "]\n"
	}
	stairs := ""
	for i := range 200 {
		stairs += strings.Repeat(" ", i) + "a:\n"
	}
	for name, c := range map[string]struct{ text, want string }{
		"bomb":          {bomb, "its aliases (*) filled in"},
		"itself":        {"a: &a [*a]", "*a stands for nothing"},
		"unknown alias": {"a: *b", "*b stands for nothing"},
		"brackets":      {strings.Repeat("[", 100_000) + strings.Repeat("]", 100_000), "nested more than"},
		"dashes":        {strings.Repeat("- ", 100_000) + "a", "nested more than"},
		"stairs":        {stairs, "nested more than"},
		"questions":     {strings.Repeat("? ", 1000), "nested more than"},
		"colons":        {strings.Repeat("a: ", 100_000), "in one line"},
		"lines":         {strings.Repeat("a\n", 100_000), "lines are too many"},
		"in quotes":     {"a: \"" + strings.Repeat("b\n", 100_000) + "\"", "lines are too many"},
		"bytes":         {strings.Repeat("a", 2<<20), "bytes are too many"},
		"tag":           {"show: {data: !x a}", "tag !x is not known"},
		"tag, number":   {"std: !00 00000", "tag !00 is not known"},
		"nothing":       {"", "it is empty"},
		"comments":      {"# only\n", "it is empty"},
		"documents":     {"a: 1\n---\nb: 2\n", "2 documents"},
	} {
		var v any
		if err := Unmarshal([]byte(c.text), &v, "a recipe"); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %v does not say %q", name, err, c.want)
		}
	}
	if _, err := ParseMapping([]byte("- a"), "a recipe"); err == nil || !strings.Contains(err.Error(), "a recipe is a list of keys") {
		t.Error(err)
	}
}

func TestReads(t *testing.T) {
	text := "# names\nbase: &b {x: 1, y: [2, 'it''s: [[[', \"a\\\"[\"]}\nmore:\n  <<: *b\n  z: !!str 3\nurl: https://a.b/c?d=e:f\nit's: don't [\n"
	var v struct {
		Base, More map[string]any
		URL        string `yaml:"url"`
	}
	if err := Unmarshal([]byte(text), &v, "a recipe"); err != nil {
		t.Fatal(err)
	}
	if v.More["z"] != "3" || v.URL != "https://a.b/c?d=e:f" || v.Base["y"].([]any)[1] != "it's: [[[" {
		t.Errorf("%+v", v)
	}
	files, _ := filepath.Glob("../recipes/*.yaml")
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := ParseMapping(b, "a recipe"); err != nil {
			t.Errorf("%s: %v", f, err)
		}
	}
}

func FuzzUnmarshal(f *testing.F) {
	for _, s := range []string{"a: 1\nb: [c, {d: e}]\n", "a: &x [1]\nb: *x\n", "a: !!str 1", "? a\n: b", "a: |\n  text\nb: >-\n  text\n", "show: {data: !x a}", "std: !00 00000", "---\n"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		var v any
		Unmarshal(b, &v, "a recipe")
		var s struct {
			A map[string]string
			B []int
			C *struct{ D any }
		}
		Unmarshal(b, &s, "a recipe")
	})
}
