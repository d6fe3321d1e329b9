package torch

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"unsafe"
)

// A process opens libtorch once, so that what is wrong with a library is seen in a process of its own.
const childEnv = "MUST_TORCH_OPEN_IN_CHILD"

func TestMain(m *testing.M) {
	if os.Getenv(childEnv) != "" {
		fmt.Print(Open(Options{Device: os.Getenv(childEnv)}))
		os.Exit(0)
	}
	flag.Parse()
	var o Options
	if flag.Lookup("test.bench").Value.String() == "" {
		o.Threads = 1 // the tensors of tests are too small to share, and other packages' tests run beside these
	}
	if err := Open(o); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(m.Run())
}

// do is Do in a test, which must not fail and must leave no tensor behind.
func do(t *testing.T, f func()) {
	t.Helper()
	before := Live() - len(constants)
	if err := Do(f); err != nil {
		t.Fatal(err)
	}
	if n := Live() - len(constants) - before; n != 0 {
		t.Errorf("%d tensors left over", n)
	}
}

// beside runs f on another goroutine and panics with what f panics with.
func beside(f func()) {
	caught := make(chan any)
	go func() {
		defer func() { caught <- recover() }()
		f()
	}()
	if r := <-caught; r != nil {
		panic(r)
	}
}

func TestErrors(t *testing.T) {
	f := func(shape ...int64) *Tensor { return Zeros(Float, shape...) }
	freed := func() *Tensor { x := f(2, 3); x.Free(); x.Free(); return x }
	for name, c := range map[string]struct {
		f    func()
		want []string
	}{
		"shapes":          {func() { f(2, 3).MatMul(f(2, 4)) }, []string{"aten::matmul", "float32[2, 3]", "float32[2, 4]"}},
		"broadcast":       {func() { f(2, 3).Add(f(2)) }, []string{"add", "float32[2, 3]", "float32[2]"}},
		"channels":        {func() { f(1, 3, 8, 8).Conv2D(f(4, 2, 3, 3), f(4), 1, 1, 1, 1) }, []string{"aten::conv2d", "float32[1, 3, 8, 8]", "float32[4, 2, 3, 3]", "float32[4]", "[1 1]"}},
		"types":           {func() { f(2, 2).MatMul(f(2, 2).As(Double)) }, []string{"aten::matmul", "float32[2, 2]", "float64[2, 2]"}},
		"list":            {func() { Cat(1, f(2, 3), f(3, 3)) }, []string{"aten::cat", "(float32[2, 3], float32[3, 3])"}},
		"view":            {func() { f(2, 3).View(4, 2) }, []string{"aten::reshape", "float32[2, 3]", "[4 2]"}},
		"index":           {func() { f(2, 3).IndexSelect(0, From([]int64{5}, 1)) }, []string{"aten::index_select", "int64[1]"}},
		"class":           {func() { f(2, 3).CrossEntropy(From([]int64{0, 3}, 2), Mean, -100) }, []string{"aten::cross_entropy_loss", "3"}},
		"freed":           {func() { f(2).Mul(freed()) }, []string{"aten::mul", "float32[2]", "none", "freed"}},
		"freed add":       {func() { f(2).Add(freed()) }, []string{"freed"}},
		"freed in list":   {func() { Cat(0, f(2), freed()) }, []string{"aten::cat", "(float32[2], none)", "freed"}},
		"freed bias":      {func() { f(2, 3).Linear(f(4, 3), freed()) }, []string{"aten::linear", "freed"}},
		"freed fill":      {func() { freed().Fill(1) }, []string{"fill", "freed"}},
		"freed copy":      {func() { f(2).Copy(freed()) }, []string{"copy", "freed"}},
		"freed shape":     {func() { freed().Shape() }, []string{"freed"}},
		"freed values":    {func() { Values[float32](freed()) }, []string{"freed"}},
		"freed leaf":      {func() { freed().RequireGrad(true) }, []string{"freed"}},
		"nil":             {func() { f(2).Mul(nil) }, []string{"aten::mul", "none"}},
		"no such size":    {func() { f(2, 3).Size(-3) }, []string{"size", "float32[2, 3]", "-3"}},
		"negative shape":  {func() { f(2, -3) }, []string{"empty", "[2 -3]"}},
		"too few values":  {func() { From([]float32{1, 2}, 3) }, []string{"from", "float32", "[3]", "2 values"}},
		"load":            {func() { Load(f(2, 2), []float32{1}) }, []string{"1 values", "[2 2]"}},
		"item":            {func() { f(2).Item() }, []string{"item", "float32[2]"}},
		"item of none":    {func() { f(0).Item() }, []string{"item", "float32[0]"}},
		"other element":   {func() { Values[int64](f(2)) }, []string{"values", "float32[2]", "int64"}},
		"short slice":     {func() { CopyTo(make([]float32, 1), f(2)) }, []string{"values", "float32[2]", "slice of 1"}},
		"no graph":        {func() { f().Backward() }, []string{"aten::_backward", "float32[]"}},
		"not a scalar":    {func() { f(2).RequireGrad(true).Abs().Backward() }, []string{"aten::_backward", "float32[2]"}},
		"integer leaf":    {func() { From([]int64{1}, 1).RequireGrad(true) }, []string{"requires_grad", "int64[1]"}},
		"gradient's form": {func() { f(2).RequireGrad(true).SetGrad(f(3)) }, []string{"set_grad", "float32[2]", "float32[3]"}},
	} {
		t.Run(name, func(t *testing.T) {
			before := Live()
			err := Do(c.f)
			var e *Error
			if !errors.As(err, &e) {
				t.Fatalf("got %v, want an *Error", err)
			}
			for _, w := range c.want {
				if !strings.Contains(err.Error(), w) {
					t.Errorf("%q lacks %q", err, w)
				}
			}
			if Live() != before {
				t.Errorf("%d tensors left over", Live()-before)
			}
		})
	}
}

