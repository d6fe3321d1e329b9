// Package doctor tells whether this machine can train, with what, how fast, and what to do where it
// cannot.
package doctor

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"text/tabwriter"
	"time"

	"golang.org/x/sys/unix"

	"must/dist"
	"must/machine"
	"must/onnx/ort"
	"must/torch"
	"must/torch/libtorch"
	"must/turbojpeg"
)

// What the embedded recipe needs.
const (
	needMemory = 2 << 30
	needDisk   = 1 << 30
)

// Run examines the machine, trains one step on the device in use ([torch.Open]; the CPU by default)
// and writes a report to w. It returns false where no training is possible; the report then ends with
// what mends that.
func Run(w io.Writer) (ok bool) {
	d := &doctor{Writer: tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)}
	d.machine()
	ok = d.libtorch()
	d.onnxRuntime()
	d.jpeg()
	d.processes()
	for _, a := range d.advice {
		d.line("advice", "%s", a)
	}
	if ok {
		d.line("result", "ready to train: `must demo`")
	} else {
		d.line("result", "no training is possible here until this is mended")
	}
	d.Flush()
	return ok
}

type doctor struct {
	*tabwriter.Writer
	advice []string
}

// line writes a row of the report; further lines of a text are set below its first.
func (d *doctor) line(name, format string, args ...any) {
	text := strings.TrimSpace(fmt.Sprintf(format, args...))
	fmt.Fprintf(d, "%s\t%s\n", name, strings.ReplaceAll(text, "\n", "\n\t"))
}

func (d *doctor) advise(format string, args ...any) {
	d.advice = append(d.advice, fmt.Sprintf(format, args...))
}

func (d *doctor) machine() {
	m := machine.Probe()
	vector := m.Vector
	if machine.BFloat16() {
		vector += " with bfloat16"
	}
	d.line("processor", "%s; %d cores in use, vectors: %s", orUnknown(m.CPU), m.Cores, vector)
	if m.Vector == "none" {
		d.advise("this processor lacks AVX2: training works, but is several times slower than on one that has it")
	}
	d.line("memory", "%s", size(m.Memory))
	if 0 < m.Memory && m.Memory < needMemory {
		d.advise("less than %s of memory: set a smaller batch or image size in the recipe", size(needMemory))
	}
	if dir, free, err := freeDisk(); err != nil {
		d.line("disk", "%v", err)
	} else {
		d.line("disk", "%s free in %s", size(free), dir)
		if free < needDisk {
			d.advise("less than %s free on this disk: make room, or run in another folder", size(needDisk))
		}
	}
	if len(m.GPUs) == 0 {
		d.line("GPU", "none (nvidia-smi shows none, or is not installed)")
		return
	}
	for _, g := range m.GPUs {
		d.line("GPU", "%s, %s, driver %s", g.Name, size(g.Memory), g.Driver)
	}
	if l, err := libtorch.FindCUDA(); err != nil {
		d.line("CUDA", "%v", err)
		d.advise("a GPU is here but no libtorch for it: `python3 -m pip install torch`, then --device cuda")
	} else {
		d.line("CUDA", "--device cuda uses libtorch %s in %s", orUnknown(l.Version), l.Dir)
	}
}

// libtorch reports the library and a step of training on it.
func (d *doctor) libtorch() bool {
	info, err := torch.Describe()
	if err != nil {
		d.line("libtorch", "%v", err)
		if os.Getenv("LIBTORCH") != "" {
			d.advise("LIBTORCH is set, so nothing else is looked at: unset it, and `make libtorch` in the project's folder finds or fetches one that fits")
		}
		return false
	}
	l := info.Library
	d.line("libtorch", "%s in %s", orUnknown(l.Version), l.Dir)
	build := "for the CPU only"
	if l.CUDA() {
		build = "for CPU and CUDA"
	}
	d.line("", "built %s; stable ABI %s", build, info.ABI)
	d.line("", "chosen because it is the first found: %s", l.Reason)
	for _, p := range l.Looked {
		d.line("", "looked before at %s: %s", p.Where, p.Why)
	}
	d.line("device", "%v, %d threads (OMP_NUM_THREADS sets them)", info.Device, info.Threads)
	float, err := probe(torch.Float)
	if err != nil {
		d.line("training", "fails: %v", err)
		d.advise("this libtorch is damaged or does not fit: remove %s or unset LIBTORCH, then `make libtorch`", l.Dir)
		return false
	}
	brain, err := probe(torch.BFloat16)
	if err != nil {
		d.line("training", "works in float32: %.0f GFLOP/s; bfloat16 fails: %v", float, err)
		return true
	}
	d.line("training", "works: %.0f GFLOP/s in float32, %.0f in bfloat16 (3×3 convolution, forward and backward)", float, brain)
	return true
}

