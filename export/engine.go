package export

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"runtime/debug"
	"slices"
	"time"

	"must/atomicfile"
	"must/checkpoint"
	"must/onnx/ort"
	"must/predict"
	"must/torch"
	"must/weights"
)

// The engines that run networks. TensorRT is that of ONNX Runtime, for NVIDIA's devices.
const (
	EngineTorch    = "torch"
	EngineONNX     = "onnxruntime"
	EngineTensorRT = "tensorrt"
	EngineAuto     = "auto" // the faster of the first two
)

// Engines lists them.
var Engines = []string{EngineTorch, EngineONNX, EngineTensorRT, EngineAuto}

// CheckEngine tells what is wrong with the name of an engine; "" is [EngineTorch].
func CheckEngine(name string) error {
	if name == "" || slices.Contains(Engines, name) {
		return nil
	}
	return fmt.Errorf("engine is %q; it must be one of %v", name, Engines)
}

// A Running network is one in an engine.
type Running struct {
	predict.Predictor
	SHA256 string // of the checkpoint
	Tasks  []string
	Engine string
}

// Run opens a checkpoint of this program in an engine. For ONNX Runtime it is exported once into the
// user's cache; auto times both on a few images, once, and tells log which is taken. The caller frees it
// in torch.Do.
func Run(path, engine string, log func(format string, args ...any)) (*Running, error) {
	if err := CheckEngine(engine); err != nil {
		return nil, err
	}
	r := &runner{path: path, log: log}
	if engine == "" || engine == EngineTorch {
		return r.torch()
	}
	var err error
	if r.info, err = torch.Describe(); err != nil {
		return nil, err
	}
	if r.sum, err = weights.Hash(path); err != nil {
		return nil, err
	}
	if r.cached, err = cacheFile(r.sum); err != nil {
		return nil, err
	}
	if engine == EngineAuto {
		return r.faster()
	}
	return r.onnx(engine)
}

type runner struct {
	path, sum string
	cached    string // the model in the cache
	info      torch.Info
	log       func(format string, args ...any)
}

func (r *runner) torch() (*Running, error) {
	n, c, err := checkpoint.Load(r.path)
	if err != nil {
		return nil, err
	}
	if err := torch.Do(n.Set.Fuse); err != nil {
		torch.Do(n.Free)
		return nil, err
	}
	return &Running{n, c.SHA256, n.Spec.Tasks, EngineTorch}, nil
}

func (r *runner) onnx(engine string) (*Running, error) {
	o := ort.Options{Threads: r.info.Threads, TensorRT: engine == EngineTensorRT}
	if d := r.info.Device; d.CUDA {
		o.CUDA, o.Index = true, d.Index
	}
	if err := o.Check(); err != nil {
		return nil, fmt.Errorf("engine %s: %w", engine, err)
	}
	if _, err := os.Stat(r.cached); err != nil {
		if err := r.export(); err != nil {
			return nil, fmt.Errorf("%s in ONNX Runtime: %w", r.path, err)
		}
	}
	m, err := open(r.cached, o)
	if err != nil {
		return nil, fmt.Errorf("%w; delete that file, and it is made anew", err)
	}
	now := time.Now()
	os.Chtimes(r.cached, now, now) // that it is in use; see sweep
	return &Running{m, r.sum, m.Tasks(), engine}, nil
}

// export puts the network into the cache, proven on few images: rounding shows in any.
func (r *runner) export() error {
	n, c, err := checkpoint.Load(r.path)
	if err != nil {
		return err
	}
	defer freeMemory() // before anything else is opened: a proof needs more than what it proves
	defer torch.Do(n.Free)
	if c.SHA256 != r.sum {
		return fmt.Errorf("it was changed meanwhile")
	}
	if err := os.MkdirAll(filepath.Dir(r.cached), 0o777); err != nil {
		return err
	}
	sweep(filepath.Dir(r.cached))
	_, err = ONNX(context.Background(), n, r.cached, Options{
		Bytes: true, engine: true, Origin: Origin{SHA256: r.sum, Training: c.Training},
	})
	return err
}

// freeMemory gives back what is no longer used.
func freeMemory() {
	debug.FreeOSMemory()
	torch.Trim()
}

// A timing is how long engines take for a batch, in seconds.
type timing struct {
	Torch float64 `json:"torch"`
	ONNX  float64 `json:"onnxruntime"`
}

func (t timing) better() string {
	if t.ONNX < t.Torch {
		return EngineONNX
	}
	return EngineTorch
}

// faster opens the faster engine. Where ONNX Runtime is not there, or does not compute what libtorch
// does, that is libtorch.
func (r *runner) faster() (*Running, error) {
	if _, err := ort.Find(); err != nil {
		r.log("engine: torch, since there is no ONNX Runtime (`make onnxruntime` fetches one)")
		return r.torch()
	}
	file, key := r.cached+".json", fmt.Sprintf("%v, %d threads", r.info.Device, r.info.Threads)
	known := map[string]timing{}
	if b, err := os.ReadFile(file); err == nil {
		json.Unmarshal(b, &known) // what cannot be read is measured
	}
	t, ok := known[key]
	if ok {
		r.log("engine: %s, as measured before", t.better())
		if t.better() == EngineONNX {
			return r.onnx(EngineONNX)
		}
		return r.torch()
	}
	a, err := r.onnx(EngineONNX)
	if err != nil {
		r.log("engine: torch, since %v", err)
		return r.torch()
	}
	b, err := r.torch()
	if err != nil {
		a.Free()
		return nil, err
	}
	if t.ONNX, err = probe(a); err == nil {
		t.Torch, err = probe(b)
	}
	if err != nil {
		torch.Do(func() { a.Free(); b.Free() })
		return nil, err
	}
	known[key] = t
	if err := atomicfile.WriteJSON(file, known); err != nil {
		r.log("%v", err)
	}
	r.log("engine: %s (%d images in %.3g s by onnxruntime, %.3g s by torch)", t.better(), proofBatch, t.ONNX, t.Torch)
	if t.better() == EngineONNX {
		torch.Do(b.Free)
		return a, nil
	}
	torch.Do(a.Free)
	return b, nil
}

// probe times a batch, the second time that it is run: the first prepares much.
func probe(n predict.Predictor) (seconds float64, err error) {
	images, err := proofImages(nil, n.View().W, proofBatch)
	if err != nil {
		return 0, err
	}
	pix := bring(n.View(), images)
	for range 2 {
		began := time.Now()
		if _, err := n.See(pix); err != nil {
			return 0, err
		}
		seconds = time.Since(began).Seconds()
	}
	return seconds, nil
}

// cacheFile names the model of a checkpoint in the cache. Another program may write another graph.
func cacheFile(sum string) (string, error) {
	dir, err := os.UserCacheDir()
	if err != nil {
		return "", err
	}
	program, err := os.Executable()
	if err != nil {
		return "", err
	}
	if program, err = weights.Hash(program); err != nil {
		return "", err
	}
	both := sha256.Sum256([]byte(sum + program))
	return filepath.Join(dir, "must", "engine", hex.EncodeToString(both[:12])+".onnx"), nil
}

// unused is how long a model stays in the cache that nobody opens.
const unused = 14 * 24 * time.Hour

// sweep deletes what was long not used.
func sweep(dir string) {
	files, _ := os.ReadDir(dir)
	for _, f := range files {
		if info, err := f.Info(); err == nil && !f.IsDir() && time.Since(info.ModTime()) > unused {
			os.Remove(filepath.Join(dir, f.Name()))
		}
	}
}