func TestDo(t *testing.T) {
	t.Run("within itself", func(t *testing.T) {
		do(t, func() {
			outer := Zeros(Float, 1)
			err := Do(func() { outer.MatMul(Zeros(Float, 2)) })
			if err == nil || outer.Item() != 0 {
				t.Error("an inner failure must be an error there, and nothing more")
			}
		})
	})
	t.Run("own error", func(t *testing.T) {
		if err := DoErr(func() error { return os.ErrExist }); !errors.Is(err, os.ErrExist) {
			t.Error(err)
		}
	})
	t.Run("grad mode and scopes", func(t *testing.T) {
		before := Live()
		err := Do(func() {
			NoGrad(func() { Scope(func() { Scoped(func() *Tensor { return Zeros(Float, 2).MatMul(Zeros(Float, 3)) }) }) })
		})
		if err == nil || Live() != before {
			t.Errorf("%v, %d tensors left over", err, Live()-before)
		}
		do(t, func() {
			if !GradEnabled() {
				t.Error("no gradients after a failure inside NoGrad")
			}
		})
	})
	t.Run("panic", func(t *testing.T) {
		defer func() {
			p, ok := recover().(*Panic)
			if !ok || p.Value != "mine" || !strings.Contains(p.Error(), "engine_test.go") {
				t.Errorf("got %v", p)
			}
		}()
		Do(func() { panic("mine") })
	})
	t.Run("goexit", func(t *testing.T) {
		left := make(chan bool)
		go func() {
			defer close(left)
			Do(func() { Zeros(Float, 1); runtime.Goexit() })
			t.Error("Do returned")
		}()
		<-left
		do(t, func() { Zeros(Float, 1) })
	})
	for name, f := range map[string]func(){
		"operator":          func() { Zeros(Float, 1) },
		"Scope":             func() { Scope(func() {}) },
		"NoGrad":            func() { NoGrad(func() {}) },
		"NoGrad beside one": func() { do(t, func() { beside(func() { NoGrad(func() {}) }) }) },
	} {
		t.Run("outside: "+name, func(t *testing.T) {
			defer func() {
				if r := fmt.Sprint(recover()); !strings.Contains(r, "outside Do") {
					t.Errorf("got %q", r)
				}
			}()
			f()
		})
	}
	t.Run("many goroutines", func(t *testing.T) {
		errs := make(chan error)
		for range 8 {
			go func() { errs <- Do(func() { From([]float32{1, 2}, 2).Sum().Item() }) }()
		}
		for range 8 {
			if err := <-errs; err != nil {
				t.Error(err)
			}
		}
	})
	if err := Open(Options{Device: "cuda"}); err == nil || !strings.Contains(err.Error(), "already open") {
		t.Errorf("another device: %v", err)
	}
	if err := Open(Options{Device: "tpu"}); err == nil || !strings.Contains(err.Error(), "tpu") {
		t.Errorf("a device that there is not: %v", err)
	}
}