// onnxRuntime reports the library that runs teachers of others.
func (d *doctor) onnxRuntime() {
	lib, err := ort.Find()
	if missing := (*ort.NotFoundError)(nil); errors.As(err, &missing) {
		d.line("ONNX Runtime", "none; only teachers that are .onnx models need it: `make onnxruntime` fetches one")
		return
	}
	if err == nil {
		lib, err = ort.Open()
	}
	if err != nil {
		d.line("ONNX Runtime", "%v", err)
		return
	}
	d.line("ONNX Runtime", "%s: %s (%s)", orUnknown(lib.Version), lib.Path, lib.Reason)
}

// jpeg reports what decodes JPEG.
func (d *doctor) jpeg() {
	name, err := turbojpeg.Find()
	switch {
	case err == nil:
		d.line("JPEG", "libjpeg-turbo (%s); %s=%s has the standard library's decoder, whose pixels differ by a level or two", name, turbojpeg.Variable, turbojpeg.Go)
	case errors.Is(err, turbojpeg.ErrNone):
		d.line("JPEG", "the standard library's decoder; a libturbojpeg (Debian's libturbojpeg0) is several times as fast")
	default:
		d.line("JPEG", "%v", err)
	}
}

// processes reports what joins several processes.
func (d *doctor) processes() {
	if lib, err := dist.FindMPI(false); err == nil {
		d.line("MPI", "%s (%s)", lib.Path, lib.Reason)
	} else if lib, err := dist.FindMPI(true); err == nil {
		d.line("MPI", "%s (%s), for processes that Open MPI's mpirun starts", lib.Path, lib.Reason)
	} else if missing := (*dist.NoMPIError)(nil); errors.As(err, &missing) {
		d.line("MPI", "none; only several processes on CPUs need it: `make mpi` fetches one")
	} else {
		d.line("MPI", "%v", err)
	}
	path, reason := dist.FindNCCL()
	if path == "" {
		reason = "none; only several processes on GPUs need it: `python3 -m pip install nvidia-nccl-cu13` fetches it"
	} else {
		reason = path + " (" + reason + ")"
	}
	d.line("NCCL", "%s", reason)
}

// probe trains a convolution for a few steps and returns the GFLOP/s of the fastest.
func probe(d torch.DType) (best float64, err error) {
	const batch, channels, side, steps = 16, 64, 32, 4
	// Forward, and backward with respect to input and weights; a multiplication and an addition each.
	const flop = 3 * 2 * batch * channels * channels * 3 * 3 * side * side
	err = torch.DoErr(func() error {
		f := torch.NewFlat(torch.Float, [][]int64{{channels, channels, 3, 3}}, true)
		defer f.Free()
		f.Data.Fill(1. / (channels * 3 * 3))
		x := torch.Full(d, 1, batch, channels, side, side).ChannelsLast().RequireGrad(true)
		var first, last float64
		for i := range steps {
			torch.Scope(func() {
				began := time.Now()
				loss := x.Conv2D(f.Params[0].As(d), nil, 1, 1, 1, 1).As(torch.Float).Mean()
				loss.Backward()
				last = loss.Item() // which also waits for a GPU
				best = max(best, flop/time.Since(began).Seconds()/1e9)
				if i == 0 {
					first = last
				}
				torch.StepSGD(f.Data, f.Grad, nil, 1e-4, 0, 0, false, i == 0)
				f.Grad.Fill(0)
			})
		}
		if !(last < first) {
			return fmt.Errorf("the loss went from %g to %g", first, last)
		}
		return nil
	})
	return best, err
}

// freeDisk returns what is free for this user where runs write by default.
func freeDisk() (dir string, bytes int64, err error) {
	if dir, err = os.Getwd(); err != nil {
		return "", 0, err
	}
	var s unix.Statfs_t
	if err := unix.Statfs(dir, &s); err != nil {
		return "", 0, fmt.Errorf("%s: %w", dir, err)
	}
	return dir, int64(s.Bavail) * int64(s.Bsize), nil
}

func size(bytes int64) string {
	if bytes <= 0 {
		return "unknown"
	}
	return fmt.Sprintf("%.1f GiB", float64(bytes)/(1<<30))
}

func orUnknown(s string) string {
	if s == "" {
		return "unknown"
	}
	return s
}
