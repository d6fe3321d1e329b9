package must

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// named lists, by reason, the packages that may name a task. Nothing else outside of task/ does, tests
// aside: it knows the interface only, so that a new task is one folder, a line of the registry and a page.
var named = map[string][]string{
	"readers make labels of the tasks that their files have": {"data/"},
	"exporters write other programs' formats":                {"label/export", "serve", "predictions", "review"},
	"it reads outputs and layouts of other programs":         {"onnx", "checkpoint", "checkpoint/convert", "export"},
	"settings of the detector are a member of their own":     {"network", "recipe", "run", "stage"},
	"probes are classifiers, mixup blends classes":           {"probe", "loader", "train"},
	"COCO's files have a member segmentation":                {"metric/cocojson"},
	"not yet moved: colours and order of known starts":       {"report"},
	"names on the command line and in reports of sets":       {"cmd", "data/inspect", "scripts"},
}

func TestTasksAreNamedInTheirFoldersOnly(t *testing.T) {
	tasks, err := filepath.Glob("task/*/label.go")
	if err != nil || len(tasks) < 6 {
		t.Fatalf("%v, %v", tasks, err)
	}
	var names []string
	for _, file := range tasks {
		names = append(names, path.Base(path.Dir(filepath.ToSlash(file))))
	}
	allowed := func(pkg string) bool {
		for _, list := range named {
			for _, p := range list {
				if pkg == p || strings.HasPrefix(pkg, strings.TrimSuffix(p, "/")+"/") {
					return true
				}
			}
		}
		return false
	}
	err = filepath.WalkDir(".", func(file string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		slash := filepath.ToSlash(file)
		if d.IsDir() && (slash == "task" || file != "." && (strings.HasPrefix(d.Name(), ".") || d.Name() == "testdata" || d.Name() == "out")) {
			return fs.SkipDir
		}
		pkg := path.Dir(slash)
		if d.IsDir() || filepath.Ext(file) != ".go" || strings.HasSuffix(file, "_test.go") || pkg == "." || allowed(pkg) {
			return nil
		}
		set := token.NewFileSet()
		parsed, err := parser.ParseFile(set, file, nil, 0)
		if err != nil {
			return err
		}
		ast.Inspect(parsed, func(n ast.Node) bool {
			if lit, ok := n.(*ast.BasicLit); ok && lit.Kind == token.STRING {
				s, _ := strconv.Unquote(lit.Value)
				last := s[strings.LastIndexByte(s, '/')+1:]
				if s == last && slices.Contains(names, s) || strings.HasPrefix(s, "must/task/") && slices.Contains(names, last) {
					t.Errorf("%s names the task %s: it belongs in task/%s, or the package in the list of reasons", set.Position(lit.Pos()), last, last)
				}
			}
			return true
		})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}
