package must

import (
	"cmp"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestContributing follows CONTRIBUTING.md in a copy of the house: the files that it shows are written,
// its lines put in where it says, and its commands must succeed.
func TestContributing(t *testing.T) {
	if testing.Short() {
		t.Skip("-short: it builds the house again")
	}
	page, err := os.ReadFile("CONTRIBUTING.md")
	if err != nil {
		t.Fatal(err)
	}
	house := t.TempDir()
	if err := build(house); err != nil {
		t.Fatal(err)
	}
	for _, s := range strings.Split(string(page), "\n## ")[1:] {
		title, _, _ := strings.Cut(s, "\n")
		for _, m := range block.FindAllStringSubmatch(s, -1) {
			kind, name, text := m[1], strings.TrimSpace(m[2]), m[3]
			file := filepath.Join(house, filepath.FromSlash(name))
			switch {
			case kind == "go" && name != "":
				write(t, file, text)
			case kind == "diff":
				old, err := os.ReadFile(file)
				if err != nil {
					t.Fatal(err)
				}
				write(t, file, patch(t, name, string(old), text))
			case kind == "sh":
				for c := range strings.Lines(text) {
					cmd := exec.Command("sh", "-c", c)
					cmd.Dir = house
					cmd.Env = append(os.Environ(), "GOFLAGS=-trimpath") // what make build compiled serves the copy too
					if out, err := cmd.CombinedOutput(); err != nil {
						t.Errorf("%s: %s: %v\n%s", title, c, err, out)
					}
				}
			}
		}
	}
}

var block = regexp.MustCompile("(?ms)^```(go|diff|sh)( [^\n]*)?\n(.*?)^```$")

// patch applies a piece whose lines begin with a space where they are there, and with + where they are new.
func patch(t *testing.T, name, text, piece string) string {
	var before, after strings.Builder
	for line := range strings.Lines(piece) {
		switch rest := line[1:]; line[0] {
		case ' ':
			before.WriteString(rest)
			after.WriteString(rest)
		case '+':
			after.WriteString(rest)
		default:
			t.Fatalf("%s: a line of a diff begins with a space or +: %s", name, line)
		}
	}
	if n := strings.Count(text, before.String()); n != 1 {
		t.Fatalf("%s has these lines %d times, not once:\n%s", name, n, before.String())
	}
	return strings.Replace(text, before.String(), after.String(), 1)
}

// build copies the house. What make fetched is linked.
func build(house string) error {
	return filepath.WalkDir(".", func(path string, d fs.DirEntry, err error) error {
		to := filepath.Join(house, path)
		switch {
		case err != nil || path == ".":
			return err
		case path == ".libtorch" || path == ".onnxruntime":
			from, err := filepath.Abs(path)
			if err != nil {
				return err
			}
			return cmp.Or(os.Symlink(from, to), fs.SkipDir)
		case d.IsDir() && (strings.HasPrefix(d.Name(), ".") || path == "out" || path == "bin"):
			return fs.SkipDir
		case d.IsDir():
			return os.Mkdir(to, 0o777)
		case !d.Type().IsRegular():
			return nil
		}
		b, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		return os.WriteFile(to, b, 0o666)
	})
}

func write(t *testing.T, file, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(file), 0o777); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(text), 0o666); err != nil {
		t.Fatal(err)
	}
}
