package must

import (
	"go/parser"
	"go/token"
	"io/fs"
	"path"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// tiers is the house from the roof down. A package belongs to the longest entry that is its path or
// a folder above it; it may import its own entry's packages and those of the tiers below, and never
// a neighbour's. See docs/architecture.md.
var tiers = [][]string{
	{"cmd", "scripts"},
	{"run", "serve", "review"},
	{"stage"},
	{"recipe"},
	{"data/formats"},
	{"pretext", "teacher", "predictions"},
	{"train", "label", "report", "probe", "onnx", "export"},
	{"checkpoint"},
	{"network"},
	{"predict"},
	{"loader"},
	{"augment", "data/"}, // data/: the formats, one folder each
	{"task/registry"},
	{"task/"}, // one folder per task
	{"task"},
	{"model", "draw"},
	{"detect", "metric", "doctor", "data/npy", "data/account"},
	{"data"},
	{"torch", "weights", "onnx/ort", "onnx/graph", "web/browser"},
	{"torch/libtorch", "atomicfile", "dist", "machine", "progress", "strict", "tracking", "turbojpeg", "web"},
	{"native", "winograd", "yamlfile"},
}

// tierOf finds the tier of a package, given by its path in the module, and its entry there.
func tierOf(pkg string) (tier int, entry string) {
	tier = -1
	for i, entries := range tiers {
		for _, e := range entries {
			if (pkg == e || strings.HasPrefix(pkg, strings.TrimSuffix(e, "/")+"/")) && len(e) > len(entry) {
				tier, entry = i, e
			}
		}
	}
	return tier, entry
}

// TestImportsPointDownwards covers every file, tests and other platforms' files included.
func TestImportsPointDownwards(t *testing.T) {
	err := filepath.WalkDir(".", func(file string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if name := d.Name(); d.IsDir() && file != "." && (strings.HasPrefix(name, ".") || name == "testdata" || name == "out") {
			return fs.SkipDir
		}
		if d.IsDir() || filepath.Ext(file) != ".go" || path.Dir(filepath.ToSlash(file)) == "." {
			return nil
		}
		pkg := path.Dir(filepath.ToSlash(file))
		tier, entry := tierOf(pkg)
		if tier < 0 {
			t.Errorf("%s: package %s has no place in the house: give it one in tiers", file, pkg)
			return nil
		}
		parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.ImportsOnly)
		if err != nil {
			return err
		}
		for _, spec := range parsed.Imports {
			imported, err := strconv.Unquote(spec.Path.Value)
			if err != nil {
				return err
			}
			if imported == "C" {
				t.Errorf("%s uses cgo: the program is built without a C compiler", file)
			}
			imported, ours := strings.CutPrefix(imported, "must/")
			if !ours {
				continue
			}
			if strings.HasSuffix(parsed.Name.Name, "_test") && (strings.HasPrefix(imported, "task/") || imported == "data/scenes") {
				continue // a test from outside of what knows the interface of labels needs labels of some task
			}
			switch below, other := tierOf(imported); {
			case below < tier:
				t.Errorf("%s imports %s, which is above it", file, imported)
			case below == tier && other != entry:
				t.Errorf("%s imports %s, its neighbour in the house", file, imported)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestTierOf(t *testing.T) {
	for pkg, want := range map[string]string{
		"data": "data", "data/voc": "data/", "task": "task", "task/depth": "task/", "label/shards": "label", "torch": "torch", "torch/libtorch": "torch/libtorch", "dataset": "", "cmd/must": "cmd",
	} {
		if _, got := tierOf(pkg); got != want {
			t.Errorf("%s belongs to %q, want %q", pkg, got, want)
		}
	}
}