func TestScopes(t *testing.T) {
	do(t, func() {
		var inner, kept *Tensor
		result := Scoped(func() *Tensor {
			inner, kept = Full(Float, 2, 3), Full(Float, 4, 3).Keep()
			return inner.Add(kept)
		})
		if inner.h != 0 || kept.h == 0 || result.Sum().Item() != 18 {
			t.Error("a scope frees what was made in it but what is kept or returned")
		}
		kept.Free()
		if Scoped(func() *Tensor { return nil }) != nil {
			t.Error("no result is no result")
		}
	})
}

func TestTensors(t *testing.T) {
	do(t, func() {
		for d := range numDTypes {
			x := Full(d, 1, 2, 3)
			if x.DType() != d || x.Sum().Item() != 6 || x.String() != d.String()+"[2, 3]" || x.Device() != CPU {
				t.Errorf("%v: %v", d, x)
			}
		}
		if s := Scalar(3); s.Dim() != 0 || s.Shape() != nil || s.Len() != 1 || s.Item() != 3 {
			t.Error("no dimensions")
		}
		if e := From([]float32{}, 0, 3); e.Size(-1) != 3 || e.Len() != 0 || len(Values[float32](e)) != 0 || e.Sum().Item() != 0 ||
			!slices.Equal(Cat(0, e, Zeros(Float, 2, 3)).Shape(), []int64{2, 3}) {
			t.Error("no elements")
		}
		x := From([]int32{1, 2, 3, 4, 5, 6}, 2, 3).Transpose(0, 1)
		if got := Values[int32](x); !slices.Equal(got, []int32{1, 4, 2, 5, 3, 6}) || !slices.Equal(x.Strides(), []int64{1, 3}) {
			t.Error(got)
		}
		if got := Values[uint8](From([]float32{1, 0}, 2).Gt(Scalar(0))); !slices.Equal(got, []uint8{1, 0}) {
			t.Error("truths", got)
		}
		if d := From([]uint8{200}, 1).Add(From([]uint8{100}, 1)); d.DType() != Uint8 || d.Item() != 44 {
			t.Error("bytes wrap around", d.Item())
		}
		// A constant keeps the type of what it meets.
		for _, d := range []DType{Float, BFloat16, Double} {
			if got := Zeros(d, 2).AddScalar(1).Scale(2).Clamp(0, 1).DType(); got != d {
				t.Errorf("%v became %v", d, got)
			}
		}
		Load(x, []int64{1, 2, 3, 4, 5, 6})
		if got := Values[int32](x); !slices.Equal(got, []int32{1, 2, 3, 4, 5, 6}) {
			t.Error(got)
		}
	})
}

// Backward accumulates in one buffer, of which every parameter has its part.
func TestFlat(t *testing.T) {
	do(t, func() {
		f := NewFlat(Float, [][]int64{{2}, {}, {0}, {1, 2}}, true)
		defer f.Free()
		Load(f.Data, []float32{1, 2, 3, 4, 5})
		for range 2 {
			f.Params[0].Mul(f.Params[3]).Sum().Mul(f.Params[1]).Backward()
		}
		if got := Values[float32](f.Grad); !slices.Equal(got, []float32{24, 30, 28, 6, 12}) {
			t.Error(got)
		}
		p := NewFlat(Float, [][]int64{{2}}, false)
		defer p.Free()
		if p.Grad != nil {
			t.Error("gradients that nobody asked for")
		}
	})
}

// A network trains for thousands of steps, failing now and then, without holding on to anything.
func TestMemoryStaysFlat(t *testing.T) {
	const warm, steps = 300, 2300
	do(t, func() {
		f := NewFlat(Float, [][]int64{{8, 3, 3, 3}, {8}, {8}, {5, 8}, {5}}, true)
		defer f.Free()
		for i, p := range f.Params {
			Load(p.Detach(), floats(p.Len(), i))
		}
		momentum, mean, variance := Zeros(Float, f.Data.Len()), Zeros(Float, 8), Full(Float, 1, 8)
		pixels := floats(2*3*8*8, 3)
		var live, resident int
		var first, loss float64
		for i := range steps {
			Scope(func() {
				p := f.Params
				x := From(pixels, 2, 3, 8, 8)
				x = x.Conv2D(p[0], nil, 1, 1, 1, 1).BatchNorm(p[1], p[2], mean, variance, true, 0.1, 1e-5).ReluInPlace()
				x = Cat(0, x.MaxPool2D(2, 2, 0).Narrow(0, 0, 1), x.AvgPool2D(2).Narrow(0, 1, 1)).Mean(2, 3)
				top, _ := x.TopK(2, 1)
				l := x.Linear(p[3], p[4]).CrossEntropy(From([]int64{1, 3}, 2), Mean, -100).Add(top.Sum().Scale(1e-3))
				l.Backward()
				StepSGD(f.Data, f.Grad, momentum, 1e-3, 0.9, 1e-4, false, i == 0)
				f.Grad.Fill(0)
				loss = l.Item()
				if i%100 == 0 && Do(func() { Cat(0, x, x.Linear(p[3], p[3])) }) == nil {
					t.Error("no error")
				}
			})
			if i == warm {
				live, resident, first = Live(), residentKB(t), loss
			}
		}
		if loss > first {
			t.Errorf("loss went from %v to %v", first, loss)
		}
		if Live() != live {
			t.Errorf("%d tensors became %d", live, Live())
		}
		if grown := residentKB(t) - resident; grown > 4<<10 {
			t.Errorf("resident memory grew by %d kB in %d steps", grown, steps-warm)
		}
	})
}

