package ort

import (
	"errors"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// lay puts empty files into a folder.
func lay(t *testing.T, dir string, names ...string) {
	t.Helper()
	for _, name := range names {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, nil, 0o777); err != nil {
			t.Fatal(err)
		}
	}
}

func TestFind(t *testing.T) {
	home := t.TempDir()
	t.Setenv("ONNXRUNTIME", "")
	t.Setenv("HOME", home)
	t.Setenv("XDG_CACHE_HOME", filepath.Join(home, "cache"))
	t.Setenv("PATH", filepath.Join(home, "bin"))
	project := filepath.Join(home, "project")
	lay(t, project, "go.mod", "deep/x")
	t.Chdir(filepath.Join(project, "deep"))

	_, err := Find()
	if missing := (*NotFoundError)(nil); !errors.As(err, &missing) {
		t.Fatalf("error %v", err)
	}
	for _, want := range []string{"$ONNXRUNTIME: not set", filepath.Join(project, ".onnxruntime"), filepath.Join(home, "cache/must/onnxruntime"), "no python3", "make onnxruntime"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q does not mention %q", err, want)
		}
	}

	found := func(reason, path, version string) {
		t.Helper()
		l, err := Find()
		if err != nil || l.Reason != reason || l.Path != path || l.Version != version {
			t.Errorf("found %+v, %v; want %s %s because %q", l, err, path, version, reason)
		}
	}
	// From the last place to the first: each goes before those set up already.
	lay(t, home, "site/onnxruntime/capi/libonnxruntime.so.1.22.1", "site/onnxruntime/capi/libonnxruntime_providers_shared.so")
	if err := os.MkdirAll(filepath.Join(home, "bin"), 0o777); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(home, "bin/python3"), []byte("#!/bin/sh\necho "+home+"/site/onnxruntime\n"), 0o777); err != nil {
		t.Fatal(err)
	}
	found("onnxruntime of "+home+"/bin/python3", home+"/site/onnxruntime/capi/libonnxruntime.so.1.22.1", "1.22.1")
	lay(t, home, "cache/must/onnxruntime/lib/libonnxruntime.so", "cache/must/onnxruntime/lib/libonnxruntime.so.1", "cache/must/onnxruntime/lib/libonnxruntime.so.1.20.0")
	found("the user's cache", home+"/cache/must/onnxruntime/lib/libonnxruntime.so.1.20.0", "1.20.0")
	lay(t, project, ".onnxruntime/libonnxruntime.1.32.0.dylib")
	found("beside the project", project+"/.onnxruntime/libonnxruntime.1.32.0.dylib", "1.32.0")
	lay(t, home, "mine/libonnxruntime.so")
	t.Setenv("ONNXRUNTIME", home+"/mine")
	found("$ONNXRUNTIME", home+"/mine/libonnxruntime.so", "")

	// Where it is set, nothing else is looked at.
	lay(t, home, "old/libonnxruntime.so.1.16.3", "none/libonnxruntime_providers_shared.so")
	for dir, want := range map[string]string{"old": "1.16.3 is too old", "none": "no libonnxruntime", "gone": "no such folder"} {
		t.Setenv("ONNXRUNTIME", filepath.Join(home, dir))
		_, err := Find()
		if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "ONNXRUNTIME="+home) {
			t.Errorf("%s: error %v does not mention %q", dir, err, want)
		}
		if missing := (*NotFoundError)(nil); errors.As(err, &missing) {
			t.Errorf("%s: a wrong folder counts as a missing one", dir)
		}
	}
}

// TestTypes stores values as each type and reads them back.
func TestTypes(t *testing.T) {
	values := []float32{0, 1, 2, 100, -3}
	for typ := range typeNames {
		b, err := encode(values, typ)
		if typ == Int8 {
			if err == nil {
				t.Error("signed bytes are no input of images")
			}
			continue
		}
		if err != nil || len(b) != len(values)*typeSizes[typ] {
			t.Errorf("%v: %d bytes, %v", typ, len(b), err)
			continue
		}
		want := slices.Clone(values)
		switch typ {
		case Uint8:
			want[4] = 0
		case Bool:
			want = []float32{0, 1, 1, 1, 1}
		}
		if got := decode(b, typ); !slices.Equal(got, want) {
			t.Errorf("%v: %v, want %v", typ, got, want)
		}
	}
	if got := decode([]byte{0xff}, Int8); got[0] != -1 {
		t.Errorf("int8: %v", got)
	}
	if b, _ := encode([]float32{float32(math.Inf(1))}, Uint8); b[0] != 255 {
		t.Errorf("as a byte infinity is %d", b[0])
	}
}

func TestPorts(t *testing.T) {
	for want, p := range map[string]Port{
		"x float32[?, 3, 8, 8]": {"x", Float32, []int64{-1, 3, 8, 8}},
		"n int64[]":             {"n", Int64, []int64{}},
		"seq (no tensor)":       {Name: "seq"},
		"s type 8[1]":           {"s", 8, []int64{1}},
	} {
		if got := p.String(); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

func needRuntime(t *testing.T) {
	t.Helper()
	if _, err := Open(); err != nil {
		if missing := (*NotFoundError)(nil); errors.As(err, &missing) {
			t.Skip("no ONNX Runtime here, so no model is run: `make onnxruntime` fetches one")
		}
		t.Fatal(err)
	}
}

func TestRun(t *testing.T) {
	needRuntime(t)
	s, err := Load("../testdata/detr.onnx", Options{Threads: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if len(s.Inputs) != 2 || s.Inputs[0].String() != "pixel_values float32[?, 3, ?, ?]" || s.Outputs[1].String() != "pred_boxes float32[?, 6, 4]" {
		t.Errorf("%v → %v", s.Inputs, s.Outputs)
	}
	image := Tensor{Shape: []int64{1, 3, 2, 2}, Values: make([]float32, 12)}
	size := Tensor{Shape: []int64{1, 2}, Values: []float32{2, 2}}
	for range 3 { // the same each time
		out, err := s.Run([]Tensor{image, size}, "pred_boxes", "logits")
		if err != nil || !slices.Equal(out[0].Shape, []int64{1, 6, 4}) || len(out[1].Values) != 24 {
			t.Fatalf("%v, %v", out, err)
		}
	}
	for want, in := range map[string][]Tensor{
		"Invalid rank":  {{Shape: []int64{12}, Values: image.Values}, size},
		"not enough":    {{Shape: []int64{1, 3, 200, 200}, Values: image.Values}, size}, // more than is there
		"invalid dimen": {{Shape: []int64{1, 5, 2, 2}, Values: make([]float32, 20)}, size},
	} {
		if _, err := s.Run(in, "logits"); err == nil || !strings.Contains(err.Error(), "detr.onnx") {
			t.Errorf("%s: error %v", want, err)
		}
	}
	if _, err := s.Run([]Tensor{image, size}, "nothing"); err == nil || !strings.Contains(err.Error(), "nothing") {
		t.Errorf("error %v", err)
	}
	if _, err := Load("../testdata/golden.json", Options{Threads: 1}); err == nil || !strings.Contains(err.Error(), "golden.json") {
		t.Errorf("error %v", err)
	}
}
