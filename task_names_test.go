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

// named lists, by reason, the files and folders that may name tasks, and how often in all. Nothing else
// outside of task/ does, tests aside: it knows the interface only, so that a new task is one folder, a line of
// the registry and a page. A folder ends in a slash.
var named = []struct {
	reason string
	most   int // names, each a string or an import
	places []string
}{
	{"readers make labels of the tasks that their files have", 49, []string{
		"data/ade20k/", "data/cifar/", "data/coco/", "data/depth/", "data/diode/", "data/exr/", "data/formats/", "data/imagefolder/", "data/imagenet/",
		"data/masks/", "data/multi/", "data/nyu/", "data/scenes/", "data/voc/", "data/webdataset/", "data/yolo/",
	}},
	{"writers of other programs' formats know what these can hold", 18, []string{"label/export/"}},
	{"servers, pages and JSON of predictions have a form for each kind of label", 34, []string{
		"serve/plain.go", "serve/predict.go", "serve/v2.go", "predictions/predictions.go", "review/import.go", "review/picture.go", "review/review.go",
	}},
	{"models of other programs: keys of a declaration, and what their outputs mean", 25, []string{
		"onnx/declaration.go", "onnx/decode.go", "onnx/detection.go", "onnx/teacher.go",
		"export/export.go", "export/metadata.go", "export/model.go", "export/torch.go",
	}},
	{"weights of other programs have a classifier or a detector", 7, []string{
		"checkpoint/checkpoint.go", "checkpoint/convert/external.go", "checkpoint/convert/layouts.go", "checkpoint/convert/torchvision.go",
	}},
	{"settings of the detector are a member of their own in recipes and checkpoints", 6, []string{
		"network/network.go", "recipe/recipe.go", "stage/results.go", "run/fit.go",
	}},
	{"depth has no classes but units, and a weight that is set by hand (MuST); a detector is drawn from a score on", 5, []string{
		"recipe/spaces.go", "stage/sets.go", "stage/train.go", "stage/pictures.go",
	}},
	{"a probe is a classifier", 2, []string{"probe/probe.go", "stage/probe.go"}},
	{"COCO's files have a member segmentation", 1, []string{"metric/cocojson/records.go"}},
	{"programs of this project's own, for measuring", 23, []string{"scripts/"}},
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
	found := make([]int, len(named))
	place := func(file string) int {
		for i, n := range named {
			for _, p := range n.places {
				if file == p || strings.HasSuffix(p, "/") && strings.HasPrefix(file, p) {
					return i
				}
			}
		}
		return -1
	}
	err = filepath.WalkDir(".", func(file string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		slash := filepath.ToSlash(file)
		if d.IsDir() && (slash == "task" || file != "." && (strings.HasPrefix(d.Name(), ".") || d.Name() == "testdata" || d.Name() == "out")) {
			return fs.SkipDir
		}
		if d.IsDir() || filepath.Ext(file) != ".go" || strings.HasSuffix(file, "_test.go") || path.Dir(slash) == "." {
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
					at := place(slash)
					if at < 0 {
						t.Errorf("%s names the task %s: it belongs in task/%s, or the file in the list of reasons", set.Position(lit.Pos()), last, last)
						return true
					}
					found[at]++
				}
			}
			return true
		})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for i, n := range named {
		if found[i] > n.most {
			t.Errorf("%d names of tasks where %d are allowed, since %s", found[i], n.most, n.reason)
		}
	}
}