func floats(n int64, seed int) []float32 {
	v := make([]float32, n)
	for i, x := range formula(n, seed, false) {
		v[i] = float32(x)
	}
	return v
}

func residentKB(t *testing.T) int {
	text, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		return 0 // no Linux
	}
	pages, err := strconv.Atoi(strings.Fields(string(text))[1])
	if err != nil {
		t.Fatal(err)
	}
	return pages * os.Getpagesize() >> 10
}

// A library that cannot be used is refused with the reason and what to do about it.
func TestWrongLibrary(t *testing.T) {
	info, err := Describe()
	if err != nil {
		t.Fatal(err)
	}
	c10, cpu := filepath.Base(info.Library.C10), filepath.Base(info.Library.CPULib)
	open := func(dir, device string) string {
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), childEnv+"="+device, "LIBTORCH="+dir)
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		return string(out)
	}
	write := func(dir, name, text string) {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	link := func(dir, name string) {
		if err := os.Symlink(info.Library.C10, filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct {
		name, device string
		prepare      func(dir string)
		want         []string
	}{
		{"empty folder", "cpu", func(string) {}, []string{cpu, "LIBTORCH"}},
		{"text", "cpu", func(dir string) { write(dir, cpu, "not a library"); link(dir, c10) }, []string{cpu}},
		{"cut short", "cpu", func(dir string) { write(dir, cpu, "\x7fELF\x02\x01\x01"); link(dir, c10) }, []string{cpu}},
		{"another library", "cpu", func(dir string) { link(dir, cpu); link(dir, c10) }, []string{"lacks", "torch_call_dispatcher", "make libtorch"}},
		{"too old", "cpu", func(dir string) { link(dir, cpu); link(dir, c10); write(dir, "version", "2.4.1\n") }, []string{"2.4.1", "2.11"}},
		{"no CUDA", "cuda", func(dir string) { link(dir, cpu); link(dir, c10) }, []string{"cuda"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			c.prepare(dir)
			out := open(dir, c.device)
			for _, w := range append(c.want, dir) {
				if !strings.Contains(out, w) {
					t.Errorf("%q lacks %q", out, w)
				}
			}
		})
	}
	if out := open(filepath.Join(t.TempDir(), "nowhere"), "cpu"); !strings.Contains(out, "nowhere") {
		t.Errorf("no folder: %q", out)
	}
}

// Sums across processes are an operator with autograd: here of one process that has two others like it.
func TestAcross(t *testing.T) {
	err := DoErr(func() error {
		if err := SumAcross(func(p unsafe.Pointer, n int) error {
			for i := range unsafe.Slice((*float32)(p), n) {
				unsafe.Slice((*float32)(p), n)[i] *= 3
			}
			return nil
		}); err != nil {
			return err
		}
		f := NewFlat(Float, [][]int64{{2, 2}}, true)
		defer f.Free()
		Load(f.Data, []float32{1, 2, 3, 4})
		y := f.Params[0].Transpose(0, 1).Across()
		if got, want := Values[float32](y), []float32{3, 9, 6, 12}; !slices.Equal(got, want) {
			t.Errorf("sums %v, want %v", got, want)
		}
		y.Mul(From([]float32{1, 2, 3, 4}, 2, 2)).Sum().Backward()
		if got, want := Values[float32](f.Grad), []float32{3, 9, 6, 12}; !slices.Equal(got, want) {
			t.Errorf("gradient %v, want %v", got, want)
		}
		return AcrossError()
	})
	if err != nil {
		t.Fatal(err)
	}
}
