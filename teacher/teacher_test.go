package teacher

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"must/data"
	"must/onnx/ort"
	"must/task/classification"
	"must/torch"
)

const models = "../onnx/testdata/"

func TestMain(m *testing.M) {
	if err := torch.Open(torch.Options{Threads: 1}); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(m.Run())
}

func TestExternal(t *testing.T) {
	if _, err := ort.Find(); err != nil {
		t.Skip("no ONNX Runtime here: `make onnxruntime` fetches one")
	}
	teachers, err := OpenAll([]string{models + "class.teacher.yaml"}, data.Labels{classification.Name: {Classes: []string{"dog", "bee", "ant", "cat"}}}, Engine{})
	if err != nil {
		t.Fatal(err)
	}
	defer teachers[0].Net.Free()
	if got := teachers[0].Net.Knows()[classification.Name].Classes[0]; got != "dog" {
		t.Errorf("its first class is %s, not the set's", got)
	}
	if _, err := OpenAll([]string{models + "gone.teacher.yaml"}, data.Labels{}, Engine{}); err == nil || !strings.Contains(err.Error(), "gone.teacher.yaml") {
		t.Errorf("error %v", err)
	}
}

func FuzzTeacher(f *testing.F) {
	files, _ := filepath.Glob(models + "*.teacher.yaml")
	for _, name := range files {
		b, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if d, err := Parse(b); err == nil && d.ONNX == "" {
			t.Error("a teacher without a model")
		}
	})
}

func TestOpenONNX(t *testing.T) {
	if _, err := Open("net.onnx", data.Labels{}, Engine{}); err == nil || !strings.Contains(err.Error(), ".teacher.yaml file that declares it") {
		t.Error(err)
	}
	for text, want := range map[string]string{
		"onnx: a.onnx\nexported: true\n":              "",
		"onnx: a.onnx\nexported: true\ntask: depth\n": "the model itself says the rest",
		"exported: true\n":                            "onnx is missing",
	} {
		if _, err := Parse([]byte(text)); (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", text, err, want)
		}
	}
}
