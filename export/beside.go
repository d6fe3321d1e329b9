package export

import (
	_ "embed"
	"fmt"
	"path/filepath"
	"strings"

	"must/atomicfile"
)

//go:embed model.py
var script []byte

// Beside writes what lies beside a model: FILE.teacher.yaml, with which it is a teacher here, and FILE.py,
// which predicts without this program. It returns their paths.
func Beside(model string) (files []string, err error) {
	base := strings.TrimSuffix(model, ".onnx")
	declaration := fmt.Sprintf("# An export of this program: the model itself says how it is fed and read.\nonnx: %q\nexported: true\n", filepath.Base(model))
	for _, f := range []struct {
		end  string
		text []byte
	}{{".teacher.yaml", []byte(declaration)}, {".py", script}} {
		if err := atomicfile.WriteFile(base+f.end, f.text); err != nil {
			return files, err
		}
		files = append(files, base+f.end)
	}
	return files, nil
}
