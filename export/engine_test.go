package export

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"must/checkpoint"
	"must/network"
	"must/task"
	"must/task/classification"
	"must/task/segmentation"
	"must/torch"
)

// saved writes a checkpoint, and gives the user's cache a folder of its own.
func saved(t *testing.T, tasks ...string) (path, cache string) {
	t.Helper()
	dir := t.TempDir()
	cache = filepath.Join(dir, "cache")
	t.Setenv("XDG_CACHE_HOME", cache)
	t.Setenv("HOME", dir)
	path = filepath.Join(dir, "model.safetensors")
	with(t, spec(backbones["resnet18"], 64, labels(), tasks...), func(n *network.Network) {
		var state map[string][]float32
		torch.Do(func() { state = n.Set.State() })
		if err := checkpoint.Save(path, n, state, checkpoint.Training{Version: "test"}); err != nil {
			t.Fatal(err)
		}
	})
	return path, cache
}

// running opens a checkpoint in an engine and returns what it logs.
func running(t *testing.T, path, engine string) (r *Running, log string) {
	t.Helper()
	r, err := Run(path, engine, func(format string, args ...any) { log += fmt.Sprintf(format, args...) })
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { torch.Do(r.Free) })
	return r, log
}

func models(t *testing.T) (files []string) {
	t.Helper()
	path, err := cacheFile("")
	if err != nil {
		t.Fatal(err)
	}
	files, _ = filepath.Glob(filepath.Join(filepath.Dir(path), "*.onnx"))
	return files
}

// Both engines have the same settings, so that labels of the one go on with those of the other.
func TestEngines(t *testing.T) {
	needsRuntime(t)
	path, _ := saved(t, classification.Name, segmentation.Name)
	a, _ := running(t, path, "")
	b, _ := running(t, path, EngineONNX)
	if a.SHA256 != b.SHA256 || string(a.Settings()) != string(b.Settings()) || a.View() != b.View() || !slices.Equal(a.Tasks, b.Tasks) {
		t.Errorf("%s %s %v and %s %s %v", a.SHA256, a.Settings(), a.Tasks, b.SHA256, b.Settings(), b.Tasks)
	}
	files := models(t)
	if len(files) != 1 {
		t.Fatalf("%v in the cache", files)
	}
	first, err := os.Stat(files[0])
	if err != nil {
		t.Fatal(err)
	}
	old := files[0][:len(files[0])-len(".onnx")] + "-old.onnx"
	if err := os.WriteFile(old, nil, 0o666); err != nil {
		t.Fatal(err)
	}
	long := time.Now().Add(-unused - time.Hour)
	if err := os.Chtimes(old, long, long); err != nil {
		t.Fatal(err)
	}
	running(t, path, EngineONNX)
	if again, err := os.Stat(files[0]); err != nil || !os.SameFile(first, again) {
		t.Error("exported twice")
	}
	if err := os.Remove(files[0]); err != nil {
		t.Fatal(err)
	}
	running(t, path, EngineONNX)
	if files := models(t); len(files) != 1 {
		t.Errorf("%v in the cache: what nobody uses should go", files)
	}
}

func TestAuto(t *testing.T) {
	needsRuntime(t)
	path, _ := saved(t, classification.Name)
	r, log := running(t, path, EngineAuto)
	if !strings.Contains(log, "engine: "+r.Engine+" (4 images in ") {
		t.Errorf("%s; %s", r.Engine, log)
	}
	info, err := torch.Describe()
	if err != nil {
		t.Fatal(err)
	}
	for want, times := range map[string]string{EngineTorch: `"torch": 1, "onnxruntime": 2`, EngineONNX: `"torch": 2, "onnxruntime": 1`} {
		known := fmt.Sprintf(`{"cpu, %d threads": {%s}}`, info.Threads, times)
		if err := os.WriteFile(models(t)[0]+".json", []byte(known), 0o666); err != nil {
			t.Fatal(err)
		}
		if r, log := running(t, path, EngineAuto); r.Engine != want || log != "engine: "+want+", as measured before" {
			t.Errorf("%s; %s, want %s", r.Engine, log, want)
		}
	}
	if _, err := Run(path, "fast", nil); err == nil || !strings.Contains(err.Error(), `engine is "fast"`) {
		t.Error(err)
	}
}

// Layers that are fused give what they gave apart.
func TestFuse(t *testing.T) {
	for name, c := range backbones {
		t.Run(name, func(t *testing.T) {
			with(t, spec(c, 64, labels(), labels().Tasks()...), func(n *network.Network) {
				images, err := proofImages(nil, 64, 4)
				if err != nil {
					t.Fatal(err)
				}
				pix := bring(n.View(), images)
				err = torch.DoErr(func() error {
					before := len(n.Set.All())
					want := n.Outputs(pix.Pix, pix.N, network.GraphOptions{})
					n.Set.Fuse()
					p := &Proof{Tolerance: tolerance, Batches: []int{4}, Rows: map[int][]task.Difference{
						4: n.Compare(want, n.Outputs(pix.Pix, pix.N, network.GraphOptions{}), network.GraphOptions{}, tolerance)}}
					if len(n.Set.All()) >= before {
						t.Error("the set still holds what was fused")
					}
					t.Logf("\n%v", p)
					return p.Err()
				})
				if err != nil {
					t.Error(strings.Replace(err.Error(), "ONNX Runtime does", "fused layers do", 1))
				}
			})
		})
	}
}
